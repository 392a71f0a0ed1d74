import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import pytest
from mlflow.exceptions import MlflowException

from lockstep.commands.registry_listings import _version_row
from lockstep.config.layout import ProblemLayout
from lockstep.config.settings import CONFIG_FILE, load_settings
from lockstep.errors import ArtifactError, DataError
from lockstep.io import sha256_file, sha256_json
from lockstep.models.golden_rows import golden_rows
from lockstep.problems.schema import load_schema
from lockstep.registry.publishing import new_versions
from lockstep.registry.record.locking import all_locks
from lockstep.registry.store import connection, owners
from lockstep.registry.store.names import PROCESS_TAG
from lockstep.registry.store.versions import version_from
from lockstep.registry.train_stage import publish_training

LINEAR = "Accident_Prediction_Logistic_Regression"


def configure(root: Path, text: str) -> None:
    (root / CONFIG_FILE).parent.mkdir(parents=True, exist_ok=True)
    (root / CONFIG_FILE).write_text(text)


def connected(root):
    return connection.connect(load_settings(root), root)


def runs(root):
    client = connected(root)
    experiment = client.get_experiment_by_name("accident_prediction")
    return client.search_runs([experiment.experiment_id]) if experiment else []


def versions(root, name=LINEAR):
    return sorted(int(v.version) for v in connected(root).search_model_versions(f"name = '{name}'"))


