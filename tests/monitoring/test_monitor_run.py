"""The run of an analysis: where its files lie, and two first ones at once."""

import shutil

import pytest
from mlflow import MlflowClient

from lockstep.registry.publishing.monitor_run import log_analysis
from lockstep.registry.store.versions import Version


@pytest.fixture
def log(empty_store, tmp_path, monkeypatch):
    """Log an analysis of a project, from another folder."""
    root, away = tmp_path / "project", tmp_path / "away"
    for folder in (root / "written", away):
        folder.mkdir(parents=True)
    (root / "written" / "page.html").write_text("x")
    shutil.copyfile(empty_store, root / "mlflow.db")
    monkeypatch.chdir(away)
    client = MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    version = Version("M", 1, 0, None, "s", "None", tags={})

    def run():
        months = {"2026-01": {"rows": 1.0}}
        return log_analysis(client, root, "exp", version, "M 1", months, {}, root / "written", 1000)

    run.client, run.root, run.away = client, root, away
    return run


def test_files_lie_beside_the_database_wherever_the_command_ran(log):
    place = log.client.get_run(log()).info.artifact_uri
    assert str(log.root) in place
    assert list(log.away.iterdir()) == []


def test_an_interrupted_analysis_is_no_run_for_ever(log, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(log.client, "log_artifacts", interrupt)
        with pytest.raises(KeyboardInterrupt):
            log()
    place = log.client.get_experiment_by_name("exp_monitoring").experiment_id
    (failed,) = log.client.search_runs([place])
    assert failed.info.status == "FAILED"


def test_what_a_killed_analysis_left_open_is_marked_by_the_next(log, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(log.client, "set_terminated", lambda *_: None)
        left = log()
    assert log.client.get_run(left).info.status == "RUNNING"
    log()
    assert log.client.get_run(left).info.status == "FAILED"


def test_two_first_analyses_at_once_share_the_experiment(log, monkeypatch):
    first = log.client.get_run(log()).info.experiment_id
    ask = log.client.get_experiment_by_name

    def as_before(name):
        monkeypatch.setattr(log.client, "get_experiment_by_name", ask)

    monkeypatch.setattr(log.client, "get_experiment_by_name", as_before)
    assert log.client.get_run(log()).info.experiment_id == first
