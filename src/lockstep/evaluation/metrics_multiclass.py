"""Metrics of three classes and more, for many weightings of the rows at once.

``macro_`` is the plain mean over classes, ``weighted_`` the mean by frequency. As in scikit-learn,
a mean leaves out a class that neither occurs nor is decided among the weighted rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lockstep.evaluation.metrics_binary import gaps_by_bin
from lockstep.evaluation.scored_rows import Array, Scored, Weighted, ratio

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


def prepared(rows: Scored) -> Weighted:
    """Return the function from weights to every metric; what needs no weights is computed once.

    ``brier`` sums squared gaps over classes, from 0 to 2. ``calibration_error`` is that of the top
    label: the gap between its probability and its accuracy, over bins of that probability.
    """
    figures, area, of_chances = by_class(rows), areas(rows), _of_chances(rows)

    def weighted(weights: Array) -> dict[str, Array]:
        found = figures(weights)
        by_area = of_areas(found["rows"], area(weights))
        by_name = of_decisions(found) | by_area | of_chances(weights)
        return {name: by_name[name] for name in MULTICLASS}

    return weighted


def by_class(rows: Scored) -> Weighted:
    """Return the function from weights to each class's figures: name → (classes, resamples).

    ``rows`` and ``decided`` are weights of rows of the class and decided as it; then precision,
    recall, f1 and ``hit``.
    """
    target, decision = _one_hot(rows.target, rows), _one_hot(rows.decided, rows)
    columns = (target, decision, target * decision)

    def weighted(weights: Array) -> dict[str, Array]:
        return of_counts(*(np.asarray(one.T @ weights) for one in columns))

    return weighted


def of_counts(actual: Array, decided: Array, hit: Array) -> dict[str, Array]:
    """Return each class's figures, as ``by_class`` does, from counts (classes, resamples)."""
    return {
        "rows": actual,
        "decided": decided,
        "precision": ratio(hit, decided),
        "recall": ratio(hit, actual),
        "f1": ratio(2 * hit, actual + decided),
        "hit": hit,
    }


def areas(rows: Scored) -> Callable[[Array], Array]:
    """Return the function from weights to each class's ROC AUC against all others.

    Its shape is (classes, resamples); an undefined area is 0.
    """
    by_place = [_area(rows.score[:, k], rows.target == k) for k in range(rows.score.shape[1])]

    def weighted(weights: Array) -> Array:
        # Sums of whole numbers are exact in float32 up to 2**24, with half the memory traffic.
        exact: Any = np.float32 if weights.sum(axis=0).max() < 2**24 else np.float64
        padded = np.concatenate([weights, np.zeros((1, weights.shape[1]))], dtype=exact)
        return np.stack([area(padded) for area in by_place])

    return weighted


def _area(score: Array, positive: NDArray[np.bool_]) -> Callable[[Array], Array]:
    """Return the function from weights, padded with a row of zeros, to one class's ROC AUC.

    Rows of equal score are one step. Weights are summed over the steps with a positive and over the
    gaps between them. So only sums at the positives are cumulated: once a row for all classes.
    """
    if not positive.any() or positive.all():
        return lambda padded: np.zeros(padded.shape[1])
    order = np.argsort(-score, kind="stable")
    starts = np.flatnonzero(np.append(True, np.diff(score[order]) != 0))
    ends = np.append(starts[1:], len(score))
    holds = np.logical_or.reduceat(positive[order], starts)
    bounds = np.column_stack([starts[holds], ends[holds]]).ravel()
    beside = bounds[1:-1:2] == bounds[2::2]
    hits = order[positive[order]]
    firsts = np.searchsorted(-score[hits], -score[order[starts[holds]]], side="left")
    order = np.append(order, len(score))

    def weighted(padded: Array) -> Array:
        sums = np.add.reduceat(padded[order], bounds, axis=0).astype(np.float64)
        within, after = sums[0::2], sums[1::2]
        after[:-1][beside] = 0.0  # adjacent steps: reduceat would repeat a row
        new = np.add.reduceat(padded[hits], firsts, axis=0).astype(np.float64)
        # Negatives below a step are pairs in the right order; those within the step count half.
        misses = within - new
        below = np.cumsum((misses + after)[::-1], axis=0)[::-1] - misses
        pairs = (new * (below + misses / 2)).sum(axis=0)
        positives = new.sum(axis=0)
        return ratio(pairs, positives * (padded.sum(axis=0).astype(np.float64) - positives))

    return weighted


def of_decisions(found: dict[str, Array]) -> dict[str, Array]:
    """Return the metrics of decisions from each class's figures."""
    actual, seen = found["rows"], (found["rows"] + found["decided"]) > 0
    return {
        "accuracy": ratio(found["hit"].sum(axis=0), actual.sum(axis=0)),
        "balanced_accuracy": _mean(found["recall"], actual > 0),
        "macro_f1": _mean(found["f1"], seen),
        "weighted_f1": _mean(found["f1"], actual),
        "macro_precision": _mean(found["precision"], seen),
        "macro_recall": _mean(found["recall"], seen),
    }


def of_areas(actual: Array, area: Array) -> dict[str, Array]:
    """Return the mean ROC areas from each class's rows and area, both (classes, resamples)."""
    defined = (actual > 0) & (actual < actual.sum(axis=0))
    return {
        "macro_roc_auc": _mean(area, defined),
        "weighted_roc_auc": _mean(area, actual * defined),
    }


def _of_chances(rows: Scored) -> Weighted:
    """Return the metrics that are ratios of weighted sums of a value a row."""
    place = np.arange(len(rows.target))
    right = rows.score[place, rows.target]
    eps = np.finfo(np.float64).eps
    loss = -np.log(np.clip(right, eps, 1 - eps))
    squared = (rows.score**2).sum(axis=1) - 2 * right + 1
    top = rows.score.argmax(axis=1)
    gaps = gaps_by_bin((top == rows.target).astype(np.float64), rows.score[place, top])
    columns = np.column_stack([np.ones(len(place)), loss, squared, gaps])

    def weighted(weights: Array) -> dict[str, Array]:
        sums = weights.T @ columns
        total = sums[:, 0]
        return {
            "log_loss": ratio(sums[:, 1], total),
            "brier": ratio(sums[:, 2], total),
            "calibration_error": ratio(np.abs(sums[:, 3:]).sum(axis=1), total),
        }

    return weighted


def _one_hot(classes: NDArray[Any], rows: Scored) -> Array:
    return (classes[:, None] == np.arange(rows.score.shape[1])).astype(np.float64)


def _mean(values: Array, weights: NDArray[Any]) -> Array:
    """Return the weighted mean over classes (axis 0), 0 without any weight."""
    return ratio((values * weights).sum(axis=0), weights.sum(axis=0))
