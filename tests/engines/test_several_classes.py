"""Several classes on Spark: what one machine makes of them, also where a task lacks a class."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from tests.engines.prepared import Prepared, check_conversion, digest, prepare_houses, same_cells

from lockstep.engines.fitting import fit_on_spark
from lockstep.engines.linear import ClassLoss, Problem, _conjugate, _newton
from lockstep.engines.partitions import TrainingRows, class_weights
from lockstep.evaluation.metrics import Scored, evaluate
from lockstep.features.matrix_columns import ROW, TARGET
from lockstep.io import read_parquet, write_parquet
from lockstep.models import linear
from lockstep.models.training import Fitted, fit, scores, silent
from lockstep.models.types import model_type

BOOSTERS = ("xgboost", "lightgbm")
FEW = {"n_estimators": 8, "learning_rate": 0.2}
RAREST = 1
PLACES = {
    "the rarest class in one task": lambda target: target == RAREST,
    "no class in both tasks": lambda target: target != 0,
}


@pytest.fixture(scope="module")
def found(spark: Any, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """Houses of three states, in two partitions."""
    return prepare_houses(spark, tmp_path_factory.mktemp("houses"))


def parted(
    found: Prepared, folder: Path, place: NDArray[np.bool_], target: NDArray[Any]
) -> TrainingRows:
    """Return the training rows with those of ``place`` in the second partition."""
    matrix = found.matrices["train"].assign(**{TARGET: target})
    for number in np.unique(place).astype(int):
        path = folder / f"partition-{number:04d}" / "rows.parquet"
        write_parquet(path, matrix[place == number])
    return TrainingRows(folder, found.rows.stop)


def target_of(found: Prepared) -> NDArray[Any]:
    return found.matrices["train"][TARGET].to_numpy()


def of_one_machine(found: Prepared, name: str, **params: Any) -> Fitted:
    job = found.job(name, **params)
    return fit(name, job.recipe, job.parts["train"], job.parts["stop"], 5)


def chances(found: Prepared, fitted: Fitted) -> NDArray[np.float64]:
    return scores(fitted.estimator, found.job("xgboost").parts["test"].features, "multiclass")


def log_loss(found: Prepared, fitted: Fitted) -> float:
    target = found.matrices["test"][TARGET].to_numpy()
    return float(evaluate(Scored(target, chances(found, fitted)))["log_loss"])


def test_rows_cells_and_encoder_are_the_same(found: Prepared) -> None:
    same_cells(found)
    assert len(np.unique(target_of(found))) == 3


def test_houses_alike_in_every_feature_stay_in_one_part(found: Prepared) -> None:
    names = found.schema.feature_names
    parts = [set(map(str, matrix_rows(found, part, names))) for part in ("train", "test")]
    assert not parts[0] & parts[1]
    assert found.table.duplicated(names).sum() > 20


def matrix_rows(found: Prepared, part: str, names: list[str]) -> list[list[Any]]:
    """Return the features of a part's rows as Spark split them."""
    rows = read_parquet(found.layout.matrix(part), [ROW])[ROW]
    return found.table.loc[rows, names].to_numpy().tolist()


@pytest.mark.parametrize("name", BOOSTERS)
def test_boosters_in_one_task_are_the_same_to_the_bit(
    spark: Any, found: Prepared, name: str, tmp_path: Path
) -> None:
    target = target_of(found)
    rows = parted(found, tmp_path, np.zeros(len(target), dtype=bool), target)
    there = fit_on_spark(spark, f"spark_{name}", found.recipe(name, **FEW), rows, 5)
    here = of_one_machine(found, name, **FEW)
    assert digest(found, there.estimator) == digest(found, here.estimator)


@pytest.mark.parametrize("name", BOOSTERS)
@pytest.mark.parametrize("place", PLACES)
def test_boosters_in_two_tasks_are_the_same_every_time_whoever_lacks_a_class(
    spark: Any, found: Prepared, name: str, place: str, tmp_path: Path
) -> None:
    target = target_of(found)
    rows = parted(found, tmp_path, PLACES[place](target), target)
    train = partial(fit_on_spark, spark, f"spark_{name}", found.recipe(name, **FEW), rows, 5)
    first, second = train(), train()
    assert digest(found, first.estimator) == digest(found, second.estimator)
    here = of_one_machine(found, name, **FEW)
    assert log_loss(found, first) == pytest.approx(log_loss(found, here), abs=0.03)
    guessing = np.tile(np.bincount(target) / len(target), (len(found.matrices["test"]), 1))
    plain = evaluate(Scored(found.matrices["test"][TARGET].to_numpy(), guessing))["log_loss"]
    assert log_loss(found, first) < 0.9 * plain


