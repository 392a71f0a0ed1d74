"""Metrics of two classes, for many weightings of the rows at once."""

from __future__ import annotations

import numpy as np

from lockstep.evaluation.scored_rows import Array, Scored, Weighted, ratio

BINARY = (
    "roc_auc",
    "average_precision",
    "f1",
    "precision",
    "recall",
    "accuracy",
    "log_loss",
    "brier",
    "ks",
    "calibration_error",
)
CALIBRATION_BINS = 15


def prepared(rows: Scored) -> Weighted:
    """Return the function from weights to every metric; what needs no weights is computed once."""
    ranked, linear = _ranked(rows), _linear(rows)

    def weighted(weights: Array) -> dict[str, Array]:
        by_name = {**ranked(weights), **linear(weights)}
        return {name: by_name[name] for name in BINARY}

    return weighted


def _ranked(rows: Scored) -> Weighted:
    """Return the metrics by the order of scores: ROC AUC, average precision, KS.

    Rows of equal score are one step. Only the ends of steps with a positive matter: between them
    every sum is zero, and every extreme lies at one of these ends.
    """
    order = np.argsort(-rows.score, kind="stable")
    score, positive = rows.score[order], rows.target[order] == 1
    starts = np.flatnonzero(np.append(True, np.diff(score) != 0))
    ends = np.append(starts[1:], len(score)) - 1
    holds = np.logical_or.reduceat(positive, starts)
    starts, ends = starts[holds], ends[holds]
    positives, last_positives = order[positive], np.cumsum(positive)[ends] - 1

    def weighted(weights: Array) -> dict[str, Array]:
        taken = np.cumsum(weights[order], axis=0)
        hits = np.cumsum(weights[positives], axis=0)[last_positives]
        before = np.where((starts > 0)[:, None], taken[starts - 1], 0.0)
        return _curve_metrics(hits, taken[ends], before, taken[-1])

    return weighted


def _curve_metrics(hits: Array, taken: Array, before: Array, total: Array) -> dict[str, Array]:
    """Return the curves' metrics from sums of weights (steps, resamples); ``total`` (resamples,).

    ``hits`` counts positives and ``taken`` rows down to a step, ``before`` the rows above it. Rows
    of one class have no such metrics: they are NaN.
    """
    new = np.diff(hits, axis=0, prepend=0)
    positives, negatives = hits[-1], total - hits[-1]
    misses, misses_before = taken - hits, before - (hits - new)
    area = (new * (negatives - (misses + misses_before) / 2)).sum(axis=0)
    precision = np.divide(hits, taken, out=np.zeros_like(hits), where=taken > 0)
    rates = ratio(np.ones_like(total), positives), ratio(np.ones_like(total), negatives)
    above = hits * rates[0] - misses * rates[1]
    below = misses_before * rates[1] - (hits - new) * rates[0]
    found = {
        "roc_auc": ratio(area, positives * negatives),
        "average_precision": ratio((new * precision).sum(axis=0), positives),
        "ks": np.maximum(above.max(axis=0), below.max(axis=0)),
    }
    of_both = (positives > 0) & (negatives > 0)
    return {name: np.where(of_both, values, np.nan) for name, values in found.items()}


def _linear(rows: Scored) -> Weighted:
    """Return the metrics that are ratios of weighted sums of a value a row."""
    y, p = (rows.target == 1).astype(np.float64), rows.score
    chosen = rows.decided.astype(np.float64)
    eps = np.finfo(np.float64).eps
    clipped = np.clip(p, eps, 1 - eps)
    loss = -np.where(y == 1, np.log(clipped), np.log(1 - clipped))
    columns = np.column_stack(
        [np.ones_like(p), y, chosen, y * chosen, loss, (p - y) ** 2, gaps_by_bin(y, p)]
    )
    return lambda weights: _from_sums(weights.T @ columns)


def _from_sums(sums: Array) -> dict[str, Array]:
    """Return metrics from weighted sums (resamples, columns); the columns are those of _linear."""
    total, positive, taken, hit, lost, squared = sums[:, :6].T
    return {
        **of_counts(total, positive, taken, hit),
        "log_loss": ratio(lost, total),
        "brier": ratio(squared, total),
        "calibration_error": ratio(np.abs(sums[:, 6:]).sum(axis=1), total),
    }


def of_counts(total: Array, positive: Array, taken: Array, hit: Array) -> dict[str, Array]:
    """Return the metrics of decisions from counts of rows, of positives, of decided, of both."""
    return {
        "f1": ratio(2 * hit, positive + taken),
        "precision": ratio(hit, taken),
        "recall": ratio(hit, positive),
        "accuracy": ratio(total - positive - taken + 2 * hit, total),
    }


def gaps_by_bin(hit: Array, chance: Array) -> Array:
    """Return (rows, bins): hit minus its probability in that probability's bin, else 0.

    Both arguments have the shape (rows,); the bins have equal widths.
    """
    bins = np.minimum((chance * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
    gaps = np.zeros((len(chance), CALIBRATION_BINS))
    gaps[np.arange(len(chance)), bins] = hit - chance
    return gaps
