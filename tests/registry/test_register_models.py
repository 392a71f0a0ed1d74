import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from tests.registry.loaded import load_version
from tests.registry.test_run_artifacts import write_rows

from lockstep.config.layout import ProblemLayout
from lockstep.config.params import load_params
from lockstep.config.settings import load_settings
from lockstep.errors import ArtifactError, DataError, RegistryError, UsageError
from lockstep.io import write_csv, write_json
from lockstep.registry.artifact import locating
from lockstep.registry.artifact.files import SUMS
from lockstep.registry.artifact.model_cache import SUSPECT, cached_name
from lockstep.registry.publishing.known import Trained, all_registered
from lockstep.registry.publishing.outputs import Outputs, read_outputs
from lockstep.registry.record.registered_models import get_version
from lockstep.registry.store import connection
from lockstep.registry.store.names import PARENT_TAG
from lockstep.registry.store.opening import existing_tables
from lockstep.registry.train_stage import publish_training
from lockstep.registry.trained_models import register_models

OWN = ("mlflow.user", "mlflow.modelVersions", "lockstep.sums_digest")
"""Tags of a logged model that server or account write, or that sum up a file with its own id."""


def client_of(root):
    return connection.connect(load_settings(root), root)


def by_name(root, content=True):
    """Every run but parents, as what it says: params, metrics, tags, files (with their content)."""
    client = client_of(root)
    experiment = client.get_experiment_by_name("accident_prediction")
    found = {}
    for run in client.search_runs([experiment.experiment_id]):
        if "lockstep.parent_of" not in run.data.tags:
            found[run.data.tags["mlflow.runName"]] = described(client, run, content)
    return found


def described(client, run, content):
    tags = {k: v for k, v in run.data.tags.items() if k not in (PARENT_TAG, "mlflow.user")}
    histories = {
        key: [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, key)]
        for key in run.data.metrics
        if not key.endswith("_seconds")
    }
    model = client.get_logged_model(run.outputs.model_outputs[0].model_id)
    scored = sorted(
        (m.key, m.value, m.dataset_name or "", m.dataset_digest or "") for m in model.metrics
    )
    scored = [row for row in scored if not row[0].endswith("_seconds")]
    data = sorted(
        (i.dataset.name, i.dataset.digest, i.dataset.source) for i in run.inputs.dataset_inputs
    )
    return {
        "params": run.data.params,
        "metrics": histories,
        "tags": tags,
        "data": data,
        "files": files(client, run.info.run_id, content),
        "model": (
            scored,
            model.params,
            {k: v for k, v in model.tags.items() if k not in OWN},
            model.model_type,
        ),
    }


def files(client, run_id, content, path=None):
    import hashlib
    from pathlib import Path

    found = {}
    for item in client.list_artifacts(run_id, path):
        if item.is_dir:
            found |= files(client, run_id, content, item.path)
        elif content:
            read = Path(client.download_artifacts(run_id, item.path)).read_bytes()
            found[item.path] = hashlib.sha256(read).hexdigest()
        else:
            found[item.path] = item.file_size
    return found


def model_files(root):
    import hashlib

    found = {}
    for folder in root.glob("mlruns/*/models/*/artifacts"):
        kind = hashlib.sha256((folder / "model.skops").read_bytes()).hexdigest()
        found[kind] = {
            path.relative_to(folder).as_posix(): without_its_own_id(path)
            for path in folder.rglob("*")
            if path.is_file() and path.name != "MLmodel"
        }
    return found


def without_its_own_id(path):
    """Return a file's content; of sums all but MLmodel's, which has the model's id and the time."""
    if path.name != SUMS:
        return path.read_bytes()
    sums = json.loads(path.read_text())
    assert "MLmodel" in json.dumps(sums)
    return {name: told for name, told in sums.items() if name != "MLmodel"}


