"""Forests: grown in batches, imputed where columns are monotone, summed tree by tree."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline

from lockstep.errors import DataError
from lockstep.models.matrices import Matrix
from lockstep.models.model_type import FastScorer, Fitted, Floats, OnStep, Parts, loss_name

BATCHES = 10


def fit_forest(forest: Any, task: str, train: Matrix, stop: Matrix, on_step: OnStep) -> Fitted:
    """Grow the forest in batches, which gives the same trees as one fit, and a loss after each."""
    total = forest.n_estimators
    rows = np.ascontiguousarray(stop.features, dtype=np.float32)
    summed: Any = 0.0
    losses, sizes = [], _sizes(total)
    for size in sizes:
        forest.set_params(n_estimators=size, warm_start=True)
        before = len(getattr(forest, "estimators_", []))
        with warnings.catch_warnings():
            # Every batch sees all rows, so balanced weights are the same each time.
            warnings.filterwarnings(
                "ignore", message="class_weight presets .* are not recommended for warm_start"
            )
            forest.fit(train.features, train.target)
        summed = summed + _outputs(forest.estimators_[before:], task, rows)
        losses.append(_loss(stop.target, summed / size, task))
        on_step(size, total, losses[-1])
    forest.set_params(n_estimators=total, warm_start=False, n_jobs=None)
    return Fitted(forest, None, _curve(sizes, losses, task))


def growth_curve(
    forest: Any, task: str, features: NDArray[Any], target: NDArray[Any]
) -> dict[str, list[float]]:
    """Return the loss on some rows by the number of trees, in ten steps."""
    rows, sizes = np.ascontiguousarray(features, dtype=np.float32), _sizes(len(forest.estimators_))
    summed: Any = 0.0
    losses = []
    for before, size in pairwise([0, *sizes]):
        summed = summed + _outputs(forest.estimators_[before:size], task, rows)
        losses.append(_loss(target, summed / size, task))
    return _curve(sizes, losses, task)


def _sizes(total: int) -> list[int]:
    """Return the numbers of trees after which the loss is taken."""
    return sorted({max(1, round(total * k / BATCHES)) for k in range(1, BATCHES + 1)})


def _outputs(trees: list[Any], task: str, rows: NDArray[np.float32]) -> Any:
    """Return the sum of what some trees answer."""
    ask = "predict" if task == "regression" else "predict_proba"
    return sum(getattr(tree, ask)(rows, check_input=False) for tree in trees)


def _curve(sizes: list[int], losses: list[float], task: str) -> dict[str, list[float]]:
    return {"iteration": [float(size) for size in sizes], f"stop_{loss_name(task)}": losses}


def imputer() -> Any:
    """Return what replaces missing values by medians and flags them, not fitted."""
    return SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)


def fit_imputed_forest(
    forest: Any, task: str, train: Matrix, stop: Matrix, on_step: OnStep
) -> Fitted:
    """Grow a forest with monotone columns, behind an imputer with indicator columns.

    scikit-learn's forest rejects missing values under monotone constraints, so they are replaced by
    medians and flagged. The flags are not constrained.
    """
    fill = imputer().fit(train.features)
    flags = len(fill.indicator_.features_)
    forest.set_params(monotonic_cst=[*forest.monotonic_cst, *[0] * flags])
    train, stop = (replace(part, features=fill.transform(part.features)) for part in (train, stop))
    grown = fit_forest(forest, task, train, stop, on_step)
    return replace(grown, estimator=Pipeline([("fill", fill), ("estimator", grown.estimator)]))


def _loss(target: NDArray[Any], output: Any, task: str) -> float:
    """Return RMSE or log loss; a forest's zero counts as 1e-6."""
    if task == "regression":
        return float(np.sqrt(np.mean((target - output) ** 2)))
    chance = output[np.arange(len(target)), target.astype(np.int64)]
    return float(-np.mean(np.log(np.clip(chance, 1e-6, 1))))


def importance(forest: Any, names: list[str]) -> dict[str, float]:
    """Return each column's importance; a column's flag for missing values counts to the column."""
    fill, forest = forest_parts(forest)
    shares = forest.feature_importances_.tolist()
    found = dict(zip(names, shares, strict=fill is None))
    flags = fill.indicator_.features_ if fill else ()
    for place, share in zip(flags, shares[len(names) :], strict=True):
        found[names[place]] += share
    return found


def forest_parts(model: Any) -> tuple[Any, Any]:
    """Return the imputer, if there is one, and the forest."""
    steps = getattr(model, "named_steps", {"estimator": model})
    return steps.get("fill"), steps["estimator"]


class ForestScorer:
    """A forest's trees, summed in their order as scikit-learn does in one job."""

    def __init__(self, model: Any, task: str) -> None:
        self.fill, self.forest = forest_parts(model)
        trees = [tree.tree_ for tree in self.forest.estimators_]
        self.apply = [tree.apply for tree in trees]
        picked = {
            "binary": np.s_[:, 0, 1],
            "multiclass": np.s_[:, 0, :],
            "regression": np.s_[:, 0, 0],
        }[task]
        self.leaves = [np.ascontiguousarray(tree.value[picked]) for tree in trees]

    @property
    def scorer(self) -> FastScorer:
        """The forest as a scorer: its margin is its output."""
        return FastScorer(self.mean, self.mean, self.mean, self.explainer, "probability")

    def mean(self, encoded: Floats) -> Floats:
        """Return the mean of the trees' leaves, float64."""
        rows = self.rows(encoded)
        total = np.zeros((len(rows), *self.leaves[0].shape[1:]), dtype=np.float64)
        for apply, leaves in zip(self.apply, self.leaves, strict=True):
            total += leaves.take(apply(rows), axis=0)
        return total / len(self.leaves)

    def rows(self, encoded: Floats) -> NDArray[np.float32]:
        """Return encoded rows as float32, imputed; DataError for what scikit-learn rejects."""
        if self.fill is not None:
            missing = np.isnan(encoded)
            flags = missing[:, self.fill.indicator_.features_]
            encoded = np.hstack([np.where(missing, self.fill.statistics_, encoded), flags])
        with np.errstate(over="ignore"):
            rows = np.ascontiguousarray(encoded, dtype=np.float32)
        if np.isinf(rows).any():
            raise DataError("a value is too large for this model (beyond 3.4e38); correct it")
        if self.forest.monotonic_cst is not None and np.isnan(rows).any():
            raise DataError(
                "this forest has monotone columns and takes no missing value; give every value"
            )
        return rows

    def explainer(self) -> Callable[[Floats], Parts]:
        """Return the forest's tree SHAP; what a flag adds belongs to its column."""
        from lockstep.models.tree_explainer import tree_explainer

        explain = tree_explainer(self.forest)
        flags = () if self.fill is None else self.fill.indicator_.features_

        def parts(encoded: Floats) -> Parts:
            bases, found = explain(self.rows(encoded))
            own = found[:, :, : encoded.shape[1]].copy()
            for place, column in enumerate(flags, start=encoded.shape[1]):
                own[:, :, column] += found[:, :, place]
            return bases, own

        return parts
