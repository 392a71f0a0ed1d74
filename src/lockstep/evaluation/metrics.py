"""Metrics of scored rows, for one weighting of the rows or for many at once.

Every metric takes weights of shape (rows, resamples), so a metric (all weights 1) and its bootstrap
come from the same lines. Weights are whole numbers, so their sums are exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import numpy as np

from lockstep.errors import ConfigError, DataError, unknown
from lockstep.evaluation import metrics_binary, metrics_multiclass, metrics_regression
from lockstep.evaluation.metrics_binary import BINARY
from lockstep.evaluation.metrics_multiclass import MULTICLASS
from lockstep.evaluation.metrics_regression import REGRESSION
from lockstep.evaluation.scored_rows import Scored, Weighted

Key = TypeVar("Key")

LOWER_IS_BETTER = frozenset({"log_loss", "brier", "calibration_error", "rmse", "mae"})
SCORE_DECIMALS = 8
"""Scores are rounded to this many decimals, so the last bits of a processor don't show."""


def metric_names(task: str) -> tuple[str, ...]:
    """Return the metrics of a task; ConfigError for a task without metrics."""
    known = {"binary": BINARY, "multiclass": MULTICLASS, "regression": REGRESSION}
    if task not in known:
        raise ConfigError(
            f"{unknown('task with metrics', task, known)}; set `task:` in the problem's schema"
        )
    return known[task]


def check_metric(metric: str, task: str) -> str:
    """Return ``metric``; for one of another task ConfigError names the nearest."""
    known = metric_names(task)
    if metric not in known:
        raise ConfigError(
            f"compare.metric: {unknown(f'metric of a {task} problem', metric, known)}"
        )
    return metric


def better(metric: str, one: float, other: float) -> bool:
    """Return whether ``one`` is the better value of a metric."""
    return one < other if metric in LOWER_IS_BETTER else one > other


def best_of(values: Mapping[Key, float], metric: str) -> Key:
    """Return the key of the best value of a metric; of ties the first."""
    choose = min if metric in LOWER_IS_BETTER else max
    return choose(values, key=values.__getitem__)


def evaluate(rows: Scored) -> dict[str, float]:
    """Return every metric of the rows' task, each row counted once."""
    values = weighted_metrics(rows)(np.ones((len(rows.target), 1)))
    return {name: float(value[0]) for name, value in values.items()}


def weighted_metrics(rows: Scored) -> Weighted:
    """Return the function from weights (rows, resamples) to metrics: name → (resamples,)."""
    if rows.task == "regression":
        return metrics_regression.prepared(rows)
    if len(set(rows.target.tolist())) < 2:
        raise DataError(
            "the evaluated rows are all of one class; "
            "raise validation or test in problems.NAME.split"
        )
    return {"binary": metrics_binary, "multiclass": metrics_multiclass}[rows.task].prepared(rows)