@pytest.mark.long
def test_a_run_that_register_rebuilds_equals_the_one_the_train_stage_logs(
    workspace, make, empty_database
):
    for model_type in make.small:
        make.plots(workspace, model_type)
        write_rows(workspace, model_type)
        publish_training(workspace, "accidents", model_type, {"train_seconds": 3.0})
    trained, models = by_name(workspace), model_files(workspace)
    make.new_store(workspace, empty_database)
    assert [one.new for one in register_models(workspace)] == [True, True]
    rebuilt = by_name(workspace)
    assert set(rebuilt) == set(make.small)
    for name in make.small:
        assert rebuilt[name] == trained[name]
        assert "rolling_metrics.csv" in rebuilt[name]["files"]
    assert model_files(workspace) == models


def test_nothing_is_cached_away(workspace, make, empty_database, capsys):
    assert [one.version for one in register_models(workspace)] == [1, 1]
    assert capsys.readouterr().out.splitlines()[0] == (
        "Accident_Prediction_Logistic_Regression  version 1  None  new"
    )
    make.new_store(workspace, empty_database)
    assert [(one.version, one.new) for one in register_models(workspace)] == [(1, True), (1, True)]
    assert [(one.version, one.new) for one in register_models(workspace)] == [
        (1, False),
        (1, False),
    ]


def test_what_is_known_is_not_loaded(workspace, monkeypatch):
    register_models(workspace)
    monkeypatch.setattr(
        Outputs, "load_pipeline", lambda _: pytest.fail("loaded a model the registry knows")
    )
    started = time.monotonic()
    register_models(workspace)
    assert time.monotonic() - started < 1.5


WITHOUT_MLFLOW = """
import runpy, sys
sys.modules["mlflow"] = sys.modules["sklearn"] = None
sys.argv[1:] = ["--problem", "accidents"]
runpy.run_module("lockstep.registry.register_models", run_name="__main__")
"""


def test_a_local_registry_that_lacks_nothing_is_read_without_mlflow(workspace):
    names = [one.name for one in register_models(workspace)]
    command = [sys.executable, "-W", "ignore", "-c", WITHOUT_MLFLOW]
    done = subprocess.run(command, cwd=workspace, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"{name}  version 1  None  known" for name in names]


def delete_version(root, client, published):
    client.delete_model_version(published.name, "1")


def damage_model(root, client, published):
    for file in root.glob("mlruns/*/models/*/artifacts/model.skops"):
        file.write_bytes(file.read_bytes()[:-1])


def remove_models(root, client, published):
    for folder in root.glob("mlruns/*/models/*/artifacts"):
        shutil.rmtree(folder)


def suspect_model(root, client, published):
    (root / SUSPECT).mkdir(parents=True, exist_ok=True)
    version = get_version(client, published.name, published.version)
    (root / SUSPECT / cached_name(version)).touch()


def delete_parent(root, client, published):
    client.delete_run(client.get_run(published.run_id).data.tags[PARENT_TAG])


def rename_experiment(root, client, published):
    found = client.get_experiment_by_name("accident_prediction")
    client.rename_experiment(found.experiment_id, "elsewhere")


@pytest.mark.parametrize(
    ("change", "mended"),
    [
        (delete_version, True),
        (damage_model, True),
        (remove_models, True),
        (suspect_model, False),  # nothing is wrong in the registry
        (delete_parent, False),  # another parent run is made
        (rename_experiment, False),  # in the experiment that is configured
    ],
)
def test_what_a_registry_lacks_is_not_overlooked(workspace, change, mended):
    (published, *_) = register_models(workspace)
    settings, client = load_settings(workspace), client_of(workspace)
    kinds = ("logistic_regression", "random_forest")
    outputs = [read_outputs(workspace, "accidents", kind) for kind in kinds]
    trained = Trained(outputs, load_params(workspace).problem("accidents"), asked_for=True)

    def all_there():
        return all_registered(existing_tables(settings, workspace), settings, trained) is not None

    assert all_there()
    change(workspace, client, published)
    assert not all_there()
    assert register_models(workspace)[0].new == mended
    assert all_there()


