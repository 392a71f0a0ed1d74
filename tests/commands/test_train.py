"""The main job: which stages it asks DVC for, and what it refuses before that.

Also the door that means California housing.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lockstep.commands import train, train_beside, train_models
from lockstep.dvc import repro as dvc
from lockstep.errors import ConfigError, UsageError
from lockstep.registry import trained_models

ROOT = Path(__file__).parents[2]
HOUSES = "metrics/california_housing"
CHAMPION = json.loads((ROOT / HOUSES / "champion.json").read_text())["type"]
PARAMS = (ROOT / "params.yaml").read_text()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "params.yaml").write_text(PARAMS)
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    return tmp_path


@pytest.fixture
def asked(root: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What was asked of DVC and of the registry, in order; nothing is run."""
    calls: list[tuple[str, ...]] = []

    @contextmanager
    def beside(_: Path, *targets: str, variables: dict[str, str]) -> Iterator[None]:
        assert variables == {"LOCKSTEP_PUBLISH": "later"}
        calls.append(("repro", *targets))
        yield None
        if not (root / HOUSES).exists():
            shutil.copytree(ROOT / HOUSES, root / HOUSES)

    monkeypatch.setattr(dvc, "repro_beside", beside)
    monkeypatch.setattr(dvc, "repro", lambda _, *words, **__: calls.append(("repro", *words)))
    monkeypatch.setattr(dvc, "module", lambda _, *words: calls.append(words))
    monkeypatch.setattr(train_beside, "publish_beside", lambda *_: calls.append(("beside",)))
    monkeypatch.setattr(
        trained_models, "register_models", lambda _, problem: calls.append(("register", problem))
    )
    monkeypatch.setattr(
        "lockstep.commands.write_report.write_report",
        lambda _, problem, output: calls.append(("report", problem, output.name)),
    )
    monkeypatch.setenv("LOCKSTEP_PRELOAD", "0")
    monkeypatch.setattr(
        "lockstep.models.compare_models.compare",
        lambda *_: (None, {"type": "ridge"}, "the comparison"),
    )
    return calls


def test_all_types_go_through_the_compare_stage(root: Path, asked: list) -> None:
    assert train.train(root, "california_housing") == (CHAMPION, "")
    assert asked == [
        ("repro", "compare@california_housing"),
        ("beside",),
        ("register", "california_housing"),
        ("report", "california_housing", "california_housing.html"),
    ]
    assert (root / "params.yaml").read_text() == PARAMS


def test_a_comparison_that_dvc_left_as_it_is_is_shown_all_the_same(root: Path, asked: list) -> None:
    """In a fresh clone the trainings make what is committed.

    So the compare stage, which prints it, is skipped.
    """
    shutil.copytree(ROOT / HOUSES, root / HOUSES)
    champion, told = train.train(root, "california_housing")
    lines = told.splitlines()
    assert lines[0].endswith("test rows; * champion by rmse on the validation rows")
    assert [line.split()[1] for line in lines if line.startswith("*")] == [champion]
    assert {"ridge", "random_forest", "xgboost", "lightgbm"} <= set(told.split())


def test_all_types_named_are_all_types(root: Path, asked: list) -> None:
    train.train(root, "california_housing", ["lightgbm", "xgboost", "random_forest", "ridge"])
    assert asked[0] == ("repro", "compare@california_housing")


def test_some_types_are_trained_registered_and_compared_alone(root: Path, asked: list) -> None:
    types = ["ridge", "lightgbm", "ridge"]
    assert train.train(root, "california_housing", types) == ("ridge", "the comparison")
    trained = [f"train_multi_model@california_housing-{name}" for name in ("ridge", "lightgbm")]
    register = ("lockstep.registry.register_models", "--problem", "california_housing")
    assert asked == [
        ("repro", *trained),
        (*register, "--models", "ridge", "lightgbm"),
        ("report", "california_housing", "california_housing.html"),
    ]


def test_values_are_in_params_yaml_before_the_stages_run(root: Path, asked: list) -> None:
    train.train(
        root, "california_housing", given=["xgboost.max_depth=4", "source.sample.units=500"]
    )
    text = (root / "params.yaml").read_text()
    assert "max_depth: 4" in text
    assert "units: 500" in text
    assert "# Everything that changes a result" in text


@pytest.mark.parametrize(
    ("types", "given", "error"),
    [
        (["lightgb"], [], UsageError),
        ([], ["xgboost.max_dept=4"], ConfigError),
        ([], ["compare.metric=rsme"], ConfigError),
        ([], ["split.seed=x"], ConfigError),
    ],
)
def test_nothing_is_written_or_run_for_a_slip(
    root: Path, asked: list, types: list, given: list, error: type
) -> None:
    with pytest.raises(error):
        train.train(root, "california_housing", types, ["split.seed=5", *given])
    assert asked == []
    assert (root / "params.yaml").read_text() == PARAMS


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        ("accidents", "src/models/test_features.json --use-best-model"),
        (
            "california_housing",
            "src/models/test_features_california_housing.json --use-best-model "
            "--problem california_housing",
        ),
        ("accidents_2005_2021", "RECORDS.json --use-best-model --problem accidents_2005_2021"),
    ],
)
def test_the_next_command_predicts_an_example_of_the_problem(problem: str, words: str) -> None:
    command = train_models.predict_command(ROOT, problem)
    assert command == f"python src/models/predict_model.py {words}"


def test_the_door_means_california_housing() -> None:
    command = [sys.executable, "-m", "pipelines.train", "--help"]
    done = subprocess.run(command, cwd=ROOT / "src", capture_output=True, text=True, check=True)
    assert "default: california_housing" in " ".join(done.stdout.split())
    assert "--param KEY=VALUE" in done.stdout


def test_the_earlier_name_of_the_command_still_works() -> None:
    command = [sys.executable, "-m", "lockstep.pipelines.train", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "default: accidents" in " ".join(done.stdout.split())
