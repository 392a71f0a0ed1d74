"""The report with the versions and moves of a real registry, in the parent run and by command."""

import shutil

import pytest
from tests.browser import browser

from lockstep.commands.report import main
from lockstep.config.settings import load_settings
from lockstep.errors import DataError
from lockstep.registry.lifecycle.moves import transition
from lockstep.registry.publishing.report import registered_models
from lockstep.registry.record.events import Who
from lockstep.registry.store.opening import open_registry, open_to_read
from lockstep.registry.trained_models import register_models
from lockstep.reports.report_files import read_report_files

__all__ = ["browser"]

NAME = "Accident_Prediction_Logistic_Regression"


@pytest.fixture
def registered(workspace, monkeypatch):
    monkeypatch.chdir(workspace)
    register_models(workspace)
    return workspace


def asked(root):
    files = read_report_files(root, "accidents")
    return registered_models(open_to_read(root), load_settings(root), files)


def test_the_versions_of_the_workspaces_models_are_found_by_their_digest(registered, make):
    first = asked(registered)
    assert [(one.name, one.version) for one in first.versions] == [
        (NAME, 1),
        ("Accident_Prediction_Random_Forest", 1),
    ]
    make.training(registered, "logistic_regression", seed=1)
    assert [one.type for one in asked(registered).versions] == ["random_forest"]
    register_models(registered)
    assert [one.version for one in asked(registered).versions] == [2, 1]


def test_moves_come_with_who_and_why_the_newest_first(registered):
    transition(open_registry(registered), NAME, 1, "Staging", who=Who("ada", "to look at"))
    move = asked(registered).moves[0]
    assert (move.what, move.actor, move.reason, move.outcome) == (
        "version 1: None → Staging",
        "ada",
        "to look at",
        "done",
    )


def test_the_parent_run_has_the_report(registered):
    client = open_registry(registered)
    found = client.search_runs(
        [e.experiment_id for e in client.search_experiments()],
        "tags.`lockstep.parent_of` LIKE '%'",
    )
    (parent,) = found
    assert "report.html" in [one.path for one in client.list_artifacts(parent.info.run_id)]
    path = client.download_artifacts(parent.info.run_id, "report.html")
    with open(path, encoding="utf-8") as file:
        page = file.read()
    assert "Severity of French road accidents" in page
    assert f"<bdi>{NAME}</bdi> version 1" in page


def test_the_command_writes_the_file_and_says_what_is_missing(registered, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["report", "--problem", "accidents"])
    main()
    told = capsys.readouterr()
    assert told.out == "accidents: report written to reports/accidents.html\n"
    assert "WARNING the report is incomplete: the model types are not compared" in told.err
    assert (registered / "reports" / "accidents.html").stat().st_size > 800_000


def test_without_a_registry_the_report_says_so(workspace, monkeypatch, capsys):
    monkeypatch.chdir(workspace)
    (workspace / "mlflow.db").unlink()
    output = workspace / "own.html"
    monkeypatch.setattr("sys.argv", ["report", "--problem", "accidents", "--output", str(output)])
    main()
    assert "no registry yet" in capsys.readouterr().err
    assert "the registry was not asked for versions and moves" in output.read_text("utf-8")


def test_without_metrics_the_command_fails_in_one_line(workspace, monkeypatch):
    monkeypatch.chdir(workspace)
    shutil.rmtree(workspace / "metrics")
    monkeypatch.setattr("sys.argv", ["report", "--problem", "accidents"])
    with pytest.raises(DataError, match="no metrics yet"):
        main()
    assert not (workspace / "reports").exists()


def test_mlflows_artifact_page_shows_the_report_with_its_charts(
    workspace, monkeypatch, server, browser
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    register_models(workspace)
    client = open_registry(workspace)
    found = client.search_runs(
        [e.experiment_id for e in client.search_experiments()],
        "tags.`lockstep.parent_of` LIKE '%'",
        order_by=["attributes.start_time DESC"],
    )
    run = found[0].info
    context = browser.new_context()
    try:
        page = context.new_page()
        place = f"#/experiments/{run.experiment_id}/runs/{run.run_id}/artifacts/report.html"
        page.goto(f"{server.uri}/{place}")
        frame = page.wait_for_selector("iframe", timeout=60_000).content_frame()
        frame.wait_for_function("document.documentElement.dataset.charts === 'drawn'")
        assert "Severity of French road accidents" in frame.inner_text("h1")
        assert frame.locator("figure.chart svg").count() > 0
    finally:
        context.close()
