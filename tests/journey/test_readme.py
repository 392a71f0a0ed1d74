"""Every command of the README and of the pages that it leads to, in their order, as typed.

The tutorial's are in test_first_hour.py, those of credit risk in test_credit_commands.py.
"""

import re
import shutil

import pytest
from tests.journey.conftest import (
    ACCIDENTS,
    CREDIT,
    HOUSING,
    ROOT,
    Project,
    lend_environment,
    without,
)
from tests.journey.documented_commands import commands, page, shown, uncommented
from tests.journey.faults import versions

pytestmark = pytest.mark.timeout(600)

README = (ROOT / "README.md").read_text()
PAGES = ("pipeline", "registry", "predicting", "your-data")
"""The pages whose commands are typed one after the other in one project."""
OF_OTHER_TESTS = ("tutorial", "california-housing", "credit-risk")
"""The pages of which each is typed in a project of its own."""
ELSEWHERE = {
    "make run-train    # builds": "the fixture runs it, and CI builds the environment from nothing",
    "make test": "this is it",
    "source .venv/bin/activate": "the fixture's PATH is what it sets",
    "make deploy-check": "test_deploy.py starts one; "
    "its environment alone takes a minute and a package index",
}
WALKED = {
    "api.md": "serving/test_documented.py",
    "credit-risk.md": "journey/test_credit_commands.py",
    "registry-verify.md": "journey/test_credit_commands.py",
    "retrain.md": "journey/test_credit_commands.py",
    "tutorial.md": "journey/test_first_hour.py",
    "your-own-problem.md": "journey/test_your_own_problem.py",
}
"""Pages that a test of their own reads and types all of."""
MANAGE = "python scripts/manage_model_registry.py"
MOVES = {
    "transition": "version 1: None → Staging",
    "promote": "→ Production",
    "get-model": "Production",
    "history": "None → Staging",
    "archive": "→ Archived",
}
EXPERIMENTS = "journey/test_experiments.py::test_experiments_in_trees_of_their_own"
SPARK = (
    "engines/test_train_spark.py::"
    "test_the_first_run_writes_its_trainings_trains_registers_and_compares"
)
TRIAL = "journey/test_environments.py::test_a_trial_has_outputs_of_its_own_and_registers_nothing"
SKLEARN = "journey/test_environments.py::test_train_sklearn_brings_the_project_up_to_date"
LOG_SPARK_MODEL = (
    "python src/models/log_spark_model.py --model-name Accident_Prediction_Spark_Random_Forest "
    "--version 1"
)
EXP_SHOW = (
    "dvc exp show --only-changed --drop "
    "'Created|State|Executor|code/|data/|metrics/[^:]*$|.*:(?!val_)'"
)
SHADOW = "monitoring/test_shadow.py::test_each_request_is_scored_again_and_compared"
OF_DOCS = {
    "batch-scoring.md": {
        "python src/models/score_spark.py INPUT OUTPUT --model-name Accident_Prediction_XGBoost "
        "--stage Production": (
            "engines/test_scoring.py::test_what_is_in_production_scores_hive_partitions"
        )
    },
    "board.md": {
        "make board": ("promotion/test_board.py::test_the_command_writes_a_page_and_nothing_else"),
        "curl -s localhost:8000/board -H 'X-API-Key: KEY' > board.html": (
            "serving/test_board_page.py::test_a_server_with_keys_asks_for_one"
        ),
    },
    "experiments.md": {
        "make exp-show": EXPERIMENTS,
        "dvc plots diff": EXPERIMENTS,
        EXP_SHOW: EXPERIMENTS,
    },
    "monitoring.md": {
        "python scripts/monitor.py --problem credit_risk --since 2026-03-01 --until 2026-06-01": (
            "monitoring/test_monitor.py::"
            "test_a_model_that_got_worse_is_an_alarm_with_the_command_to_run"
        ),
        "python scripts/monitor.py --problem credit_risk --retrain": (
            "monitoring/test_demo.py::test_the_demo_tells_the_whole_story"
        ),
        "python scripts/monitor.py --problem accidents --input rows.csv --model-name "
        "Accident_Prediction_XGBoost --version 1": (
            "journey/test_several_classes.py::"
            "test_a_challenger_in_the_shadow_is_compared_and_months_are_monitored"
        ),
        f"{MANAGE} compare --model-name NAME --version 2 --against 1 --on-traffic": SHADOW,
    },
    "report.md": {
        "make report PROBLEM=accidents": "journey/test_report.py::test_make_report_works_as_typed",
    },
    "reproduce.md": {
        f"{MANAGE} reproduce --model-name NAME --version N [--keep] [--json]": (
            "journey/test_reproduce.py::test_uncommitted_changes_are_kept_or_missed"
        )
    },
    "results.md": {
        "make add-data PROBLEM=accidents FROM=FOLDER": (
            "journey/test_readme.py::test_each_command_of_the_pages_works_as_typed"
        ),
    },
    "spark.md": {
        "make setup-spark": "engines/test_session.py::test_make_setup_spark_can_be_repeated",
        "python src/models/train_spark.py": SPARK,
        "python src/models/train_spark.py --models xgboost --master spark://HOST:7077": SPARK,
        "dvc repro spark/dvc.yaml:train_spark@accidents-xgboost": SPARK,
        LOG_SPARK_MODEL: "engines/test_train_spark.py::test_other_spark_programs_load_versions",
        "python src/models/train.py --env dev": TRIAL,
        "python src/models/train.py --env prod": SKLEARN,
        "python src/models/train_sklearn.py --env dev": SKLEARN,
    },
}
"""What the other pages show besides, and the test that does it with values of its own."""