@pytest.mark.parametrize("name", BOOSTERS)
def test_of_two_classes_each_may_lie_in_a_task_of_its_own(
    spark: Any, found: Prepared, name: str, tmp_path: Path
) -> None:
    target, stop = (target_of(found) == 2).astype(np.int8), found.matrices["stop"]
    rows = parted(found, tmp_path / "train", target == 1, target)
    binary = stop.assign(**{TARGET: (stop[TARGET] == 2).astype(np.int8)})
    write_parquet(tmp_path / "stop" / "rows.parquet", binary)
    rows, recipe = replace(rows, stop=tmp_path / "stop"), found.recipe(name, **FEW)
    model = fit_on_spark(spark, f"spark_{name}", replace(recipe, task="binary"), rows, 5).estimator
    score = model.predict_proba(found.job(name).parts["train"].features)[:, 1]
    assert score[target == 1].mean() > score[target == 0].mean() + 0.1


@pytest.mark.parametrize(
    ("name", "params"),
    [("xgboost", {}), ("lightgbm", {}), ("lightgbm", {"class_weight": "balanced"})],
)
def test_a_fit_that_is_told_the_classes_is_the_fit_that_finds_them(
    found: Prepared, name: str, params: dict[str, Any]
) -> None:
    job = found.job(name, **FEW, **params)
    weights = class_weights(params.get("class_weight"), target_of(found)).tolist()
    told = model_type(f"spark_{name}").of_classes(weights)  # type: ignore[attr-defined]
    fitted = told.fit(job.recipe, job.parts["train"], job.parts["stop"], 5, silent)
    here = of_one_machine(found, name, **FEW, **params)
    assert digest(found, fitted.estimator) == digest(found, here.estimator)


def test_logistic_regression_has_the_same_coefficients(
    spark: Any, found: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its digest is another one: it holds how many steps the solver took."""
    params = {"class_weight": "balanced", "bins": 4}
    monkeypatch.setitem(linear.COEFFICIENT_DIGITS, "multiclass", 12)
    name, recipe = "logistic_regression", found.recipe("logistic_regression", **params)
    there, here = (
        fit_on_spark(spark, f"spark_{name}", recipe, found.rows),
        of_one_machine(found, name, **params),
    )
    own, theirs = (one.estimator.named_steps["estimator"] for one in (there, here))
    for attribute in ("coef_", "intercept_"):
        np.testing.assert_allclose(
            getattr(own, attribute), getattr(theirs, attribute), rtol=0, atol=1e-6
        )
    features = found.job(name).parts["test"].features
    ways = [one.estimator.predict_proba(features) for one in (there, here)]
    np.testing.assert_allclose(*ways, rtol=0, atol=1e-8)


class TestSolvers:
    """Both solvers of several classes, on rows in two parts of this process."""

    def test_few_and_many_coefficients_have_the_optimum_of_scikit_learn(self) -> None:
        draw = np.random.default_rng(2)
        matrix, weights = draw.normal(size=(300, 6)), np.array([1.0, 0.5, 4.0])
        target = (matrix[:, :3] + draw.gumbel(size=(300, 3))).argmax(axis=1).astype(np.int8)
        estimator = LogisticRegression(C=0.5, solver="newton-cg", tol=1e-10, max_iter=200)
        estimator.set_params(class_weight=dict(enumerate(weights))).fit(matrix, target)
        expected = np.column_stack([estimator.coef_, estimator.intercept_])
        loss = ClassLoss(problem_of(matrix, target, weights), 3, 0.5)
        few, steps = _newton(loss.at, loss.penalty.size)
        many, _ = _conjugate(loss, estimator)
        assert steps < 10
        for place in (few, many):
            np.testing.assert_allclose(place.reshape(loss.shape), expected, rtol=0, atol=1e-8)


def problem_of(matrix: Any, target: NDArray[Any], weights: NDArray[np.float64]) -> Problem:
    """Return a problem whose two parts are asked in this process."""
    from scipy.sparse import csr_matrix

    parts = [(csr_matrix(matrix[rows]), target[rows]) for rows in (slice(90), slice(90, None))]

    def ask(sums: Any, *given: Any) -> Any:
        first, second = (sums(*part, weights, *given) for part in parts)
        return first + second

    return Problem(ask, target, weights, matrix.shape[1])


def test_a_forest_of_spark_and_its_conversion_predict_alike(
    spark: Any, found: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = {"n_estimators": 2, "max_depth": 3, "min_samples_leaf": 3, "class_weight": "balanced"}
    fitted = check_conversion(spark, found, params, monkeypatch, times=1)
    assert chances(found, fitted).shape == (len(found.matrices["test"]), 3)
