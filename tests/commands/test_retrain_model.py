"""A retrain: DVC trains, and each model becomes a new version below one run.

The best that is fit is served.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow.exceptions import MlflowException
from tests.commands.retrained_project import NAME, TYPES, Project, make_project

from lockstep.commands import publish_retrain
from lockstep.commands import retrain_model as retrain
from lockstep.commands.retrain_model import RetrainOptions
from lockstep.config.layout import PARTS, ProblemLayout
from lockstep.config.params import Source, load_params
from lockstep.config.settings import CONFIG_FILE
from lockstep.dvc import repro as dvc
from lockstep.errors import ArtifactError, ConfigError, LockstepError, RegistryError, UsageError
from lockstep.io import read_json, write_json
from lockstep.models.type_metrics import read_type_metrics
from lockstep.problems.schema import load_schema
from lockstep.promotion import gates
from lockstep.registry import train_stage
from lockstep.registry.artifact.released import released_file
from lockstep.registry.publishing import new_versions
from lockstep.registry.store.names import PROCESS_TAG
from lockstep.registry.store.owners import _started, this_process
from lockstep.registry.trained_models import register_models

ROOT = Path(__file__).parents[2]
PARENT = "mlflow.parentRunId"
pytestmark = pytest.mark.usefixtures("_one_name")


def test_one_run_says_what_was_asked_for_and_every_models_metrics(first: Project) -> None:
    done = first.done
    run = first.parent(done)
    assert done.experiment == "accidents-retrain"
    assert (
        first.client.get_experiment_by_name(done.experiment).experiment_id == run.info.experiment_id
    )
    assert run.info.status == "FINISHED"
    told = {
        key: run.data.params[key]
        for key in ("mode", "models", "tuning", "cv_folds", "source", "champion")
    }
    champion = read_json(first.layout.champion)["type"]
    assert told == {
        "mode": "full",
        "models": "logistic_regression,random_forest",
        "tuning": "false",
        "cv_folds": "2",
        "source": "sample",
        "champion": champion,
    }
    logged = run.data.metrics
    for kind in TYPES:
        metrics = read_type_metrics(first.layout, kind)
        assert logged[f"{kind}.test_roc_auc"] == metrics["test"]["roc_auc"]
        assert logged[f"{kind}.cv_roc_auc"] == metrics["cv"]["roc_auc"]
        assert logged[f"{kind}.cv_roc_auc_std"] == metrics["cv_std"]["roc_auc"]
        assert logged[f"{kind}.cv_ks"] == metrics["cv"]["ks"]
        shares = [logged[f"{kind}.test_{name}"] for name in ("approval_rate", "reject_rate")]
        assert sum(shares) == pytest.approx(1)
    files = {item.path for item in first.client.list_artifacts(done.run_id)}
    assert files == {"champion.json", "model_comparison.csv", "model_comparison.png"}


def test_the_run_says_which_data_and_only_what_the_sample_was_set_to(first: Project) -> None:
    logged = first.parent(first.done).data.params
    told = {name: value for name, value in logged.items() if name.startswith(("sample.", "data."))}
    assert told == {
        "sample.units": "1000",
        "sample.years": "[2021]",
        "data.rows": "1500",
        "data.train_rows": "600",
        "data.from": "2021-01-01",
        "data.to": "2021-12-31",
    }
    text = retrain.report(first.root, "accidents", first.done)
    assert "data: 1,500 rows, 2021-01-01 to 2021-12-31; 600 of them to train on" in text


def test_rows_without_dates_have_no_window(tmp_path: Path) -> None:
    write_json(
        ProblemLayout(tmp_path, "pears").features_summary,
        {part: {"rows": 10, "groups": 2} for part in PARTS},
    )
    assert retrain.data_window(tmp_path, "pears") == {"rows": 40, "train_rows": 10}
    assert retrain.data_line(tmp_path, "pears") == "data: 40 rows; 10 of them to train on"


def test_each_model_is_a_version_of_the_one_name_in_staging_and_a_run_below(first: Project) -> None:
    client, done = first.client, first.done
    assert first.versions == {1: "Staging", 2: "Staging"}
    for kind, made in done.versions.items():
        version = client.get_model_version(NAME, str(made.version))
        run = client.get_run(version.run_id)
        assert (version.tags["lockstep.retrain"], version.tags["lockstep.type"]) == (
            done.run_id,
            kind,
        )
        assert (run.data.tags[PARENT], run.info.status) == (done.run_id, "FINISHED")
        assert run.info.experiment_id == first.parent(done).info.experiment_id
        assert run.data.metrics["cv_roc_auc"] > 0.5
    assert client.get_experiment_by_name(load_schema("accidents").experiment) is None
    assert load_params(first.root).training("accidents", TYPES[0]).cv_folds == 2


def test_the_champion_is_served_from_a_copy_that_says_its_version_and_run(first: Project) -> None:
    champion = read_json(first.layout.champion)["type"]
    made = first.done.versions[champion]
    model = first.served()
    assert (first.done.released_type, first.done.unfit) == (champion, {})
    told = (model.name, model.version, model.run_id, model.digest)
    assert told == (NAME, made.version, made.run_id, made.digest)
    card = read_json(released_file(first.layout).with_suffix(".json"))
    assert card["release"]["retrain"] == first.done.run_id
    assert {"git_commit", "dirty", "data_digest", "closure_digest"} < set(card["release"])
    assert first.parent(first.done).data.tags["lockstep.released"] == made.digest


def test_the_report_names_versions_what_is_served_and_commands(first: Project) -> None:
    text = retrain.report(first.root, "accidents", first.done)
    best = first.done.versions[first.done.released_type]
    assert f"* {first.done.released_type}" in text
    assert f"served: models/accidents/production.pkl → released/{best.digest}.joblib" in text
    assert (
        f"promote_model.py --version {best.version} --model-name {NAME} --archive-current" in text
    )


@pytest.mark.long
def test_again_it_makes_new_versions_though_nothing_is_to_be_trained(project: Project) -> None:
    again = project.retrain()
    assert project.versions == dict.fromkeys(range(1, 5), "Staging")
    assert [v.digest for v in again.versions.values()] == [
        v.digest for v in project.done.versions.values()
    ]
    assert project.served().version == again.versions[again.released_type].version
    assert project.parent(again).data.params["cv_folds"] == "2"
    assert register_models(project.root)
    assert len(project.versions) == 4
    runs = [project.client.get_run(one.run_id) for one in again.versions.values()]
    assert {run.data.tags[PARENT] for run in runs} == {again.run_id}


def test_some_types_alone_are_compared_among_themselves(project: Project, trained: list) -> None:
    other = next(kind for kind in TYPES if kind != read_json(project.layout.champion)["type"])
    done = project.retrain(models=(other,), mode="models")
    assert trained == [("--single-item", f"train_multi_model@accidents-{other}")]
    assert (list(done.versions), done.released_type) == ([other], other)
    assert project.parent(done).data.params["mode"] == "models"
    assert project.served().type == other


@pytest.mark.long
def test_a_model_that_is_not_fit_is_passed_over_and_told(
    project: Project, trained: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    best, second = retrain.best_first(project.root, load_params(project.root), "accidents", TYPES)
    check = publish_retrain.check_alone

    def strict(case: Any) -> None:
        if case.version.tag("type") == best:
            raise ArtifactError("floors: test_roc_auc is below its floor")
        check(case)

    monkeypatch.setattr(publish_retrain, "check_alone", strict)
    done = project.retrain()
    assert done.unfit == {best: "floors: test_roc_auc is below its floor"}
    assert (done.released_type, project.served().type) == (second, second)
    assert f"{best} is not fit to be served: floors" in retrain.report(
        project.root, "accidents", done
    )


def test_a_store_that_is_away_does_not_make_the_second_best_the_released_one(
    project: Project, trained: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, asked = released_file(project.layout), []

    def away(client: Any, version: Any, root: Path) -> None:
        asked.append(version.tag("type"))
        raise RegistryError("the registry refused: it stopped answering")

    monkeypatch.setattr(gates, "locate", away)
    with pytest.raises(RegistryError, match="it stopped answering"):
        project.retrain()
    best, _ = retrain.best_first(project.root, load_params(project.root), "accidents", TYPES)
    assert asked == [best]
    assert released_file(project.layout) == before


def test_where_no_model_clears_its_floors_what_is_served_stays(
    project: Project, trained: list, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    before = released_file(project.layout)
    path = project.root / CONFIG_FILE
    path.parent.mkdir(parents=True)
    path.write_text("mlflow: {model_registry: {gates: {accidents: {floors: {roc_auc: 0.99}}}}}\n")
    monkeypatch.chdir(project.root)
    monkeypatch.setattr(
        sys, "argv", ["retrain_model.py", "--problem", "accidents", "--models", TYPES[0]]
    )
    with pytest.raises(LockstepError, match="no model of this retrain passed its checks"):
        retrain.main()
    assert capsys.readouterr().out.count("is below its floor 0.99") == 1
    assert released_file(project.layout) == before
    assert len(project.versions) == 3


def test_a_file_that_is_not_the_registered_model_is_not_served(
    project: Project, trained: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = released_file(project.layout)
    make = publish_retrain.publish_anew

    def then_changed(*arguments: Any) -> Any:
        made = make(*arguments)
        for kind in TYPES:
            project.layout.model(kind).write_bytes(b"trained again meanwhile")
        return made

    monkeypatch.setattr(publish_retrain, "publish_anew", then_changed)
    done = project.retrain(models=TYPES[:1])
    assert done.released is None
    assert "is not the file its card describes" in done.unfit[TYPES[0]]
    assert released_file(project.layout) == before


@pytest.mark.long
def test_a_store_that_fails_midway_leaves_a_failed_run_and_what_is_served(
    project: Project, trained: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, real, calls = released_file(project.layout), new_versions.register, []

    def failing(*arguments: Any, **named: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 2:
            raise MlflowException("the server went away")
        return real(*arguments, **named)

    monkeypatch.setattr(new_versions, "register", failing)
    with pytest.raises(RegistryError, match=r"the server went away; the trained models are kept"):
        project.retrain()
    experiment = project.client.get_experiment_by_name("accidents-retrain").experiment_id
    newest = project.client.search_runs([experiment], order_by=["attributes.start_time DESC"])
    parents = [run for run in newest if PARENT not in run.data.tags]
    assert [run.info.status for run in parents] == ["FAILED", "FINISHED"]
    assert released_file(project.layout) == before
    assert len(project.versions) == 3


def test_a_polite_kill_amid_the_release_leaves_what_was_served_and_a_failed_run(
    project: Project, trained: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = released_file(project.layout)
    monkeypatch.setattr(
        publish_retrain,
        "same_model",
        lambda case: lambda model: os.kill(os.getpid(), signal.SIGTERM),
    )
    with pytest.raises(LockstepError, match="terminated; the trained models are kept"):
        project.retrain(models=TYPES[:1])
    assert released_file(project.layout) == before
    assert list(before.parent.glob(".*")) == []
    experiment = project.client.get_experiment_by_name("accidents-retrain").experiment_id
    newest = project.client.search_runs([experiment], order_by=["attributes.start_time DESC"])
    assert [run.info.status for run in newest if PARENT not in run.data.tags] == [
        "FAILED",
        "FINISHED",
    ]


def test_a_retrain_marks_what_a_kill_left_open_and_no_run_of_a_process_that_runs(
    project: Project, trained: list
) -> None:
    client, me = project.client, this_process()
    experiment = client.get_experiment_by_name("accidents-retrain").experiment_id
    parent = {"pid": os.getppid(), "started": _started(os.getppid())}
    owners = ({**me, "pid": 2**22 + 1}, {**me, **parent})  # the first is above the largest there is
    tags = [{PROCESS_TAG: json.dumps(owner)} for owner in owners]
    killed, running = (client.create_run(experiment, tags=one).info.run_id for one in tags)
    project.retrain(models=TYPES[:1])
    assert client.get_run(killed).info.status == "FAILED"
    assert client.get_run(running).info.status == "RUNNING"
    assert project.parent(project.done).info.status == "FINISHED"


def test_a_search_comes_first_and_its_winners_are_trained(
    project: Project, trained: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    def search(root: Path, *words: str) -> None:
        trained.append(words)
        text = (root / "params.yaml").read_text()
        (root / "params.yaml").write_text(text.replace("cv_folds: 2", "cv_folds: 3"))

    monkeypatch.setattr(dvc, "module", search)
    done = project.retrain(tuning=True, models=TYPES[:1])
    assert [words[0] for words in trained] == [
        "lockstep.commands.search",
        f"train_multi_model@accidents-{TYPES[0]}",
    ]
    told = project.parent(done).data.params
    assert (told["tuning"], told["cv_folds"]) == ("true", "3")


def test_the_stages_publish_nothing_meanwhile(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr(
        dvc, "repro", lambda root, *words, variables: seen.append(variables["LOCKSTEP_PUBLISH"])
    )
    monkeypatch.setenv("LOCKSTEP_PUBLISH", "1")
    params = load_params(project.root)
    retrain.train(project.root, RetrainOptions("accidents"), params, TYPES)
    assert (seen, os.environ["LOCKSTEP_PUBLISH"]) == (["later"], "1")


def test_a_stage_of_a_retrain_does_not_say_that_publishing_is_off(
    first: Project, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCKSTEP_PUBLISH", "later")
    assert train_stage.publish_training(first.root, "accidents", TYPES[0]) is None
    assert capsys.readouterr().err == f"accidents {TYPES[0]} is trained; it is registered later\n"
    assert len(first.versions) == 2


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Path:
    """A project before its first training, to be copied."""
    return make_project(tmp_path_factory.mktemp("untrained") / "project", empty_store).root


@pytest.fixture
def untrained(tmp_path: Path, fresh: Path, trained: list) -> Iterator[Project]:
    """A project whose retrain is to be refused before DVC is called or params.yaml is written."""
    project = Project(shutil.copytree(fresh, tmp_path / "project"))
    before = (project.root / "params.yaml").read_bytes()
    yield project
    assert trained == []
    assert (project.root / "params.yaml").read_bytes() == before


def off(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCKSTEP_PUBLISH", "0")


def down(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")


def modelless(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    (project.root / CONFIG_FILE).parent.mkdir(parents=True)
    (project.root / CONFIG_FILE).write_text("mlflow: {log_model: false}\n")


def taken(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    pointer = project.root / "models" / "accidents" / "production.pkl"
    pointer.parent.mkdir(parents=True, exist_ok=True)
    pointer.write_text("mine")


def deleted(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    client = project.client
    client.delete_experiment(client.create_experiment("accidents-retrain"))


@pytest.mark.parametrize(
    ("arrange", "error", "match"),
    [
        (deleted, RegistryError, "experiment 'accidents-retrain' is deleted; restore it with"),
        (taken, UsageError, "is no link but somebody's own file; move it away"),
        (off, ConfigError, r"publishing is off \(the variable LOCKSTEP_PUBLISH\)"),
        (down, RegistryError, "refused the connection"),
        (modelless, ConfigError, "log_model is false"),
    ],
)
def test_a_registry_that_takes_no_versions_is_told_before_anything_is_trained(
    untrained: Project,
    monkeypatch: pytest.MonkeyPatch,
    arrange: Callable,
    error: type[LockstepError],
    match: str,
) -> None:
    arrange(untrained, monkeypatch)
    with pytest.raises(error, match=match):
        untrained.retrain(cv_folds=3)


def test_what_cannot_be_meant_is_told_before_anything_is_trained(untrained: Project) -> None:
    with pytest.raises(UsageError, match="did you mean 'random_forest'"):
        untrained.retrain(models=("random_forst",))
    with (
        retrain.only_one(
            untrained.root / ".lockstep" / "retrain-accidents.lock", "retrain of accidents"
        ),
        pytest.raises(LockstepError, match="another retrain") as busy,
    ):
        untrained.retrain()
    assert busy.value.exit_code == 1, "the command line is right"


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"cv_folds": 1}, "--cv-folds 1: give 2 or more, or 0"),
        ({"through": "2024-13"}, "--through 2024-13 is no month"),
        ({"through": "2024-06", "mode": "models"}, "--mode models leaves the data as they are"),
        ({"tuning": True, "mode": "models"}, "--mode models leaves the data as they are"),
    ],
)
def test_options_that_do_not_fit_are_usage_errors(options: dict, match: str) -> None:
    with pytest.raises(UsageError, match=match):
        retrain.check_options(RetrainOptions(**options))


@pytest.mark.parametrize(
    ("source", "match"),
    [
        ({"kind": "table"}, "make add-data PROBLEM=credit_risk"),
        (
            {"kind": "sample", "sample": {"years": [2021]}},
            "the sample of credit_risk has no months",
        ),
    ],
)
def test_only_a_sample_by_months_has_another_window(source: dict, match: str) -> None:
    params = load_params(ROOT)
    asked, section = RetrainOptions("credit_risk"), params.problem("credit_risk")
    assert retrain.last_month(params, asked)[-3:] == ("source", "sample", "last_month")
    changed = section.model_copy(update={"source": Source(**source)})
    other = params.model_copy(update={"problems": {"credit_risk": changed}})
    with pytest.raises(UsageError, match=match):
        retrain.last_month(other, asked)


def test_the_run_of_a_credit_retrain_names_no_years() -> None:
    named = load_params(ROOT).problem("credit_risk").source.sample.model_fields_set
    assert {"units", "months", "last_month"} <= named
    assert "years" not in named


@pytest.mark.parametrize(
    ("door", "options", "line"),
    [
        ("retrain_model.py", ["--cv-folds", "1"], "✗ --cv-folds 1: give 2 or more, or 0 for none"),
        ("promote_model.py", ["--version", "0"], "✗ version '0' is no version number"),
    ],
)
def test_the_doors_end_with_2_for_what_cannot_be_meant(door: str, options: list, line: str) -> None:
    script = ROOT / "scripts" / door
    done = subprocess.run(
        [sys.executable, script, *options], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(line)
