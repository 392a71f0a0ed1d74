"""The command for people asks DVC for the types named, and refuses what is not declared."""

import subprocess
import sys
from pathlib import Path

import pytest

from lockstep.commands import retrain_model, search, train, train_models
from lockstep.config.params import load_params
from lockstep.config.settings import CONFIG_FILE
from lockstep.dvc import repro as dvc
from lockstep.errors import ConfigError, UsageError

DOOR = Path(__file__).parents[2] / "src" / "models" / "train_multi_model.py"
PARAMS = """
problems: {accidents: {model_types: [xgboost, lightgbm]}}
train:
  accidents-xgboost: {problem: accidents, type: xgboost}
  accidents-lightgbm: {problem: accidents, type: lightgbm}
"""
STAGES = """
stages:
  train_multi_model:
    foreach: ${train}
    do:
      cmd: echo trained > ${item.type}.txt
      outs:
        - ${item.type}.txt
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "params.yaml").write_text(PARAMS)
    (tmp_path / "dvc.yaml").write_text(STAGES)
    subprocess.run(
        [sys.executable, "-m", "dvc", "init", "--no-scm", "-q"], cwd=tmp_path, check=True
    )
    return tmp_path


def test_only_the_types_named_are_trained_and_then_registered(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered = []
    monkeypatch.setattr(dvc, "module", lambda root, *words: registered.append(words))
    assert train_models.train_models(project, "accidents", ["lightgbm", "lightgbm"]) == ["lightgbm"]
    assert (project / "lightgbm.txt").is_file()
    assert not (project / "xgboost.txt").exists()
    assert registered == [
        ("lockstep.registry.register_models", "--problem", "accidents", "--models", "lightgbm")
    ]


def test_a_search_comes_before_the_training(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called = []
    monkeypatch.setattr(dvc, "module", lambda root, name, *words: called.append(name))
    monkeypatch.setattr(dvc, "repro", lambda root, *targets, **_: called.append(targets))
    monkeypatch.setenv("LOCKSTEP_PRELOAD", "0")
    train_models.train_models(project, "accidents", [], grid_search=True)
    stages = ("train_multi_model@accidents-xgboost", "train_multi_model@accidents-lightgbm")
    assert called == ["lockstep.commands.search", stages, "lockstep.registry.register_models"]


@pytest.mark.parametrize("wanted", [[], ["lightgbm", "lightgbm"]])
def test_only_types_that_were_named_need_a_search(
    project: Path, monkeypatch: pytest.MonkeyPatch, wanted: list[str]
) -> None:
    """One that a problem only declares may have no section `search`, as `make run-train-grid`."""
    text = PARAMS + "search: {accidents-lightgbm: {trials: 1, space: {num_leaves: {choice: [7]}}}}"
    (project / "params.yaml").write_text(text)
    words: list[tuple[str, ...]] = []
    monkeypatch.setattr(dvc, "module", lambda root, *all: words.append(all))
    monkeypatch.setattr(dvc, "repro", lambda root, *targets, **_: None)
    monkeypatch.setenv("LOCKSTEP_PRELOAD", "0")
    train_models.train_models(project, "accidents", wanted, grid_search=True)
    named = words[0][words[0].index("--models") + 1 :]
    assert words[0][0] == "lockstep.commands.search"
    params = load_params(project)
    assert search.searched_types(params, "accidents", list(named)) == ["lightgbm"]
    options = retrain_model.RetrainOptions("accidents", models=wanted, tuning=True)
    types = train_models.declared_types(params, "accidents", wanted)
    retrain_model.train(project, options, params, types)
    assert words[-1] == words[0]


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ("registration_metric: rocauc", r"registration_metric: .*did you mean 'roc_auc'"),
        ("gates: {accident: {golden: true}}", r"gates: .*did you mean 'accidents'"),
        ("gates: {default: {floors: {rocauc: 0.5}}}", r"floors: .*did you mean 'roc_auc'"),
    ],
)
def test_a_wrong_name_for_the_registration_is_refused_before_the_training(
    project: Path, monkeypatch: pytest.MonkeyPatch, section: str, told: str
) -> None:
    path = project / CONFIG_FILE
    path.parent.mkdir(parents=True)
    policy = "mlflow: {model_registry: {registration_policy: %s, %s}}\n"
    path.write_text(policy % ("if_better", section))
    monkeypatch.setattr(dvc, "repro", None)
    for command in (train.train, train_models.train_models):
        with pytest.raises(ConfigError, match=told):
            command(project, "accidents", ["lightgbm"])
    path.write_text(policy % ("always", section))
    train_models.check_registration(project)
    path.write_text(policy % ("if_better", section))
    monkeypatch.setenv("LOCKSTEP_PUBLISH", "0")
    train_models.check_registration(project)


def test_what_registration_is_checked_for_costs_no_import_of_mlflow() -> None:
    code = (
        "import sys; from lockstep.promotion.configured import check_registration_metric; "
        "check_registration_metric('roc_auc'); print('mlflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_an_undeclared_type_or_problem_names_the_nearest(project: Path) -> None:
    with pytest.raises(UsageError, match="did you mean 'xgboost'"):
        train_models.declared_types(load_params(project), "accidents", ["xgbost"])
    with pytest.raises(UsageError, match="did you mean 'accidents'"):
        train_models.declared_types(load_params(project), "accident", [])


def test_the_door_ends_with_2_for_a_wrong_type(project: Path) -> None:
    done = subprocess.run(
        [sys.executable, DOOR, "--models", "lightgb"],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(
        "✗ unknown model type of accidents 'lightgb' (did you mean 'lightgbm'?)"
    )
    assert not (project / "lightgbm.txt").exists()


COMMANDS = {
    "train": lambda root, names: train.train(root, "accidents", names),
    "train_models": lambda root, names: train_models.train_models(root, "accidents", names),
    "search": lambda root, names: search.search_problem(root, "accidents", names),
    "retrain": lambda root, names: retrain_model.retrain(
        root, retrain_model.RetrainOptions("accidents", models=names, cv_folds=3)
    ),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_type_of_spark_is_refused_before_anything_is_written(project: Path, command: str) -> None:
    text = PARAMS + "prepare_spark: {accidents: {partitions: 2}}\ntrain_spark:\n"
    text += "  accidents-xgboost: {problem: accidents, type: xgboost}\n"
    (project / "params.yaml").write_text(text)
    instead = r"run `python src/models/train_spark.py --problem accidents --models xgboost`, or"
    with pytest.raises(UsageError, match=f"spark_xgboost is trained on Spark; {instead} name"):
        COMMANDS[command](project, ["spark_xgboost"])
    assert (project / "params.yaml").read_text() == text
