"""Another process inserts a row just after MLflow looked for it and found none."""

import json
from contextlib import contextmanager
from functools import partial

import pytest
from mlflow.exceptions import MlflowException, RestException
from mlflow.store.tracking.dbmodels.models import SqlDataset, SqlTag
from sqlalchemy import event
from sqlalchemy.orm import Session

from lockstep.config.settings import load_settings
from lockstep.problems.schema import load_schema
from lockstep.registry.publishing.outputs import read_outputs
from lockstep.registry.publishing.parent_runs import tie
from lockstep.registry.publishing.run_content import PARTS, data_parts
from lockstep.registry.store.connection import connect, experiment_id, retry_conflicts
from lockstep.registry.store.names import PARENT_TAG
from lockstep.registry.train_stage import publish_training

MODEL = ("accidents", "logistic_regression")


@contextmanager
def overtaken(kind, *writes):
    """Before each insert of a kind of row, do the next of another process's writes."""
    left, writing = list(writes), []

    def before_flush(session, *_):
        if left and not writing and any(isinstance(row, kind) for row in session.new):
            writing.append(session)
            left.pop(0)()
            writing.clear()

    event.listen(Session, "before_flush", before_flush)
    try:
        yield
    finally:
        event.remove(Session, "before_flush", before_flush)
    assert not left, "nothing was inserted that the other process could overtake"


@pytest.fixture
def client(workspace):
    return connect(load_settings(workspace), workspace)


@pytest.fixture
def parts(workspace):
    """The data sets that all trainings of the problem share."""
    return list(data_parts(read_outputs(workspace, *MODEL)).values())


@pytest.fixture
def other(client, workspace):
    """The run of another training of the problem."""
    experiment = experiment_id(client, workspace, load_schema(MODEL[0]).experiment)
    return client.create_run(experiment).info.run_id


def digests(client, run_id):
    return {one.dataset.digest for one in client.get_run(run_id).inputs.dataset_inputs}


@pytest.mark.parametrize("at_once", [1, len(PARTS)])
def test_two_trainings_that_log_the_same_data_first_are_both_registered(
    workspace, client, parts, other, at_once
):
    some = [parts[start : start + at_once] for start in range(0, len(parts), at_once)]
    with overtaken(SqlDataset, *(partial(client.log_inputs, other, one) for one in some)):
        published = publish_training(workspace, *MODEL)
    assert (published.version, published.new) == (1, True)
    run = client.get_run(published.run_id)
    assert run.info.status == "FINISHED"
    assert len(run.inputs.dataset_inputs) == len(parts)
    assert digests(client, published.run_id) == digests(client, other)


def test_two_that_put_the_same_runs_below_a_parent_both_go_on(client, other):
    def second():
        client.set_tag(other, PARENT_TAG, "its own")

    with overtaken(SqlTag, second):
        tie(client, [other], "a parent")
    assert client.get_run(other).data.tags[PARENT_TAG] == "a parent"


@pytest.fixture
def conflict(client, parts, other):
    """The error that MLflow raises for a row that came in between."""
    run_id = client.create_run(client.get_run(other).info.experiment_id).info.run_id
    with (
        overtaken(SqlDataset, partial(client.log_inputs, other, parts)),
        pytest.raises(MlflowException, match="UNIQUE constraint failed") as caught,
    ):
        client.log_inputs(run_id, parts)
    return caught.value


def failing(error, times):
    """Return a write that fails as often as told, and the list of its calls."""
    calls = []

    def write():
        calls.append(1)
        if len(calls) <= times:
            raise error

    return write, calls


def test_a_conflict_that_a_server_reports_is_one_too(conflict):
    answer = RestException(json.loads(conflict.serialize_as_json()))
    write, calls = failing(answer, 1)
    retry_conflicts(write)
    assert len(calls) == 2


def test_more_conflicts_than_rows_are_an_error(conflict):
    write, calls = failing(conflict, 9)
    with pytest.raises(MlflowException, match="UNIQUE constraint failed"):
        retry_conflicts(write, rows=2)
    assert len(calls) == 3


def test_another_error_is_raised_at_once():
    write, calls = failing(MlflowException("the disk is full"), 1)
    with pytest.raises(MlflowException, match="the disk is full"):
        retry_conflicts(write, rows=9)
    assert len(calls) == 1
