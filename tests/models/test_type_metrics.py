"""The headline figures of metrics.json fit `dvc metrics show`; details.json has all figures."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lockstep.config.layout import ProblemLayout
from lockstep.config.params import load_params
from lockstep.errors import DataError
from lockstep.evaluation.metrics import metric_names
from lockstep.io import read_json, write_json
from lockstep.models.compare_models import read_candidate
from lockstep.models.type_metrics import (
    CHOSEN_BY,
    HEADLINE,
    headline,
    read_type_metrics,
    write_type_metrics,
)
from lockstep.problems.schema import load_schema

PROJECT = Path(__file__).parents[2]
WIDTH = 160
"""The columns of a terminal that the tables are made for."""


def all_metrics(task: str, value: float = 0.123456) -> dict:
    """Metrics of every part, and what details.json alone has."""
    parts = {
        part: dict.fromkeys(metric_names(task), value * (n + 1))
        for n, part in enumerate(("train", "validation", "test"))
    }
    folds = {str(n): {"roc_auc": value} for n in range(1, 6)}
    return {**parts, "cv": parts["test"], "folds": folds, "threshold": 0.5, "best_iteration": 7}


def shown(root: Path, *arguments: str) -> list[str]:
    """Return the lines that a command of DVC prints on a terminal of 160 columns."""
    command = [sys.executable, "-m", "dvc", *arguments]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


@pytest.mark.parametrize("task", HEADLINE)
def test_headline_figures_are_few_and_flat_and_those_of_the_test_part(task: str) -> None:
    metrics = all_metrics(task)
    found = headline(metrics, task)
    assert len(found) <= 8
    chosen_by = CHOSEN_BY[task]
    assert found.pop(f"val_{chosen_by}") == metrics["validation"][chosen_by]
    assert found == {name: metrics["test"][name] for name in HEADLINE[task]}
    assert found


def test_details_have_everything_and_are_what_is_read(tmp_path: Path) -> None:
    layout, metrics = ProblemLayout(tmp_path, "toy"), all_metrics("binary", 0.25)
    write_type_metrics(layout, "xgboost", metrics, "binary")
    assert read_json(layout.type_details("xgboost")) == metrics
    assert read_json(layout.type_metrics("xgboost")) == headline(metrics, "binary")
    assert read_type_metrics(layout, "xgboost") == metrics


@pytest.mark.parametrize("left", [False, True], ids=["alone", "beside another's details"])
def test_metrics_json_of_an_earlier_training_holds_all_metrics(left: bool, tmp_path: Path) -> None:
    layout, metrics = ProblemLayout(tmp_path, "toy"), all_metrics("binary", 0.25)
    if left:
        write_type_metrics(layout, "xgboost", all_metrics("binary", 0.5), "binary")
    write_json(layout.type_metrics("xgboost"), metrics)
    assert read_type_metrics(layout, "xgboost") == metrics


def test_headline_figures_alone_do_not_do_for_a_comparison(trained_workspace, tmp_path) -> None:
    layout = ProblemLayout(tmp_path, "accidents")
    for folder in ("data", "metrics"):
        shutil.copytree(trained_workspace / folder, tmp_path / folder)
    whole = read_candidate(layout, "xgboost")
    layout.type_details("xgboost").unlink()
    with pytest.raises(DataError, match=r"details\.json; run `dvc repro train_multi_model@"):
        read_candidate(layout, "xgboost")
    kept = ProblemLayout(trained_workspace, "accidents").type_details("xgboost")
    shutil.copyfile(kept, layout.type_metrics("xgboost"))
    assert read_candidate(layout, "xgboost").threshold == whole.threshold


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped pipeline with metrics of all its trainings."""
    root = tmp_path_factory.mktemp("shipped")
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copyfile(PROJECT / name, root / name)
    for training in load_params(root).train.values():
        task = load_schema(training.problem).task
        layout = ProblemLayout(root, training.problem)
        write_type_metrics(layout, training.type, all_metrics(task), task)
    shown(root, "init", "--no-scm", "-q")
    return root


def test_metrics_show_fits_a_terminal(shipped: Path) -> None:
    header, *rows = shown(shipped, "metrics", "show")
    assert len(rows) == 12
    assert max(len(line.rstrip()) for line in (header, *rows)) <= WIDTH
    names = {name for task in ("binary", "regression") for name in HEADLINE[task]}
    assert set(header.split()) == {"Path", *names, "val_roc_auc", "val_rmse"}


def test_metrics_are_all_that_dvc_calls_metrics(shipped: Path) -> None:
    found = json.loads("".join(shown(shipped, "metrics", "show", "--json")))
    (files,) = (view["data"] for view in found.values())
    assert {Path(name).name for name in files} == {"metrics.json"}


def test_a_threshold_above_all_scores_stays_above_them(tmp_path: Path) -> None:
    layout = ProblemLayout(tmp_path, "accidents")
    written = all_metrics("binary", 0.123456789) | {"threshold": 1.000001}
    write_type_metrics(layout, "xgboost", written, "binary")
    found = read_type_metrics(layout, "xgboost")
    assert found["threshold"] == 1.000001
    assert found["test"]["roc_auc"] == 0.37037
    assert list(found) == list(written)