def test_one_parent_a_set_of_models(workspace, make):
    layout = ProblemLayout(workspace, "accidents")
    table = {
        "type": list(make.small),
        "roc_auc": [0.8, 0.7],
        "roc_auc_low": [0.7, 0.6],
        "roc_auc_high": [0.9, 0.8],
    }
    write_csv(layout.comparison, pd.DataFrame(table))
    write_json(layout.champion, {"type": "random_forest", "metric": "roc_auc", "value": 0.8})
    register_models(workspace)
    published = register_models(workspace)
    client = client_of(workspace)
    experiment = client.get_experiment_by_name("accident_prediction")
    parents = [
        r
        for r in client.search_runs([experiment.experiment_id])
        if "lockstep.parent_of" in r.data.tags
    ]
    assert len(parents) == 1
    (parent,) = parents
    assert {client.get_run(one.run_id).data.tags[PARENT_TAG] for one in published} == {
        parent.info.run_id
    }
    assert parent.data.tags["lockstep.champion"] == "random_forest"
    assert parent.data.metrics["random_forest.validation_roc_auc"] == 0.8
    names = {item.path for item in client.list_artifacts(parent.info.run_id)}
    assert names == {"champion.json", "model_comparison.csv", "model_comparison.png", "report.html"}
    make.training(workspace, "random_forest", seed=2)
    register_models(workspace)
    runs = client.search_runs([experiment.experiment_id])
    assert len([r for r in runs if "lockstep.parent_of" in r.data.tags]) == 2


def test_a_crash_before_the_children_are_tied_is_healed(workspace, monkeypatch):
    from lockstep.registry.publishing import parent_runs

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(parent_runs, "tie", killed)
        with pytest.raises(KeyboardInterrupt):
            register_models(workspace)
    published = register_models(workspace)
    client = client_of(workspace)
    tied = {client.get_run(one.run_id).data.tags[PARENT_TAG] for one in published}
    assert len(tied) == 1
    assert client.get_run(tied.pop()).info.status == "FINISHED"