def test_a_training_becomes_a_run_a_model_and_a_version(workspace):
    published = publish_training(
        workspace, "accidents", "logistic_regression", {"train_seconds": 1.5}
    )
    assert (published.name, published.version, published.stage, published.new) == (
        LINEAR,
        1,
        "None",
        True,
    )
    client = connected(workspace)
    run = client.get_run(published.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["C"] == "0.1"
    assert run.data.metrics["validation_roc_auc"] == 0.8
    assert run.data.metrics["train_seconds"] == 1.5
    assert [m.step for m in client.get_metric_history(published.run_id, "history_stop")] == [
        1,
        2,
        3,
    ]
    version = client.get_model_version(LINEAR, "1")
    assert version.run_id == published.run_id
    assert version.tags["lockstep.stage"] == "None"
    card = json.loads(
        ProblemLayout(workspace, "accidents").model_card("logistic_regression").read_text()
    )
    assert version.tags["lockstep.model_digest"] == card["model_digest"] == published.digest
    expected = {
        "problem",
        "type",
        "git_commit",
        "dirty",
        "data_digest",
        "schema_digest",
        "closure_digest",
    }
    expected |= {"threshold", "score_scale", "validation_roc_auc", "test_f1"}
    assert {f"lockstep.{key}" for key in expected} <= set(version.tags)


def test_the_models_page_is_not_empty(workspace, make):
    make.plots(workspace, "logistic_regression")
    published = publish_training(workspace, "accidents", "logistic_regression")
    client = connected(workspace)
    run = client.get_run(published.run_id)
    model = client.get_logged_model(run.outputs.model_outputs[0].model_id)
    logged = {m.key: (m.value, m.dataset_name) for m in model.metrics}
    assert logged["validation_roc_auc"] == (0.8, "accidents-validation")
    assert logged["test_f1"] == (0.6, "accidents-test")
    assert model.params["C"] == "0.1"
    contexts = {tag.value for i in run.inputs.dataset_inputs for tag in i.tags}
    assert contexts == {"training", "validation", "test"}
    plots = {item.path for item in client.list_artifacts(published.run_id, "plots")}
    names = ("roc", "pr", "calibration", "confusion_matrix", "importance", "effects", "history")
    for name in names:
        assert {f"plots/{name}.csv", f"plots/{name}.png"} <= plots


def test_publishing_again_makes_nothing(workspace):
    first = publish_training(workspace, "accidents", "logistic_regression")
    again = publish_training(workspace, "accidents", "logistic_regression")
    assert (again.version, again.run_id, again.new) == (1, first.run_id, False)
    assert len(runs(workspace)) == 1


def test_another_model_is_another_version(workspace, make):
    publish_training(workspace, "accidents", "logistic_regression")
    make.training(workspace, "logistic_regression", seed=1)
    assert publish_training(workspace, "accidents", "logistic_regression").version == 2


def test_a_model_that_comes_back_is_known(workspace, make):
    publish_training(workspace, "accidents", "logistic_regression")
    make.training(workspace, "logistic_regression", seed=1)
    publish_training(workspace, "accidents", "logistic_regression")
    make.training(workspace, "logistic_regression", seed=0)
    assert publish_training(workspace, "accidents", "logistic_regression").version == 1


@pytest.mark.parametrize("place", ["_log_model", "_log_metrics", "_log_params"])
def test_a_failure_while_logging_is_marked_and_healed(workspace, monkeypatch, place, capsys):
    from lockstep.registry.publishing import runs as logging_

    def broken(*_):
        raise MlflowException("the server went away")

    with monkeypatch.context() as patch:
        patch.setattr(logging_, place, broken)
        assert publish_training(workspace, "accidents", "logistic_regression") is None
    assert "WARNING" in capsys.readouterr().err
    assert [run.info.status for run in runs(workspace)] == ["FAILED"]
    assert publish_training(workspace, "accidents", "logistic_regression").version == 1
    assert sorted(run.info.status for run in runs(workspace)) == ["FAILED", "FINISHED"]


def killed_before_its_version(workspace, monkeypatch):
    """Log a training's run in a process that dies before registering; return the run's id."""

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(new_versions, "register", killed)
        with pytest.raises(KeyboardInterrupt):
            publish_training(workspace, "accidents", "logistic_regression")
    assert versions(workspace) == []
    (run,) = runs(workspace)
    return run.info.run_id


def test_a_crash_between_run_and_version_is_healed_without_a_second_run(workspace, monkeypatch):
    left = killed_before_its_version(workspace, monkeypatch)
    published = publish_training(workspace, "accidents", "logistic_regression")
    assert published.version == 1
    assert [run.info.run_id for run in runs(workspace)] == [published.run_id] == [left]


def test_a_run_of_other_inputs_is_not_taken_for_that_of_the_same_model(workspace, monkeypatch):
    left = killed_before_its_version(workspace, monkeypatch)
    connected(workspace).set_tag(left, "lockstep.closure_digest", "another")
    published = publish_training(workspace, "accidents", "logistic_regression")
    assert published.version == 1
    assert {run.info.run_id for run in runs(workspace)} == {left, published.run_id}
    assert published.run_id != left


def owned_by(**changes):
    """Return the tag of a run that another process logs; no process has a number above 2**22."""
    return json.dumps({**owners.this_process(), **changes})


def open_runs(workspace, *changes):
    """Begin a run of the same training for each process that these changes of this one name."""
    from lockstep.registry.publishing.experiments import experiment_of
    from lockstep.registry.publishing.outputs import read_outputs
    from lockstep.registry.publishing.tags import run_tags

    client = connected(workspace)
    settings = load_settings(workspace)
    number = experiment_of(client, settings, workspace, "accidents")
    tags = run_tags(read_outputs(workspace, "accidents", "logistic_regression"))
    made = [
        client.create_run(number, tags={**tags, PROCESS_TAG: owned_by(**one)}) for one in changes
    ]
    return [run.info.run_id for run in made]


DEAD = {"pid": 2**22 + 1}
ALIVE = {"pid": os.getppid(), "started": owners._started(os.getppid())}


@pytest.mark.parametrize(("local", "elsewhere"), [(True, "FAILED"), (False, "RUNNING")])
def test_a_run_that_a_kill_left_open_is_closed_unless_its_process_may_run(
    workspace, monkeypatch, local, elsewhere
):
    """Through a server, another machine may still log its run; a local registry has no other."""
    if not local:
        monkeypatch.setattr("lockstep.registry.store.queries.uris.sqlite_file", lambda _: None)
    opened = open_runs(workspace, DEAD, ALIVE, {"host": "another"}, {"boot": "an earlier one"})
    published = publish_training(workspace, "accidents", "logistic_regression")
    client = connected(workspace)
    found = [client.get_run(one).info.status for one in opened]
    assert found == ["FAILED", "RUNNING", elsewhere, elsewhere]
    assert client.get_run(published.run_id).info.status == "FINISHED"


def test_publishing_off_says_so_and_logs_nothing(workspace, monkeypatch, capsys):
    monkeypatch.setenv("LOCKSTEP_PUBLISH", "0")
    assert publish_training(workspace, "accidents", "logistic_regression") is None
    assert "publishing is off (the variable LOCKSTEP_PUBLISH)" in capsys.readouterr().err
    assert runs(workspace) == []


def test_a_dvc_experiment_logs_a_tagged_run_and_registers_only_where_configured(
    workspace, monkeypatch
):
    monkeypatch.setenv("DVC_EXP_NAME", "lucky-cat")
    published = publish_training(workspace, "accidents", "logistic_regression")
    assert published.version is None
    assert runs(workspace)[0].data.tags["lockstep.experiment"] == "lucky-cat"
    assert versions(workspace) == []
    configure(workspace, "mlflow: {publish_experiments: true}")
    assert publish_training(workspace, "accidents", "logistic_regression").version == 1
    monkeypatch.delenv("DVC_EXP_NAME")


def test_auto_transition_puts_a_version_in_staging_with_its_alias(workspace):
    configure(workspace, "mlflow: {model_registry: {auto_transition_to_staging: true}}")
    assert publish_training(workspace, "accidents", "logistic_regression").stage == "Staging"
    assert connected(workspace).get_model_version_by_alias(LINEAR, "staging").version == 1


def test_names_experiment_and_what_is_logged_follow_the_configuration(workspace):
    configure(
        workspace,
        "mlflow: {experiment_name: mine, log_artifacts: false, "
        "model_registry: {registered_model_name: My}}",
    )
    published = publish_training(workspace, "accidents", "logistic_regression")
    assert published.name == "My_Logistic_Regression"
    client = connected(workspace)
    assert (
        client.get_run(published.run_id).info.experiment_id
        == client.get_experiment_by_name("mine").experiment_id
    )
    assert client.list_artifacts(published.run_id) == []


def test_without_the_model_nothing_is_registered_and_turning_it_on_heals(workspace):
    configure(workspace, "mlflow: {log_model: false}")
    assert publish_training(workspace, "accidents", "logistic_regression").version is None
    configure(workspace, "mlflow: {log_model: true}")
    assert publish_training(workspace, "accidents", "logistic_regression").version == 1


def test_a_server_that_is_down_costs_a_warning(workspace, monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert publish_training(workspace, "accidents", "logistic_regression") is None
    told = capsys.readouterr().err
    assert (
        "WARNING accidents logistic_regression is trained and kept, but not in the registry" in told
    )
    assert "http://127.0.0.1:9" in told
    assert "`dvc repro`" in told


@pytest.mark.parametrize("what", ["model", "card", "other model"])
def test_damaged_outputs_raise_and_are_not_published(workspace, make, what):
    layout = ProblemLayout(workspace, "accidents")
    model, card = layout.model("logistic_regression"), layout.model_card("logistic_regression")
    if what == "model":
        model.write_bytes(model.read_bytes()[:-9])
    elif what == "card":
        card.write_text(card.read_text()[:40])
    else:
        content = json.loads(card.read_text())
        card.write_text(json.dumps({**content, "model_digest": "0" * 64}))
    with pytest.raises((ArtifactError, DataError), match=r"repro|no valid JSON"):
        publish_training(workspace, "accidents", "logistic_regression")
    assert versions(workspace) == []
    assert runs(workspace) == []


@pytest.mark.parametrize("earlier", [False, True], ids=["details.json", "an earlier metrics.json"])
def test_a_run_s_metrics_json_has_all_metrics(workspace, earlier):
    layout = ProblemLayout(workspace, "accidents")
    details = layout.type_details("logistic_regression")
    content = details.read_bytes()
    if earlier:
        details.rename(layout.type_metrics("logistic_regression"))
    run_id = publish_training(workspace, "accidents", "logistic_regression").run_id
    client = connected(workspace)
    logged = Path(client.download_artifacts(run_id, "metrics.json", str(workspace)))
    assert logged.read_bytes() == content
    assert client.get_run(run_id).data.metrics["validation_roc_auc"] == 0.8


def test_all_metrics_missing_names_the_stage(workspace):
    ProblemLayout(workspace, "accidents").type_details("logistic_regression").unlink()
    fix = r"details\.json is missing; run `dvc repro train_multi_model@accidents-logistic_reg"
    with pytest.raises(DataError, match=fix):
        publish_training(workspace, "accidents", "logistic_regression")


def test_a_missing_output_names_the_stage(workspace):
    with pytest.raises(DataError, match="dvc repro train_multi_model@accidents-xgboost"):
        publish_training(workspace, "accidents", "xgboost")


def test_the_artifact_is_whole_and_without_pickles(workspace):
    publish_training(workspace, "accidents", "random_forest")
    folder = next(workspace.glob("mlruns/*/models/*/artifacts"))
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    expected = {
        "MLmodel",
        "model.skops",
        "golden.json",
        "schema.yaml",
        "model_card.json",
        "requirements.txt",
    }
    assert expected <= names
    assert "code/lockstep/features/columns_v1.py" in names
    assert not [n for n in names if n.endswith((".pkl", ".pickle", ".joblib"))]
    from lockstep.models.artifact import read_artifact

    digest = json.loads((folder / "model_card.json").read_text())["model_digest"]
    pipeline = read_artifact(
        folder / "model.skops", digest, folder / "code/lockstep/features/columns_v1.py"
    )
    rows = golden_rows(load_schema("accidents"))
    outputs = json.loads((folder / "golden.json").read_text())["outputs"]
    assert np.array_equal(pipeline.predict_proba(rows)[:, 1], outputs)


OUTSIDE = """
import sys
sys.path = [p for p in sys.path if not p.rstrip("/").endswith("/src")]
sys.meta_path = [f for f in sys.meta_path if "editable" not in repr(f).lower()]
import importlib.util
assert importlib.util.find_spec("lockstep") is None
import mlflow, pandas as pd
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.sklearn.load_model("models:/NAME/1")
served = mlflow.pyfunc.load_model("models:/NAME/1")
example = served.input_example
assert list(served.predict(example).shape) == [1, 2]
assert (served.predict(example) == model.predict_proba(example)).all()
from pathlib import Path
folder = Path(served.metadata.get_model_info().artifact_path)
from lockstep.features import columns_v1
assert "artifacts" in columns_v1.__file__ or "code" in columns_v1.__file__, columns_v1.__file__
"""


def test_it_loads_where_the_package_is_not_installed(workspace):
    published = publish_training(workspace, "accidents", "random_forest")
    code = OUTSIDE.replace("NAME", published.name)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, f"sqlite:///{workspace}/mlflow.db"],
        capture_output=True,
        text=True,
        env=environment,
        cwd=workspace.parent,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_shipped_code_does_not_hide_the_installed_package(workspace, monkeypatch):
    publish_training(workspace, "accidents", "random_forest")
    folder = next(workspace.glob("mlruns/*/models/*/artifacts")) / "code"
    code = (
        "import lockstep.features, lockstep.errors, lockstep.config.settings; "
        "print(lockstep.__path__)"
    )
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    assert str(folder) in done.stdout


@pytest.fixture
def git(workspace):
    """Put the workspace under git; return what runs git there."""

    def run(*arguments):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        done = subprocess.run(
            ["git", *identity, *arguments],
            cwd=workspace,
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    run("init", "-q")
    (workspace / ".gitignore").write_text("/mlflow.db\n/mlruns\n/data\n/models\n")
    run("add", ".")
    run("commit", "-qm", "first")
    return run


def change(workspace):
    with (workspace / "requirements.lock").open("a") as stream:
        stream.write("# another\n")


def test_a_dirty_version_keeps_its_changed_inputs(workspace, git, make):
    make.written_code(workspace)
    code = workspace / "src" / "lockstep" / "registry" / "old.py"  # needed to run, in no stage
    code.parent.mkdir(parents=True)
    code.write_text("1\n")
    git("add", ".")
    git("commit", "-qm", "some code")
    code.unlink()
    change(workspace)
    published = publish_training(workspace, "accidents", "logistic_regression")
    client = connected(workspace)
    assert client.get_model_version(LINEAR, "1").tags["lockstep.dirty"] == "true"
    kept = client.download_artifacts(published.run_id, "lineage/inputs/requirements.lock")
    assert Path(kept).read_text().endswith("# another\n")
    closure = json.loads(
        Path(client.download_artifacts(published.run_id, "lineage/closure.json")).read_text()
    )
    assert "train.accidents-logistic_regression" in closure["training"]["params"]
    sums = json.loads(
        Path(client.download_artifacts(published.run_id, "lineage/changed.json")).read_text()
    )
    assert sums == {
        "requirements.lock": sha256_file(workspace / "requirements.lock"),
        "src/lockstep/registry/old.py": None,
    }
    assert client.get_model_version(LINEAR, "1").tags["lockstep.inputs_digest"] == sha256_json(sums)


def refused(workspace, monkeypatch):
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")


def without_git(workspace, monkeypatch):
    monkeypatch.setenv("PATH", str(workspace))


@pytest.mark.parametrize(
    ("fault", "commit", "warned"),
    [
        (refused, "git refuses", "run `git config --global --add safe.directory"),
        (without_git, "git is not installed", "install it"),
        (lambda root, _: shutil.rmtree(root / ".git"), "no git repository", "run `git init`"),
        (lambda root, _: (root / ".git/HEAD").unlink(), "git fails", "not a git repository"),
    ],
)
def test_no_version_lacks_its_commit_without_a_warning(
    workspace, git, monkeypatch, capsys, fault, commit, warned
):
    fault(workspace, monkeypatch)
    publish_training(workspace, "accidents", "logistic_regression")
    told = [line for line in capsys.readouterr().err.splitlines() if "WARNING" in line]
    assert len(told) == 1
    assert f"{LINEAR} version 1 is registered without its commit: " in told[0]
    assert warned in told[0]
    version = connected(workspace).get_model_version(LINEAR, "1")
    assert version.tags["lockstep.git_commit"] == commit
    assert version.tags["lockstep.dirty"] == "unknown"
    assert _version_row(version_from(version))["commit"] == commit
    publish_training(workspace, "accidents", "logistic_regression")
    assert "WARNING" not in capsys.readouterr().err, "a known version is not registered again"


def test_a_commit_that_could_not_be_compared_is_told(workspace, git, capsys):
    (workspace / ".git/index").write_bytes(b"cut off")
    publish_training(workspace, "accidents", "logistic_regression")
    told = capsys.readouterr().err
    assert "is registered with its commit unchecked: git can't read the repository" in told
    version = connected(workspace).get_model_version(LINEAR, "1")
    assert version.tags["lockstep.dirty"] == "unknown"


def test_a_name_that_no_record_can_hold_leaves_a_version_unchecked(workspace, git, make, capsys):
    make.written_code(workspace)
    code = workspace / "src" / "lockstep"
    code.mkdir(parents=True)
    change(workspace)
    try:
        (code / os.fsdecode(b"R\xe9sum\xe9.csv")).touch()
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    publish_training(workspace, "accidents", "logistic_regression")
    told = r"its commit unchecked: the name of src/lockstep/R\xe9sum\xe9.csv is not UTF-8; rename"
    assert told in capsys.readouterr().err
    tags = connected(workspace).get_model_version(LINEAR, "1").tags
    assert tags["lockstep.dirty"] == "unknown"
    assert "lockstep.inputs_digest" not in tags


def test_a_dirty_version_is_tagged_with_the_commit_that_has_its_inputs(workspace, git):
    def committed_as():
        publish_training(workspace, "accidents", "logistic_regression")
        return connected(workspace).get_model_version(LINEAR, "1").tags.get("lockstep.committed_as")

    change(workspace)
    assert committed_as() is None
    assert committed_as() is None  # known, and still not committed
    git("stash", "-q")
    assert committed_as() is None  # a clean tree, but of other inputs
    git("stash", "pop", "-q")
    git("commit", "-qam", "the inputs")
    head = git("rev-parse", "HEAD")
    assert committed_as() == head
    git("commit", "-q", "--allow-empty", "-m", "later")
    assert committed_as() == head


def test_the_commit_is_tagged_while_the_model_is_locked(workspace, git, monkeypatch):
    """Two commands that tag it at once would both insert the tag's row."""
    change(workspace)
    publish_training(workspace, "accidents", "logistic_regression")
    git("commit", "-qam", "the inputs")
    tag, locked = connection.Client.set_model_version_tag, []

    def noting(client, name, version, key, value):
        if key == "lockstep.committed_as":
            locked.append([lock.name for lock in all_locks(client)])
        tag(client, name, version, key, value)

    monkeypatch.setattr(connection.Client, "set_model_version_tag", noting)
    publish_training(workspace, "accidents", "logistic_regression")
    assert locked == [[LINEAR]]


def test_a_clean_version_keeps_no_inputs(workspace, git):
    published = publish_training(workspace, "accidents", "logistic_regression")
    client = connected(workspace)
    assert "lockstep.inputs_digest" not in client.get_model_version(LINEAR, "1").tags
    assert [item.path for item in client.list_artifacts(published.run_id, "lineage")] == [
        "lineage/closure.json"
    ]


def test_global_state_of_mlflow_is_left_alone(workspace):
    publish_training(workspace, "accidents", "logistic_regression")
    assert mlflow.active_run() is None
    assert "MLFLOW_TRACKING_URI" not in os.environ


def test_a_store_that_cannot_be_written_costs_a_warning_and_registers_nothing(workspace, capsys):
    shutil.rmtree(workspace / "mlruns", ignore_errors=True)
    (workspace / "mlruns").write_text("in the way")
    assert publish_training(workspace, "accidents", "logistic_regression") is None
    told = capsys.readouterr().err
    assert "is trained and kept, but not in the registry" in told
    assert "mlruns" in told
    assert versions(workspace) == []
    assert [run.info.status for run in runs(workspace)] == ["FAILED"]
