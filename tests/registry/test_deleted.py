"""What somebody deleted in MLflow: `register` makes it anew and says so in one line."""

import pytest
from tests.registry.test_publish import configure, killed_before_its_version, runs

from lockstep.config.settings import load_settings
from lockstep.registry.publishing import new_versions
from lockstep.registry.publishing.known import PARENT_KEY
from lockstep.registry.store import connection
from lockstep.registry.store.names import PARENT_TAG
from lockstep.registry.train_stage import publish_training
from lockstep.registry.trained_models import register_models

LINEAR, FOREST = "Accident_Prediction_Logistic_Regression", "Accident_Prediction_Random_Forest"

FOR_GOOD = pytest.mark.parametrize(
    "for_good", [False, True], ids=["deleted", "removed by mlflow gc"]
)


@pytest.fixture
def client(workspace):
    return connection.connect(load_settings(workspace), workspace)


def delete_model(client, model_id, for_good):
    client.delete_logged_model(model_id)
    if for_good:
        client._tracking_client.store._hard_delete_logged_model(model_id)


def delete_run(client, run_id, for_good):
    client.delete_run(run_id)
    if for_good:  # what `mlflow gc` calls, which takes seconds to start
        client._tracking_client.store._hard_delete_run(run_id)


def registered(workspace):
    return [(one.name, one.version, one.new) for one in register_models(workspace)]


@FOR_GOOD
@pytest.mark.parametrize("tied", [False, True], ids=["before its parent run", "after it"])
def test_a_version_whose_run_is_deleted_is_registered_anew(
    workspace, client, capsys, for_good, tied
):
    first = publish_training(workspace, "accidents", "logistic_regression")
    if tied:
        register_models(workspace)
    delete_run(client, first.run_id, for_good)
    capsys.readouterr()
    assert registered(workspace) == [(LINEAR, 2, True), (FOREST, 1, not tied)]
    told = [line for line in capsys.readouterr().err.splitlines() if "deleted" in line]
    assert told == [
        f"⚠ WARNING {LINEAR} version 1: its run {first.run_id} is deleted; it is registered anew"
    ]
    made = client.get_run(client.get_model_version(LINEAR, "2").run_id)
    assert made.info.lifecycle_stage == "active"
    assert made.info.run_id != first.run_id
    (parent,) = [run for run in runs(workspace) if PARENT_KEY in run.data.tags]
    assert made.data.tags[PARENT_TAG] == parent.info.run_id
    assert registered(workspace) == [(LINEAR, 2, False), (FOREST, 1, False)]
    assert [run.info.status for run in runs(workspace)] == ["FINISHED"] * 3


def test_a_deleted_run_hinders_no_parent_run_where_models_are_not_logged(workspace, client, capsys):
    first = publish_training(workspace, "accidents", "logistic_regression")
    publish_training(workspace, "accidents", "random_forest")
    configure(workspace, "mlflow: {log_model: false}")
    delete_run(client, first.run_id, for_good=True)
    assert registered(workspace) == [(LINEAR, 1, False), (FOREST, 1, False)]
    told = f"WARNING run {first.run_id} is deleted and gets no parent run"
    assert told in capsys.readouterr().err
    (parent,) = [run for run in runs(workspace) if PARENT_KEY in run.data.tags]
    assert parent.info.status == "FINISHED"
    (child,) = [run for run in runs(workspace) if PARENT_TAG in run.data.tags]
    assert child.data.tags[PARENT_TAG] == parent.info.run_id


def test_a_deleted_parent_run_is_made_anew(workspace, client):
    register_models(workspace)
    (parent,) = [run for run in runs(workspace) if PARENT_KEY in run.data.tags]
    client.delete_run(parent.info.run_id)
    register_models(workspace)
    (made,) = [run for run in runs(workspace) if PARENT_KEY in run.data.tags]
    tied = {run.data.tags[PARENT_TAG] for run in runs(workspace) if PARENT_TAG in run.data.tags}
    assert tied == {made.info.run_id}


@FOR_GOOD
def test_a_version_whose_logged_model_is_deleted_is_registered_anew(
    workspace, client, capsys, for_good
):
    register_models(workspace)
    model_id = client.get_model_version(LINEAR, "1").source.removeprefix("models:/")
    delete_model(client, model_id, for_good)
    capsys.readouterr()
    assert registered(workspace) == [(LINEAR, 2, True), (FOREST, 1, False)]
    fault = f"its logged model {model_id} is deleted"
    assert f"WARNING {LINEAR} version 1: {fault}; it is registered anew" in capsys.readouterr().err
    assert registered(workspace) == [(LINEAR, 2, False), (FOREST, 1, False)]


@FOR_GOOD
def test_a_run_whose_logged_model_is_deleted_gets_no_version(
    workspace, client, monkeypatch, capsys, for_good
):
    left = killed_before_its_version(workspace, monkeypatch)
    (model,) = client.get_run(left).outputs.model_outputs
    delete_model(client, model.model_id, for_good)
    made = publish_training(workspace, "accidents", "logistic_regression")
    assert made.version == 1
    assert made.run_id != left
    told = f"run {left}: it has no logged model, or it was deleted; the model gets a new run"
    assert told in capsys.readouterr().err


def test_a_refused_model_whose_logged_model_was_deleted_is_logged_once_more(
    workspace, client, monkeypatch
):
    """A run may have the time of its training; the new one is found, as it comes last."""
    timings = {"train_seconds": 1.0}
    with monkeypatch.context() as patch:
        patch.setattr(new_versions, "registers", lambda _: False)
        first = publish_training(workspace, "accidents", "logistic_regression", timings)
        (model,) = client.get_run(first.run_id).outputs.model_outputs
        client.delete_logged_model(model.model_id)
        for _ in range(2):
            publish_training(workspace, "accidents", "logistic_regression", timings)
    assert len(runs(workspace)) == 2