def test_an_artifact_damaged_on_a_server_is_registered_anew(
    workspace, server_factory, monkeypatch, capsys
):
    served = server_factory().start()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", served.uri)
    client = client_of(workspace)
    name = "Accident_Prediction_Logistic_Regression"

    def register() -> tuple[int, bool, str]:
        (one,) = register_models(workspace, "accidents", ["logistic_regression"])
        return one.version, one.new, capsys.readouterr().err

    def artifact(version: int, file: str = "model.skops") -> Path:
        model_id = client.get_model_version(name, str(version)).source.removeprefix("models:/")
        (found,) = (served.folder / "artifacts").rglob(f"{model_id}/artifacts/{file}")
        return found

    assert register()[:2] == (1, True)
    artifact(1).unlink()
    version, new, told = register()
    assert (version, new) == (2, True)
    assert f"{name} version 1: its model.skops is missing from" in told
    artifact(2).write_bytes(artifact(2).read_bytes()[:-100])
    version, new, told = register()
    assert (version, new) == (3, True)
    assert "bytes in place of" in told

    content = bytearray(artifact(3).read_bytes())
    content[len(content) // 2] ^= 1
    artifact(3).write_bytes(content)
    with monkeypatch.context() as patch:
        patch.setattr(
            locating, "_download", lambda *_: pytest.fail("downloaded what nobody suspects")
        )
        assert register()[:2] == (3, False)
    with pytest.raises(
        ArtifactError, match=r"changed or swapped .* register it again with `dvc repro -s register`"
    ):
        load_version(client, workspace, name, version=3)
    version, new, told = register()
    assert (version, new) == (4, True)
    assert "version 3: its artifact has digest" in told
    assert load_version(client, workspace, name, version=4).version == 4
    with monkeypatch.context() as patch:
        patch.setattr(locating, "_download", lambda *_: pytest.fail("downloaded it once more"))
        assert register()[:2] == (4, False)
    (note,) = (workspace / SUSPECT).iterdir()
    assert note.name == cached_name(get_version(client, name, 3)), "it is damaged still"


def test_golden_rows_damaged_in_a_folder_are_mended_after_they_were_refused(workspace, capsys):
    (first,) = register_models(workspace, "accidents", ["logistic_regression"])
    (file,) = workspace.glob("mlruns/*/models/*/artifacts/golden.json")
    file.write_text(file.read_text()[:100])
    with pytest.raises(ArtifactError):
        load_version(client_of(workspace), workspace, first.name, version=1)
    assert [
        one.version for one in register_models(workspace, "accidents", ["logistic_regression"])
    ] == [2]
    assert load_version(client_of(workspace), workspace, first.name, version=2).version == 2


def test_only_some_types_or_problems(workspace, capsys):
    assert [one.name for one in register_models(workspace, "accidents", ["random_forest"])] == [
        "Accident_Prediction_Random_Forest"
    ]
    with pytest.raises(UsageError, match="did you mean 'random_forest'"):
        register_models(workspace, "accidents", ["random_forst"])
    with pytest.raises(UsageError, match="did you mean 'random_forest'"):
        register_models(workspace, None, ["random_forst"])
    with pytest.raises(UsageError, match="unknown problem 'accident'"):
        register_models(workspace, "accident")


def test_a_type_that_was_not_trained_yet_is_told(workspace, make, capsys):
    ProblemLayout(workspace, "accidents").model_card("random_forest").unlink()
    assert len(register_models(workspace)) == 1
    assert "accidents random_forest: not trained yet" in capsys.readouterr().out


def test_publishing_off_registers_nothing(workspace, monkeypatch, capsys):
    monkeypatch.setenv("LOCKSTEP_PUBLISH", "0")
    assert register_models(workspace) == []
    assert "publishing is off" in capsys.readouterr().out


def command(root, *arguments, **environment):
    import os

    return subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "lockstep.registry.register_models", *arguments],
        cwd=root,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_fails_in_one_line_while_the_server_is_down(workspace):
    done = command(workspace, MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(
        "✗ tracking server http://127.0.0.1:9 (from the variable MLFLOW_TRACKING_URI) refused"
    )


HELP = """
import runpy, sys
sys.argv = ["x", "--help"]
try:
    runpy.run_module("lockstep.registry.register_models", run_name="__main__")
except SystemExit:
    print([name for name in ("mlflow", "pandas", "sklearn", "numpy") if name in sys.modules])
"""


def test_help_imports_nothing_heavy():
    code = HELP
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.long
def test_down_while_training_then_up_then_a_second_new_server(
    workspace, make, server_factory, monkeypatch, capsys
):
    make.plots(workspace, "random_forest")
    first, second = server_factory(), server_factory()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", first.uri)
    assert publish_training(workspace, "accidents", "random_forest") is None
    assert "WARNING" in capsys.readouterr().err
    with pytest.raises(RegistryError, match="refused the connection"):
        register_models(workspace)
    first.start()
    assert [(one.version, one.new) for one in register_models(workspace)] == [(1, True), (1, True)]
    assert [(one.version, one.new) for one in register_models(workspace)] == [
        (1, False),
        (1, False),
    ]
    over_http = by_name(workspace, content=False)
    first.stop()
    second.start()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", second.uri)
    assert [(one.version, one.new) for one in register_models(workspace)] == [(1, True), (1, True)]
    assert by_name(workspace, content=False) == over_http
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    register_models(workspace)
    assert by_name(workspace, content=False) == over_http


def test_a_model_of_another_schema_is_not_registered(workspace):
    path = ProblemLayout(workspace, "accidents").model_card("random_forest")
    write_json(path, {**json.loads(path.read_text()), "schema_digest": "0" * 64}, digits=None)
    with pytest.raises(
        DataError,
        match="schema of accidents was changed after random_forest was trained; run `dvc repro",
    ):
        register_models(workspace, "accidents", ["random_forest"])
