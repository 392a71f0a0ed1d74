"""A misspelt hyperparameter is told before DVC starts, wherever it is written."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lockstep.commands.train_models import check_hyperparameters
from lockstep.config.params import Params, load_params, parse_params
from lockstep.errors import ConfigError
from lockstep.problems.schema import PROBLEMS

PROJECT = Path(__file__).parents[2]


def test_the_projects_own_are_known() -> None:
    params = load_params(PROJECT)
    for name, problem in params.problems.items():
        check_hyperparameters(params, name, problem.model_types)


@pytest.mark.parametrize(
    "path", sorted(PROBLEMS.glob("*/params.yaml")), ids=lambda path: path.parent.name
)
def test_those_a_problem_suggests_are_known(path: Path) -> None:
    params = parse_params(yaml.safe_load(path.read_text()))
    for name, problem in params.problems.items():
        assert {f"{name}-{kind}" for kind in problem.model_types} == set(params.search)
        check_hyperparameters(params, name, problem.model_types)


def test_a_slip_in_a_search_space_names_the_nearest() -> None:
    content = yaml.safe_load((PROJECT / "params.yaml").read_text())
    space = content["search"]["accidents-lightgbm"]["space"]
    space["num_leavs"] = space.pop("num_leaves")
    with pytest.raises(
        ConfigError, match=r"lightgbm has no hyperparameter 'num_leavs' .did you mean 'num_leaves'"
    ):
        check_hyperparameters(parse_params(content), "accidents", ["lightgbm"])


def of_a_blend(space: dict[str, object], **params: object) -> Params:
    content = yaml.safe_load((PROJECT / "params.yaml").read_text())
    content["problems"]["accidents"]["model_types"].append("blend")
    content["train"]["accidents-blend"] = {
        "problem": "accidents", "type": "blend", "params": params
    }  # fmt: skip
    content["search"]["accidents-blend"] = {"space": space}
    return parse_params(content)


def test_of_a_search_space_only_the_names_are_checked() -> None:
    params = of_a_blend({"weight_folds": {"low": 2, "high": 5}})
    check_hyperparameters(params, "accidents", ["blend"])
    slip = of_a_blend({"weight_fold": {"low": 2, "high": 5}})
    with pytest.raises(ConfigError, match=r"no hyperparameter 'weight_fold' .did you mean 'weight"):
        check_hyperparameters(slip, "accidents", ["blend"])


def test_the_values_of_a_training_are_checked_beside_a_search_space() -> None:
    params = of_a_blend({"weight_folds": {"low": 2, "high": 5}}, weight_folds=1)
    with pytest.raises(ConfigError, match="weight_folds is 1; give 2 or more folds"):
        check_hyperparameters(params, "accidents", ["blend"])


COMMANDS = [
    ["lockstep.commands.train"],
    ["lockstep.commands.train_models", "--models", "xgboost"],
    ["lockstep.commands.search", "--models", "xgboost"],
]
SLIPS = {
    "hyperparameter": (
        "max_depth: 5",
        "max_dept: 5",
        "✗ params.yaml: xgboost has no hyperparameter 'max_dept' (did you mean 'max_depth'?)",
    ),
    "metric": ("metric: roc_auc", "metric: rmse", "✗ "),
    "calibration": ("calibration: none", "calibration: temperature", "✗ "),
}


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_is_told_before_anything_runs(tmp_path: Path, command: list[str], slip: str) -> None:
    right, wrong, told = SLIPS[slip]
    shutil.copy(PROJECT / "dvc.yaml", tmp_path)
    text = (PROJECT / "params.yaml").read_text()
    assert right in text
    (tmp_path / "params.yaml").write_text(text.replace(right, wrong))
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(told)
    assert done.stdout == ""