def elsewhere(command: str) -> bool:
    return any(command.startswith(known) for known in ELSEWHERE)


def prepare(project: Project) -> None:
    """Make what the pages name: raw files of the user's own, a branch `main`, short searches.

    The fixture trained all four types; each further one than two costs a search, a training and a
    registration.
    """
    project.run("git branch main")
    own = project.folder.parent / "my-accidents"
    shutil.copytree(project.folder / "data" / "accidents" / "raw", own)
    (own / "true_probability.csv").unlink()
    path = project.folder / "params.yaml"
    path.write_text(without(path.read_text(), "accidents-(logistic_regression|lightgbm)"))
    project.edit(
        "params.yaml",
        r"model_types: \[logistic_regression, .*",
        "model_types: [random_forest, xgboost]",
    )
    path.write_text(re.sub(r"trials: \d+", "trials: 2", path.read_text()))
    project.run("git commit -qam 'short searches'")


def prepare_housing(project: Project) -> None:
    """Put the housing problem into params.yaml, with a small sample and two of its types."""
    text = without(
        (ROOT / "params.yaml").read_text(), f"{HOUSING}-(random_forest|xgboost)|{CREDIT}.*"
    )
    small = {"units: 20000": f"units: {ACCIDENTS}", "units: 6000": "units: 600"}
    small[r"model_types: \[ridge, .*"] = "model_types: [ridge, lightgbm]"
    for pattern, replacement in small.items():
        text, count = re.subn(pattern, replacement, text)
        assert count, f"params.yaml has no {pattern}"
    (project.folder / "params.yaml").write_text(text)
    project.run("git commit -qam 'a small sample of houses'")


def as_colleague(project: Project) -> Project:
    folder = project.folder.parent / "colleague"
    project.run(f"git add -A && git commit -qm shared --allow-empty && git clone -q . '{folder}'")
    lend_environment(folder)
    return Project(folder, project.home)


