"""`dvc plots show` draws every plot of metrics/dvc.yaml from the files that the stages write."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

PROJECT = Path(__file__).parents[2]
DVC_YAML = PROJECT / "metrics" / "dvc.yaml"
TYPES = ("logistic_regression", "random_forest", "xgboost", "lightgbm")


@pytest.fixture(scope="module")
def drawn(trained_workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    root = tmp_path_factory.mktemp("plots")
    shutil.copytree(trained_workspace / "metrics", root / "metrics")
    text = DVC_YAML.read_text()
    plots = [
        plot for plot in yaml.safe_load(text)["plots"] if next(iter(plot)).startswith("accidents ")
    ]
    (root / "metrics/dvc.yaml").write_text(yaml.safe_dump({"plots": plots}, sort_keys=False))
    subprocess.run([sys.executable, "-m", "dvc", "init", "--no-scm", "-q"], cwd=root, check=True)
    shutil.copytree(PROJECT / ".dvc" / "plots", root / ".dvc" / "plots")
    command = [sys.executable, "-m", "dvc", "plots", "show", "--json"]
    shown = json.loads(
        subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
    )
    assert not shown.get("errors")
    return {name: views[0]["content"] for name, views in shown["data"].items()}


@pytest.mark.parametrize("plot", ["ROC", "precision and recall", "calibration"])
def test_curves_compare_all_types(plot: str, drawn: dict[str, dict]) -> None:
    points = drawn[f"accidents {plot}"]["data"]["values"]
    assert {point["filename"].split("/")[0] for point in points} == set(TYPES)


@pytest.mark.parametrize("plot", ["ROC", "KS", "loss by iteration"])
def test_curves_tell_models_by_colour_and_revisions_by_dashes(
    plot: str, drawn: dict[str, dict]
) -> None:
    content = drawn[f"accidents {plot}"]
    (transform,) = content["transform"]
    assert transform["as"] == content["encoding"]["color"]["field"] == "model"
    assert content["encoding"]["strokeDash"]["field"] == "rev"


def test_losses_compare_the_types_that_have_iterations(drawn: dict[str, dict]) -> None:
    points = drawn["accidents loss by iteration"]["data"]["values"]
    assert {point["filename"].split("/")[0] for point in points} == set(TYPES) - {
        "logistic_regression"
    }


@pytest.mark.parametrize("model_type", TYPES)
def test_every_type_has_its_confusion_matrix_and_importance(
    model_type: str, drawn: dict[str, dict]
) -> None:
    cases = drawn[f"accidents confusion {model_type}"]["data"]["values"]
    assert {case["actual"] for case in cases} == {"0", "1"}
    assert sum(int(case["rows"]) for case in cases) == 300
    assert len(drawn[f"accidents importance {model_type}"]["data"]["values"]) >= 28


def test_nothing_declared_is_left_undrawn(drawn: dict[str, dict]) -> None:
    assert len(drawn) == 5 + 2 * len(TYPES)
