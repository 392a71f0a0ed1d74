"""Every model type learns several classes, also where one has hardly any rows.

It does so to the same bits in every world.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from tests import kernels
from tests.models.conftest import KINDS, make_matrix

from lockstep.errors import ConfigError, DataError
from lockstep.evaluation.effects import effects_table, frequent_classes, strongest
from lockstep.evaluation.metrics import Scored, evaluate
from lockstep.models import training
from lockstep.models.artifact import model_digest, read_artifact, write_artifact
from lockstep.models.calibration import TEMPERATURES, calibrated
from lockstep.models.linear import significant
from lockstep.models.matrices import Columns, Matrix
from lockstep.models.model_type import Recipe
from lockstep.models.types import build, model_type

PARAMS = {
    "logistic_regression": {"C": 0.1, "bins": 6},
    "random_forest": {"n_estimators": 15, "min_samples_leaf": 5},
    "xgboost": {"n_estimators": 25, "learning_rate": 0.2, "max_depth": 3},
    "lightgbm": {"n_estimators": 25, "learning_rate": 0.2, "num_leaves": 7},
}
METHODS = ("none", "sigmoid", "isotonic", "temperature")
CLASSES = 4


def make_several(seed: int, rows: int = 600, rare: int = 3) -> Matrix:
    """Rows of four classes that the features tell apart, of the last one only a few."""
    from dataclasses import replace

    plain = make_matrix(seed, rows)
    rng = np.random.default_rng(seed)
    speed, road = plain.features["speed"].to_numpy(), plain.features["road"].to_numpy()
    margin = np.column_stack([speed / 30, np.sin(road) * 2 + 2, plain.features["light"]])
    target = (margin + rng.gumbel(size=margin.shape)).argmax(axis=1).astype(np.int8)
    target[rng.choice(rows, rare, replace=False)] = 3
    return replace(plain, target=target)


def fitted(name: str, train: Matrix, stop: Matrix, threads: int = 1) -> training.Fitted:
    recipe = Recipe("multiclass", Columns(KINDS), PARAMS[name], 0, threads)
    return training.fit(name, recipe, train, stop, 10 if name in ("xgboost", "lightgbm") else 0)


@pytest.fixture(scope="module")
def parts() -> dict[str, Matrix]:
    """Parts of which stop lacks the rarest class."""
    return {
        "train": make_several(1, 1200, 8),
        "stop": make_several(2, rare=0),
        "choose": make_several(3),
    }


@pytest.fixture(scope="module")
def models(parts: dict[str, Matrix]) -> dict[str, training.Fitted]:
    return {name: fitted(name, parts["train"], parts["stop"]) for name in PARAMS}


@pytest.mark.parametrize("name", PARAMS)
def test_every_type_learns_and_tells_its_history(name: str, models, parts) -> None:
    choose, model = parts["choose"], models[name].estimator
    score = training.scores(model, choose.features, "multiclass")
    assert score.shape == (len(choose), CLASSES)
    assert score.sum(axis=1) == pytest.approx(np.ones(len(choose)), abs=1e-6)
    guessing = np.bincount(choose.target, minlength=CLASSES) / len(choose)
    plain = evaluate(Scored(choose.target, np.tile(guessing, (len(choose), 1))))
    found = evaluate(Scored(choose.target, score))
    assert found["log_loss"] < 0.9 * plain["log_loss"]
    assert found["macro_roc_auc"] > 0.65
    history = models[name].history
    assert (
        name == "logistic_regression" or history["stop_log_loss"][-1] < history["stop_log_loss"][0]
    )
    shares = model_type(name).importance(model, choose.features)
    assert max(shares, key=shares.get) in ("speed", "road", "light")


@pytest.mark.parametrize("name", PARAMS)
def test_the_effects_on_all_classes_add_up_to_one(name: str, models, parts) -> None:
    choose, model, kind = parts["choose"], models[name].estimator, model_type(name)
    table = effects_table(
        choose.features,
        strongest(kind.importance(model, choose.features), choose.features),
        {},
        lambda rows: training.scores(model, rows, "multiclass", kind),
        frequent_classes(choose.target, [f"class {k}" for k in range(CLASSES)]),
    )
    assert table["class"].nunique() == CLASSES
    sums = table.groupby(["feature", "value"])["effect"].sum()
    assert sums.to_numpy() == pytest.approx(np.ones(len(sums)), abs=1e-6)
    assert table.groupby("feature")["effect"].std().max() > 0.01


@pytest.mark.parametrize("method", METHODS[1:])
@pytest.mark.parametrize("name", PARAMS)
def test_calibration_knows_a_class_that_its_rows_lack(
    name: str, method: str, models, parts, tmp_path
) -> None:
    stop, choose, plain = parts["stop"], parts["choose"], models[name].estimator
    model = calibrated(method, plain, stop.features, stop.target, "multiclass")
    score = training.scores(model, choose.features, "multiclass")
    assert score.shape == (len(choose), CLASSES)
    assert np.isfinite(score).all()
    assert score[:, 3].mean() < 0.02
    common = choose.target < 3
    before, after = (
        evaluate(
            Scored(choose.target[common], training.scores(m, choose.features[common], "multiclass"))
        )
        for m in (plain, model)
    )
    assert after["calibration_error"] < before["calibration_error"] + 0.05
    if method != "isotonic":  # whose lowest step is a probability of nothing
        assert after["log_loss"] < before["log_loss"] + 0.05
    pipeline = Pipeline([("encoder", FunctionTransformer()), ("model", model)])
    file = tmp_path / "model.skops"
    digest = write_artifact(Pipeline([("model", model)]), file)
    again = read_artifact(file, digest)
    assert (again.predict_proba(choose.features) == pipeline.predict_proba(choose.features)).all()


def test_the_temperature_is_at_the_optimum_of_its_loss(models, parts) -> None:
    stop, plain = parts["stop"], models["xgboost"].estimator
    model = calibrated("temperature", plain, stop.features, stop.target, "multiclass")
    calibrator = model.calibrated_classifiers_[0].calibrators[0]
    best = calibrator.beta_

    def loss(beta: float) -> float:
        calibrator.beta_ = beta
        return evaluate(Scored(stop.target, model.predict_proba(stop.features)))["log_loss"]

    assert loss(best) <= min(loss(best * 1.001), loss(best * 0.999))
    assert best == significant(np.array([best]), 8)[0]


def test_rows_told_apart_without_a_fault_have_a_bounded_temperature(parts) -> None:
    from dataclasses import replace

    stop = parts["stop"]
    sure = replace(stop, target=np.digitize(stop.features["speed"], [60, 100]).astype(np.int8))
    model = fitted("random_forest", sure, sure).estimator
    found = calibrated("temperature", model, sure.features, sure.target, "multiclass")
    assert found.calibrated_classifiers_[0].calibrators[0].beta_ <= TEMPERATURES[1]


def test_what_does_not_fit_is_refused_with_the_fix(parts) -> None:
    with pytest.raises(ConfigError, match="temperature is for three classes"):
        calibrated("temperature", None, parts["stop"].features, parts["stop"].target, "binary")
    rising = Columns(KINDS, {"speed": 1})
    with pytest.raises(ConfigError, match="remove it from speed in the problem's schema"):
        build("xgboost", Recipe("multiclass", rising, {}))


@pytest.mark.parametrize("folds", [2, 5])
def test_every_fold_s_model_learns_every_class(folds: int, parts) -> None:
    train = parts["train"]
    # Blocks of rows in the order of their class lack whole classes.
    ordered = Matrix(train.features, np.sort(train.target), train.row, train.row)
    ids = training.folds_of(ordered, folds, "multiclass")
    assert set(ids) == set(range(folds))
    for fold in range(folds):
        assert set(ordered.target[ids != fold]) == set(range(CLASSES))
    assert (
        training.folds_of(train, folds, "binary") == training.fold_ids(train.group, folds)
    ).all()


def test_dealt_folds_keep_groups_together(parts) -> None:
    train = parts["train"]
    ids = training.dealt_fold_ids(train.group, train.target, 3)
    for group in np.unique(train.group):
        assert len(set(ids[train.group == group])) == 1


def test_a_class_of_one_group_can_t_be_cross_validated(parts) -> None:
    train = parts["train"]
    target = np.where(train.target == 3, 0, train.target)
    target[0] = 3
    lone = Matrix(train.features, target, train.group, train.row)
    with pytest.raises(DataError, match="set cv_folds: 0, or merge or drop"):
        training.folds_of(lone, 3, "multiclass")


def digests(threads: int) -> dict[str, str]:
    """Train every type with every calibration; return digests of the models and their scores."""
    from lockstep.io import sha256_json

    train, stop, choose = make_several(1, 800, 8), make_several(2, 300, 0), make_several(3, 300)
    found = {}
    for name in PARAMS:
        estimator = fitted(name, train, stop, threads).estimator
        for method in METHODS:
            model = calibrated(method, estimator, stop.features, stop.target, "multiclass")
            score = training.scores(model, choose.features, "multiclass")
            found[f"{name} {method}"] = model_digest(Pipeline([("model", model)])) + sha256_json(
                score.tolist()
            )
    return found


@pytest.mark.long
def test_models_and_scores_are_the_same_bits_in_another_world() -> None:
    worlds = [_started("1", kernels.ONE), _started("2", kernels.OTHER)]
    told = [world.communicate(timeout=240) for world in worlds]
    assert [world.returncode for world in worlds] == [0, 0], told
    one, other = (json.loads(output) for output, _ in told)
    assert one == other
    assert len(one) == len(PARAMS) * len(METHODS)


def _started(threads: str, kernel: str) -> subprocess.Popen[str]:
    """Start a process of its own with so many threads, a kernel, a hash seed and a time zone."""
    code = (
        "import json; from tests.models.test_several_classes import digests; "
        f"print(json.dumps(digests({threads})))"
    )
    world = {
        "OPENBLAS_CORETYPE": kernel,
        "OPENBLAS_NUM_THREADS": threads,
        "OMP_NUM_THREADS": threads,
    }
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env=os.environ | world | {"PYTHONHASHSEED": threads, "TZ": f"UTC{threads}"},
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