def test_each_command_of_the_pages_works_as_typed(own):
    prepare(own)
    told_to_type = commands("".join([README, *map(page, PAGES)]))
    typed = [command for command in told_to_type if not elsewhere(command)]
    assert len(typed) > 20
    told = {}
    for command in typed:
        where = as_colleague(own) if "colleague" in command else own
        told[uncommented(command)] = where.run(command)
        if command.startswith("dvc exp run"):
            assert "max_depth: 4" in (own.folder / "params.yaml").read_text()
            assert [v["version"] for v in versions(own)] == [1], "an experiment registers nothing"
        if command.startswith("make report-diff"):
            parameter = "`train.accidents-xgboost.params.max_depth`: `5` → `4`"
            assert parameter in told[uncommented(command)]
    said = {word: next(told[c] for c in told if f"{MANAGE} {word} " in c) for word in MOVES}
    assert {word: MOVES[word] in text for word, text in said.items()} == dict.fromkeys(MOVES, True)


@pytest.mark.long
def test_the_commands_of_the_housing_problem_work_as_typed(own):
    prepare_housing(own)
    outputs = [own.run(command) for command in commands(page("california-housing"))]
    assert "* champion by rmse" in outputs[0]
    assert "COVERAGE" in outputs[-1]


DVCS_OWN_WORDS = [
    (
        "^train:",
        "trian:",
        "ERROR: failed to parse 'stages.train_multi_model.foreach' in 'dvc.yaml'",
    ),
    (
        "^    compare: .*\n",
        "",
        "ERROR: failed to reproduce 'compare@accidents': Parameters 'problems.",
    ),
]


def test_what_the_docs_say_of_failures_is_so(own):
    lines = [line.strip() for line in page("troubleshooting").splitlines()]
    for pattern, replacement, begin in DVCS_OWN_WORDS:
        (quoted,) = [line for line in lines if line.startswith(begin)]
        own.edit("params.yaml", pattern, replacement)
        assert quoted in own.run("dvc repro compare@accidents", code=255)
        own.run("git checkout -q params.yaml")
    own.edit("params.yaml", "(params: .*)max_depth: 5", r"\1max_dept: 5")
    model = own.folder / "models" / "accidents" / "xgboost_model.joblib"
    assert "'max_depth'" in own.run("dvc repro compare@accidents", code=255)
    assert not model.exists()
    own.run("git checkout -q params.yaml && dvc checkout && git checkout -q metrics")
    assert model.exists()
    again = own.run("dvc repro compare@accidents")
    assert "Stage 'compare@accidents' didn't change, skipping" in again
    assert re.findall("Running stage '(.*)'", again) == ["code"]


def typed_somewhere() -> list[str]:
    """Return the commands that a test types as they stand."""
    return commands("".join([README, *map(page, PAGES + OF_OTHER_TESTS)]))


def test_the_commands_left_out_are_documented():
    found = typed_somewhere()
    assert [k for k in ELSEWHERE if not any(c.startswith(k) for c in found)] == []


def test_each_command_that_the_docs_show_is_run_by_a_test():
    """As it stands, by the test that walks through its page.

    Else with other values, by the test named here.
    """
    typed = {uncommented(c) for c in typed_somewhere()}
    told = {
        path.name: [c for c in shown(path.read_text()) if c not in typed]
        for path in sorted((ROOT / "docs").glob("*.md"))
        if path.name not in WALKED
    }
    assert {name: left for name, left in told.items() if left} == {
        n: list(d) for n, d in OF_DOCS.items()
    }
    for name, file in WALKED.items():
        assert name.removesuffix(".md") in (ROOT / "tests" / file).read_text(), (
            f"{file} does not read {name}"
        )
    for where in {where for tests in OF_DOCS.values() for where in tests.values()}:
        file, _, test = where.partition("::")
        assert f"def {test}(" in (ROOT / "tests" / file).read_text(), where


def test_make_help_names_every_target():
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^\.PHONY: ([a-z][a-z-]*)$", makefile, re.MULTILINE))
    described = set(re.findall(r"^([a-z][a-z-]*):.*## \S", makefile, re.MULTILINE))
    assert targets == described
    assert {
        "help",
        "run-train",
        "run-train-grid",
        "test",
        "add-data",
        "dvc-remote",
        "dvc-pull",
    } <= targets
