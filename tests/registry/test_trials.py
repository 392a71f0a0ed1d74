"""Each trial of a search is one run below its parent, however often the search is started again."""

import subprocess

import pytest

from lockstep.models.search import TrialResult
from lockstep.registry.publishing.trials import open_search

RESULTS = [
    TrialResult(0, {"depth": 3}, 0.8, pruned=False, history={0: 0.7, 1: 0.8}, seconds=1.5),
    TrialResult(1, {"depth": 9}, 0.1, pruned=True, history={0: 0.1}, seconds=0.5),
]


@pytest.fixture
def bare(tmp_path, monkeypatch):
    for name in ("MLFLOW_TRACKING_URI", "DAGSHUB_REPO", "LOCKSTEP_PUBLISH"):
        monkeypatch.delenv(name, raising=False)
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    return tmp_path


@pytest.fixture
def project(bare, empty_database, make):
    make.new_store(bare, empty_database)
    return bare


def runs(log):
    found = log.client.search_runs([log.experiment_id], order_by=["tags.`lockstep.trial`"])
    return {run.data.tags["lockstep.trial"]: run for run in found}


def test_trials_are_nested_runs_logged_once(project):
    for _ in range(2):  # the second time is the search started again
        log = open_search(project, "accidents", "xgboost", "study-1", "roc_auc", 1)
        for result in RESULTS:
            log.add(result)
    log.close({"depth": 3}, 0.8)
    found = runs(log)
    assert set(found) == {"0", "1", "parent"}
    assert {found[n].data.tags["mlflow.parentRunId"] for n in "01"} == {log.parent_id}
    assert found["0"].data.params == {"depth": "3"}
    assert found["0"].data.metrics == {"stop_loss": -0.8, "value": 0.8}
    assert found["1"].data.tags["lockstep.pruned"] == "true"
    assert found["1"].data.metrics == {"stop_loss": -0.1}
    assert found["parent"].info.status == "FINISHED"
    assert found["parent"].data.tags["lockstep.winner.depth"] == "3"


def test_the_history_keeps_its_steps(project):
    log = open_search(project, "accidents", "xgboost", "study-1", "roc_auc", 1)
    log.add(RESULTS[0])
    steps = log.client.get_metric_history(runs(log)["0"].info.run_id, "stop_loss")
    assert [(m.step, m.value) for m in steps] == [(0, -0.7), (1, -0.8)]


def test_a_metric_of_which_less_is_better_is_logged_as_it_is(project):
    log = open_search(project, "accidents", "xgboost", "study-1", "log_loss", -1)
    log.add(TrialResult(0, {}, -0.4, False, {1: -0.5}, 1.0))
    log.close({"depth": 3}, 0.4)
    found = runs(log)
    assert found["0"].data.metrics == {"stop_loss": 0.5, "value": 0.4}
    assert found["parent"].data.metrics == {"best_value": 0.4}
    assert found["parent"].data.tags["lockstep.metric"] == "log_loss"


def test_two_studies_do_not_mix(project):
    first = open_search(project, "accidents", "xgboost", "study-1", "roc_auc", 1)
    second = open_search(project, "accidents", "xgboost", "study-2", "roc_auc", 1)
    first.add(RESULTS[0])
    second.add(RESULTS[0])
    assert first.parent_id != second.parent_id
    assert len(first.client.search_runs([first.experiment_id])) == 4


def test_publishing_turned_off_logs_nothing(bare, monkeypatch):
    monkeypatch.setenv("LOCKSTEP_PUBLISH", "0")
    assert open_search(bare, "accidents", "xgboost", "study-1", "roc_auc", 1) is None
    assert not (bare / "mlflow.db").exists()


def test_a_trial_that_a_kill_left_half_logged_is_logged_anew(project):
    log = open_search(project, "accidents", "xgboost", "study-1", "roc_auc", 1)
    tags = {
        "lockstep.search": "study-1",
        "lockstep.trial": "0",
        "mlflow.parentRunId": log.parent_id,
    }
    half = log.client.create_run(log.experiment_id, tags=tags).info.run_id
    again = open_search(project, "accidents", "xgboost", "study-1", "roc_auc", 1)
    again.add(RESULTS[0])
    found = runs(again)
    assert found["0"].info.run_id != half
    assert (found["0"].info.status, found["0"].data.metrics["value"]) == ("FINISHED", 0.8)
    assert log.client.get_run(half).info.lifecycle_stage == "deleted"


def test_a_store_that_fails_on_the_way_costs_the_log_and_says_so_once(project, capsys):
    log = open_search(project, "accidents", "xgboost", "study-1", "roc_auc", 1)
    log.add(RESULTS[0])
    (project / "mlflow.db").write_bytes(b"overwritten")
    log.add(RESULTS[1])
    log.close({"depth": 3}, 0.8)
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1
    assert told[0].startswith("⚠ the trials are not logged to MLflow: ")
    assert told[0].endswith("; search again to log them")


def test_a_store_that_cannot_be_used_costs_the_log_only(project, capsys):
    (project / "mlflow.db").write_bytes(b"overwritten" * 100)
    assert open_search(project, "accidents", "xgboost", "study-1", "roc_auc", 1) is None
    assert "the trials are not logged to MLflow" in capsys.readouterr().err
