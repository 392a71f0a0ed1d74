"""Metrics of scored rows, for one weighting of the rows or for many at once.

Every metric takes weights of shape (rows, resamples), so the figure itself (all weights one) and its
bootstrap resamples come from the same lines. Weights are whole numbers; sums of them are exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lockstep.errors import ConfigError, DataError, unknown

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.floating[Any]]

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
REGRESSION = ("rmse", "mae", "r2")
LOWER_IS_BETTER = frozenset({"log_loss", "brier", "calibration_error", "rmse", "mae"})
CALIBRATION_BINS = 15
SCORE_DECIMALS = 8
"""Scores are evaluated and kept with so many decimals, so that the last bits of a processor don't show."""


@dataclass(frozen=True)
class Scored:
    """Rows with a known target and a model's score; ``threshold`` is None for regression."""

    target: NDArray[Any]
    score: Array
    threshold: float | None = None


def metric_names(task: str) -> tuple[str, ...]:
    """Return the metrics of a task; a task without metrics is a ConfigError."""
    known = {"binary": BINARY, "regression": REGRESSION}
    if task not in known:
        raise ConfigError(f"{unknown('task with metrics', task, known)}; set `task:` in the problem's schema")
    return known[task]


def check_metric(metric: str, task: str) -> str:
    """Return ``metric``; one the task has not is a ConfigError with the nearest known one."""
    known = metric_names(task)
    if metric not in known:
        raise ConfigError(f"compare.metric: {unknown(f'metric of a {task} problem', metric, known)}")
    return metric


def better(metric: str, one: float, other: float) -> bool:
    """Return whether ``one`` is the better value of a metric."""
    return one < other if metric in LOWER_IS_BETTER else one > other


def evaluate(rows: Scored) -> dict[str, float]:
    """Return every metric of the rows' task, each row counted once."""
    import numpy as np

    values = weighted_metrics(rows, np.ones((len(rows.target), 1)))
    return {name: float(value[0]) for name, value in values.items()}


def weighted_metrics(rows: Scored, weights: Array) -> dict[str, Array]:
    """Return every metric for every weighting: name → array of shape (resamples,)."""
    if rows.threshold is None:
        return _regression(rows, weights)
    if len(set(rows.target.tolist())) < 2:
        raise DataError(
            "the evaluated rows are all of one class; raise validation or test in problems.NAME.split"
        )
    ranked = _ranked(rows, weights)
    linear = _linear(rows, weights)
    by_name = {**ranked, **linear}
    return {name: by_name[name] for name in BINARY}


def _ranked(rows: Scored, weights: Array) -> dict[str, Array]:
    """Return ROC AUC, average precision and KS: the metrics that go by the order of scores.

    Rows of one score are one step. The curves are looked at only just before and just after a step that holds
    a positive: between those every sum is zero, and every extreme lies at one of their ends.
    """
    import numpy as np

    order = np.argsort(-rows.score, kind="stable")
    score, positive = rows.score[order], rows.target[order] == 1
    starts = np.flatnonzero(np.append(True, np.diff(score) != 0))
    ends = np.append(starts[1:], len(score)) - 1
    holds = np.logical_or.reduceat(positive, starts)
    starts, ends = starts[holds], ends[holds]
    taken = np.cumsum(weights[order], axis=0)
    hits = np.cumsum(weights[order[positive]], axis=0)[np.cumsum(positive)[ends] - 1]
    before = np.where((starts > 0)[:, None], taken[starts - 1], 0.0)
    return _curve_metrics(hits, taken[ends], before, taken[-1])


def _curve_metrics(hits: Array, taken: Array, before: Array, total: Array) -> dict[str, Array]:
    """Return the curves' metrics from sums of weights, each of shape (steps, resamples); ``total`` (resamples,).

    ``hits`` are positives and ``taken`` rows up to and with a step, ``before`` the rows above it.
    """
    import numpy as np

    new = np.diff(hits, axis=0, prepend=0)
    positives, negatives = hits[-1], total - hits[-1]
    misses, misses_before = taken - hits, before - (hits - new)
    area = (new * (negatives - (misses + misses_before) / 2)).sum(axis=0)
    precision = np.divide(hits, taken, out=np.zeros_like(hits), where=taken > 0)
    rates = _ratio(np.ones_like(total), positives), _ratio(np.ones_like(total), negatives)
    above, below = hits * rates[0] - misses * rates[1], misses_before * rates[1] - (hits - new) * rates[0]
    return {
        "roc_auc": _ratio(area, positives * negatives),
        "average_precision": _ratio((new * precision).sum(axis=0), positives),
        "ks": np.maximum(above.max(axis=0), below.max(axis=0)),
    }


def _linear(rows: Scored, weights: Array) -> dict[str, Array]:
    """Return the metrics that are ratios of weighted sums of a value a row."""
    import numpy as np

    y, p = (rows.target == 1).astype(np.float64), rows.score
    chosen = (p >= (rows.threshold or 0.0)).astype(np.float64)
    eps = np.finfo(np.float64).eps
    clipped = np.clip(p, eps, 1 - eps)
    loss = -np.where(y == 1, np.log(clipped), np.log(1 - clipped))
    columns = np.column_stack(
        [np.ones_like(p), y, chosen, y * chosen, loss, (p - y) ** 2, _gaps_by_bin(y, p)]
    )
    sums = weights.T @ columns
    total, positive, taken, hit, lost, squared = sums[:, :6].T
    return {
        "f1": _ratio(2 * hit, positive + taken),
        "precision": _ratio(hit, taken),
        "recall": _ratio(hit, positive),
        "accuracy": _ratio(total - positive - taken + 2 * hit, total),
        "log_loss": _ratio(lost, total),
        "brier": _ratio(squared, total),
        "calibration_error": _ratio(np.abs(sums[:, 6:]).sum(axis=1), total),
    }


def _gaps_by_bin(y: Array, p: Array) -> Array:
    """Return target minus score in the column of the score's bin (equal widths), zero elsewhere."""
    import numpy as np

    bins = np.minimum((p * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
    gaps = np.zeros((len(p), CALIBRATION_BINS))
    gaps[np.arange(len(p)), bins] = y - p
    return gaps


def _regression(rows: Scored, weights: Array) -> dict[str, Array]:
    import numpy as np

    centred = rows.target - rows.target.mean()
    error = rows.target - rows.score
    columns = np.column_stack([np.ones_like(error), error**2, np.abs(error), centred, centred**2])
    total, squared, absolute, first, second = columns.T @ weights
    spread = second - first**2 / total
    return {
        "rmse": np.sqrt(squared / total),
        "mae": absolute / total,
        "r2": 1 - _ratio(squared, spread),
    }


def _ratio(top: Array, bottom: Array) -> Array:
    """Return top / bottom, and 0 where nothing is below the line."""
    import numpy as np

    top, bottom = np.broadcast_arrays(top, bottom)
    return np.divide(top, bottom, out=np.zeros(top.shape), where=bottom != 0)
