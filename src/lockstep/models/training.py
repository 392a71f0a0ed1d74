"""From a type's recipe and the encoded matrices to one fitted, scored pipeline."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import joblib
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from lockstep.config.params import Training
from lockstep.errors import ConfigError, DataError
from lockstep.evaluation.metrics import SCORE_DECIMALS, Scored, evaluate
from lockstep.evaluation.scored_rows import decimals_for
from lockstep.models.calibration import calibrated
from lockstep.models.matrices import Matrix
from lockstep.models.model_type import Fitted, ModelType, OnStep, Recipe
from lockstep.models.scoring.scorer import EncodedScorer
from lockstep.models.types import check_recipe, model_type

_PLACE = re.compile(r"^\[[\d:]+\] \S+: ")
"""Time and source line, where a library's error begins with them."""


def cores() -> int:
    """Return how many processors this process may use, by its affinity and its container."""
    return int(joblib.cpu_count())


def silent(done: int, total: int, loss: float | None) -> None:
    """Report nothing."""


def fit(
    name: str,
    recipe: Recipe,
    train: Matrix,
    stop: Matrix,
    early_stopping_rounds: int = 0,
    on_step: OnStep = silent,
) -> Fitted:
    """Check the recipe and fit one model type; see ``ModelType.fit``.

    ConfigError for a hyperparameter whose value the type's library refuses.
    """
    kind = model_type(name)
    check_recipe(kind, recipe)
    with refusing(kind, recipe):
        return kind.fit(recipe, train, stop, early_stopping_rounds, on_step)


@contextmanager
def refusing(kind: ModelType, recipe: Recipe) -> Iterator[None]:
    """Raise ConfigError where the type's library refuses the value of a hyperparameter."""
    try:
        yield
    except kind.refusals(recipe) as error:
        said = _PLACE.sub("", (str(error).strip() or type(error).__name__).splitlines()[0])
        raise ConfigError(
            f"params.yaml: {kind.name} can't be fitted with these hyperparameters: {said}"
        ) from error


def scores(
    model: Any, features: pd.DataFrame, task: str, kind: ModelType | None = None
) -> NDArray[np.float64]:
    """Return the scores that are evaluated, with ``SCORE_DECIMALS`` decimals.

    Values that are all small have as many digits after their zeros. ``model`` is an estimator with
    or without calibration, ``features`` are encoded rows. The result is the positive class's
    probability (rows,), those of all classes (rows, classes), or the value (rows,).
    """
    found = EncodedScorer(model, task, kind).score(features.to_numpy(dtype=np.float64))
    return np.round(
        found, SCORE_DECIMALS if task != "regression" else decimals_for(found, SCORE_DECIMALS)
    )


def pipeline_of(encoder: Any, model: Any) -> Any:
    """Return the one artifact: raw features in, prediction out."""
    return Pipeline([("encoder", encoder), ("model", model)])


def fold_ids(group: NDArray[Any], folds: int) -> NDArray[np.int64]:
    """Return each row's fold: blocks of whole groups in the table's order, that of time."""
    _, first, index = np.unique(group, return_index=True, return_inverse=True)
    place = np.empty(len(first), dtype=np.int64)
    place[np.argsort(first)] = np.arange(len(first))
    return place[index] * folds // len(first)


def dealt_fold_ids(group: NDArray[Any], target: NDArray[Any], folds: int) -> NDArray[np.int64]:
    """Return each row's fold: whole groups in turn, sorted by class.

    A group counts as the rarest class among its rows, so this class is in most folds.
    """
    _, index = np.unique(group, return_inverse=True)
    rarity = np.argsort(np.argsort(np.bincount(target.astype(np.int64)), kind="stable"))
    own = np.full(index.max() + 1, len(rarity))
    np.minimum.at(own, index, rarity[target.astype(np.int64)])
    fold = np.empty(len(own), dtype=np.int64)
    fold[np.argsort(own, kind="stable")] = np.arange(len(own)) % folds
    return fold[index]


def folds_of(train: Matrix, folds: int, task: str, scored: bool = True) -> NDArray[np.int64]:
    """Return each training row's fold; every fold's model sees each class.

    A fold that is ``scored`` by itself holds two classes or more. Folds are blocks if they allow
    that, else groups in turn. Raise DataError for fewer groups than folds, for a class that occurs
    in one fold only, and for scored folds of one class.
    """
    groups = len(np.unique(train.group))
    if groups < folds:
        raise DataError(
            f"{folds} folds need as many groups of training rows, and there are {groups}; "
            f"set {'cv_folds' if scored else 'weight_folds'} to {groups} or less, or to 0"
        )
    may_be = _are_learned_and_scored if scored else _are_learned
    ids = fold_ids(train.group, folds)
    if task == "regression" or may_be(train.target, ids):
        return ids
    dealt = dealt_fold_ids(train.group, train.target, folds)
    if not _are_learned(train.target, dealt):
        raise DataError(
            "a class has training rows in one group only, so cross-validation can't learn it "
            f"without them; set {'cv_folds' if scored else 'weight_folds'}: 0, or merge or drop "
            "the class"
        )
    if not may_be(train.target, dealt):
        raise DataError(
            f"a class has training rows in fewer groups than the {folds} folds, so some folds hold "
            "one class only; set a smaller cv_folds, or 0"
        )
    return dealt


def _are_learned(target: NDArray[Any], ids: NDArray[np.int64]) -> bool:
    classes = np.unique(target)
    return all(len(np.unique(target[ids != fold])) == len(classes) for fold in np.unique(ids))


def _are_learned_and_scored(target: NDArray[Any], ids: NDArray[np.int64]) -> bool:
    several = (len(np.unique(target[ids == fold])) > 1 for fold in np.unique(ids))
    return _are_learned(target, ids) and all(several)


def fold_metrics(
    training: Training,
    recipe: Recipe,
    parts: dict[str, Matrix],
    scored: Callable[[NDArray[Any], Any], Scored],
) -> list[dict[str, float]]:
    """Return the metrics of ``cv_folds`` folds, each scored by a model of the other training rows.

    Each is calibrated as the training's own model. ``scored`` makes scored rows of a target and its
    scores. The encoder is the one fitted on all training rows, where its learned columns are out of
    fold.
    """
    found: list[dict[str, float]] = []
    if not training.cv_folds:
        return found
    train, stop, rounds = parts["train"], parts["stop"], training.early_stopping_rounds
    ids = folds_of(train, training.cv_folds, recipe.task)
    for fold in range(training.cv_folds):
        rest, fold_rows = train.take(ids != fold), train.take(ids == fold)
        fitted = fit(training.type, recipe, rest, stop, rounds).estimator
        given = stop.features, stop.target, recipe.task
        model = calibrated(training.calibration, fitted, *given)
        score = scores(model, fold_rows.features, recipe.task, model_type(training.type))
        found.append({"fold": fold + 1, **evaluate(scored(fold_rows.target, score))})
    return found
