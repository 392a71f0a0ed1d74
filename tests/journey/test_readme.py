"""Every command of the README, in its order, as typed."""

import re
import shutil

import pytest
from tests.journey.conftest import ACCIDENTS, CREDIT, HOUSING, ROOT, Project, lend_environment, without

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ELSEWHERE = {
    "make run-train    # builds": "the fixture runs it, and CI builds the environment from nothing",
    "make test": "this is it",
    "source .venv/bin/activate": "the fixture's PATH is what it sets",
}


def commands(text: str) -> list[str]:
    blocks = re.findall(r"^```bash\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [
        line for block in blocks for line in block.splitlines() if line.strip() and not line.startswith("#")
    ]


def elsewhere(command: str) -> bool:
    return any(command.startswith(known) for known in ELSEWHERE)


def prepare(project: Project) -> None:
    """Make what the README speaks of: the user's own raw files, and short searches over the two types it names.

    The fixture trained all four; each further one costs a search, a training and a registration.
    """
    own = project.folder.parent / "my-accidents"
    shutil.copytree(project.folder / "data" / "accidents" / "raw", own)
    (own / "true_probability.csv").unlink()
    path = project.folder / "params.yaml"
    path.write_text(without(path.read_text(), "accidents-(logistic_regression|lightgbm)"))
    project.edit(
        "params.yaml", r"model_types: \[logistic_regression, .*", "model_types: [random_forest, xgboost]"
    )
    path.write_text(re.sub(r"trials: \d+", "trials: 2", path.read_text()))
    project.run("git commit -qam 'short searches'")


def prepare_housing(project: Project) -> None:
    """Put the housing problem into params.yaml, with a small sample and two of its types."""
    text = without((ROOT / "params.yaml").read_text(), f"{HOUSING}-(random_forest|xgboost)|{CREDIT}.*")
    small = {"units: 20000": f"units: {ACCIDENTS}", "units: 6000": "units: 600"}
    small[r"model_types: \[ridge, .*"] = "model_types: [ridge, lightgbm]"
    for pattern, replacement in small.items():
        text, count = re.subn(pattern, replacement, text)
        assert count, f"params.yaml has no {pattern}"
    (project.folder / "params.yaml").write_text(text)
    project.run("git commit -qam 'a small sample of houses'")


def prepare_credit(project: Project) -> None:
    """Put credit risk into params.yaml, with a small sample, two of its types and no cross-validation."""
    text = without(
        (ROOT / "params.yaml").read_text(), f"{CREDIT}-(random_forest|logistic_regression)|{HOUSING}.*"
    )
    small = {
        "units: 20000": f"units: {ACCIDENTS}",
        "units: 24000": "units: 4800",
        "cv_folds: 5": "cv_folds: 2",
    }
    small[rf"({CREDIT}:\n(?:    .*\n)*?    model_types: ).*"] = r"\g<1>[xgboost, lightgbm]"
    for pattern, replacement in small.items():
        text, count = re.subn(pattern, replacement, text)
        assert count, f"params.yaml has no {pattern}"
    (project.folder / "params.yaml").write_text(text)
    project.run("git commit -qam 'a small sample of applications'")


def of_credit(command: str) -> bool:
    return CREDIT in command or "credit-risk" in command


def of_housing(command: str) -> bool:
    return "pipelines.train" in command or HOUSING in command.lower()


def as_colleague(project: Project) -> Project:
    folder = project.folder.parent / "colleague"
    project.run(f"git add -A && git commit -qm shared && git clone -q . '{folder}'")
    lend_environment(folder)
    return Project(folder, project.home)


def test_each_command_of_the_readme_works_as_typed(own):
    prepare(own)
    typed = [c for c in commands((ROOT / "README.md").read_text()) if not elsewhere(c)]
    assert len(typed) > 20
    for command in (c for c in typed if not of_housing(c) and not of_credit(c)):
        where = as_colleague(own) if "colleague" in command else own
        where.run(command)


def test_the_commands_of_the_housing_problem_work_as_typed(own):
    prepare_housing(own)
    typed = [c for c in commands((ROOT / "README.md").read_text()) if of_housing(c)]
    outputs = [own.run(command) for command in typed]
    assert "* champion by rmse" in outputs[0]
    assert "COVERAGE" in outputs[-1]


def test_the_commands_of_the_credit_problem_work_as_typed(own):
    prepare_credit(own)
    typed = [c for c in commands((ROOT / "README.md").read_text()) if of_credit(c)]
    assert len(typed) >= 3
    outputs = [own.run(command) for command in typed]
    assert "credit-risk-model  version 2" in outputs[0]
    assert "reject" not in outputs[0]
    assert "PROBABILITY" in outputs[-1]


DVCS_OWN_WORDS = [
    ("^train:", "trian:", "ERROR: failed to parse 'stages.train_multi_model.foreach' in 'dvc.yaml'"),
    ("^    compare: .*\n", "", "ERROR: failed to reproduce 'compare@accidents': Parameters 'problems."),
]


def test_what_the_readme_says_of_failures_is_so(own):
    text = (ROOT / "README.md").read_text()
    for pattern, replacement, begin in DVCS_OWN_WORDS:
        (quoted,) = [line.strip() for line in text.splitlines() if line.strip().startswith(begin)]
        own.edit("params.yaml", pattern, replacement)
        assert quoted in own.run("dvc repro compare@accidents", code=255)
        own.run("git checkout -q params.yaml")
    own.edit("params.yaml", "(params: .*)max_depth: 5", r"\1max_dept: 5")
    model = own.folder / "models" / "accidents" / "xgboost_model.joblib"
    assert "'max_depth'" in own.run("dvc repro compare@accidents", code=255)
    assert not model.exists()
    own.run("git checkout -q params.yaml && dvc checkout && git checkout -q metrics")
    assert model.exists()
    assert "up to date" in own.run("dvc repro compare@accidents")


def test_the_commands_left_out_are_in_the_readme():
    found = commands((ROOT / "README.md").read_text())
    assert [k for k in ELSEWHERE if not any(c.startswith(k) for c in found)] == []


def test_make_help_names_every_target():
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^\.PHONY: ([a-z][a-z-]*)$", makefile, re.MULTILINE))
    described = set(re.findall(r"^([a-z][a-z-]*):.*## \S", makefile, re.MULTILINE))
    assert targets == described
    assert {"help", "run-train", "run-train-grid", "test", "add-data", "dvc-remote", "dvc-pull"} <= targets
