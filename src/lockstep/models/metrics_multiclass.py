"""Metrics of three classes and more, for many weightings of the rows at once.

``macro_`` is the plain mean over classes, ``weighted_`` the mean by how often each occurs. A class that neither
occurs nor is decided for among the weighted rows is left out of a mean, as in scikit-learn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lockstep.models.metrics_binary import CALIBRATION_BINS
from lockstep.models.scored import Scored, ratio

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lockstep.models.scored import Array

MULTICLASS = (
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
    "weighted_f1",
    "macro_precision",
    "macro_recall",
    "macro_roc_auc",
    "weighted_roc_auc",
    "log_loss",
    "brier",
    "calibration_error",
)


def weighted(rows: Scored, weights: Array) -> dict[str, Array]:
    """Return every metric for every weighting: name → array of shape (resamples,).

    ``brier`` is the sum over classes of squared gaps, from 0 to 2; ``calibration_error`` that of the top label:
    the gap between its probability and how often it is right, over bins of that probability.
    """
    by_name = {**_of_decisions(rows, weights), **_of_areas(rows, weights), **_of_chances(rows, weights)}
    return {name: by_name[name] for name in MULTICLASS}


def by_class(rows: Scored, weights: Array) -> dict[str, Array]:
    """Return each class's figures: name → array of shape (classes, resamples).

    ``rows`` (the weight of rows of the class), ``decided``, precision, recall, f1.
    """
    import numpy as np

    target, decision = _one_hot(rows.target, rows), _one_hot(_decided(rows), rows)
    actual, decided, hit = (columns.T @ weights for columns in (target, decision, target * decision))
    return {
        "rows": actual,
        "decided": decided,
        "precision": ratio(hit, decided),
        "recall": ratio(hit, actual),
        "f1": ratio(2 * hit, actual + decided),
        "hit": np.asarray(hit),
    }


def areas(rows: Scored, weights: Array) -> Array:
    """Return each class's area under the ROC curve against all others: (classes, resamples), 0 where undefined."""
    import numpy as np

    # Sums of whole numbers are exact in float32 up to 2**24, and half as much is moved.
    exact: Any = np.float32 if weights.sum(axis=0).max() < 2**24 else np.float64
    padded = np.concatenate([weights, np.zeros((1, weights.shape[1]))], dtype=exact)
    return np.stack([_area(rows.score[:, k], rows.target == k, padded) for k in range(rows.score.shape[1])])


def _area(score: Array, positive: NDArray[np.bool_], padded: Array) -> Array:
    """Return the area under one ROC curve for every weighting; ``padded`` are the weights and a row of zeros.

    Rows of one score are one step. Weights are summed over the steps that hold a positive and over what lies between
    them, so that nothing is cumulated but sums at the positives: of all classes together that is once a row.
    """
    import numpy as np

    if not positive.any() or positive.all():
        return np.zeros(padded.shape[1])
    order = np.argsort(-score, kind="stable")
    starts = np.flatnonzero(np.append(True, np.diff(score[order]) != 0))
    ends = np.append(starts[1:], len(score))
    holds = np.logical_or.reduceat(positive[order], starts)
    bounds = np.column_stack([starts[holds], ends[holds]]).ravel()
    sums = np.add.reduceat(padded[np.append(order, len(score))], bounds, axis=0).astype(np.float64)
    within, after = sums[0::2], sums[1::2]
    after[:-1][bounds[1:-1:2] == bounds[2::2]] = 0.0  # steps beside each other: reduceat would repeat a row
    hits = order[positive[order]]
    firsts = np.searchsorted(-score[hits], -score[order[starts[holds]]], side="left")
    new = np.add.reduceat(padded[hits], firsts, axis=0).astype(np.float64)
    # What lies below a step, negatives only: a pair that is ordered rightly; those within the step count half.
    misses = within - new
    below = np.cumsum((misses + after)[::-1], axis=0)[::-1] - misses
    pairs = (new * (below + misses / 2)).sum(axis=0)
    positives = new.sum(axis=0)
    return ratio(pairs, positives * (padded.sum(axis=0).astype(np.float64) - positives))


def _of_decisions(rows: Scored, weights: Array) -> dict[str, Array]:
    found = by_class(rows, weights)
    actual, seen = found["rows"], (found["rows"] + found["decided"]) > 0
    return {
        "accuracy": ratio(found["hit"].sum(axis=0), actual.sum(axis=0)),
        "balanced_accuracy": _mean(found["recall"], actual > 0),
        "macro_f1": _mean(found["f1"], seen),
        "weighted_f1": _mean(found["f1"], actual),
        "macro_precision": _mean(found["precision"], seen),
        "macro_recall": _mean(found["recall"], seen),
    }


def _of_areas(rows: Scored, weights: Array) -> dict[str, Array]:
    actual = _one_hot(rows.target, rows).T @ weights
    defined = (actual > 0) & (actual < actual.sum(axis=0))
    found = areas(rows, weights)
    return {
        "macro_roc_auc": _mean(found, defined),
        "weighted_roc_auc": _mean(found, actual * defined),
    }


def _of_chances(rows: Scored, weights: Array) -> dict[str, Array]:
    """Return the metrics that are ratios of weighted sums of a value a row."""
    import numpy as np

    place = np.arange(len(rows.target))
    right = rows.score[place, rows.target]
    eps = np.finfo(np.float64).eps
    loss = -np.log(np.clip(right, eps, 1 - eps))
    squared = (rows.score**2).sum(axis=1) - 2 * right + 1
    top = rows.score.argmax(axis=1)
    confidence = rows.score[place, top]
    bins = np.minimum((confidence * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
    gaps = np.zeros((len(place), CALIBRATION_BINS))
    gaps[place, bins] = (top == rows.target) - confidence
    sums = weights.T @ np.column_stack([np.ones(len(place)), loss, squared, gaps])
    total = sums[:, 0]
    return {
        "log_loss": ratio(sums[:, 1], total),
        "brier": ratio(sums[:, 2], total),
        "calibration_error": ratio(np.abs(sums[:, 3:]).sum(axis=1), total),
    }


def _decided(rows: Scored) -> NDArray[Any]:
    return rows.score.argmax(axis=1) if rows.decision is None else rows.decision


def _one_hot(classes: NDArray[Any], rows: Scored) -> Array:
    import numpy as np

    return (classes[:, None] == np.arange(rows.score.shape[1])).astype(np.float64)


def _mean(values: Array, weights: NDArray[Any]) -> Array:
    """Return the weighted mean over classes (axis 0), and 0 where no class has a weight."""
    return ratio((values * weights).sum(axis=0), weights.sum(axis=0))
