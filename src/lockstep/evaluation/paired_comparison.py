"""Champion against challenger on the same rows: the difference of a metric, and its noise.

A paired bootstrap draws groups of rows with replacement, the same for both models. So what makes
rows easy or hard for both cancels out. The challenger wins if the lower end of the one-sided 97.5 %
interval is above zero: one in forty equally good challengers does. A tie keeps the champion.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lockstep.errors import DataError
from lockstep.evaluation.bootstrap import group_weights, interval, resampled
from lockstep.evaluation.metrics import LOWER_IS_BETTER, check_metric, evaluate, weighted_metrics
from lockstep.evaluation.metrics_multiclass import areas
from lockstep.evaluation.scored_rows import Array, Scored


@dataclass(frozen=True)
class Difference:
    """Challenger minus champion in a metric; ``low`` and ``high`` end its 95 % interval."""

    metric: str
    challenger: float
    champion: float
    low: float
    high: float
    rows: int
    groups: int

    @property
    def estimate(self) -> float:
        """The difference on the rows themselves."""
        return self.challenger - self.champion

    @property
    def wins(self) -> bool:
        """Whether the challenger is better by more than noise."""
        return self.high < 0 if self.metric in LOWER_IS_BETTER else self.low > 0

    @property
    def loses(self) -> bool:
        """Whether the challenger is worse by more than noise."""
        return self.low > 0 if self.metric in LOWER_IS_BETTER else self.high < 0

    @property
    def verdict(self) -> str:
        """The same in words."""
        if self.wins or self.loses:
            return "better" if self.wins else "worse"
        return "no difference beyond noise"


@dataclass(frozen=True)
class Figure:
    """One metric of one model with its 95 % interval."""

    value: float
    low: float
    high: float


def paired_difference(
    challenger: Scored,
    champion: Scored,
    groups: NDArray[Any],
    metric: str,
    resamples: int = 1000,
    seed: int = 0,
) -> Difference:
    """Return the difference of a metric between two models that scored the same rows in order.

    ``groups`` (rows,) names each row's group, which is drawn as a whole. Sides that can't be
    compared raise DataError, a metric of another task raises ConfigError.
    """
    check_sides(challenger, champion, groups)
    check_metric(metric, challenger.task)
    first, second = _measure(challenger, metric), _measure(champion, metric)
    once = np.ones((len(groups), 1))
    drawn = [first(weights) - second(weights) for weights in group_weights(groups, resamples, seed)]
    low, high = interval(np.concatenate(drawn))
    return Difference(
        metric,
        challenger=float(first(once)[0]),
        champion=float(second(once)[0]),
        low=low,
        high=high,
        rows=len(groups),
        groups=len(np.unique(groups)),
    )


def measured(
    one: Scored, other: Scored, groups: Any, resamples: int, seed: int
) -> tuple[dict[str, tuple[Figure, Figure]], dict[str, Difference]]:
    """Return both sides' metrics with their intervals, and the paired differences, by metric."""
    check_sides(one, other, groups)
    values = evaluate(one), evaluate(other)
    drawn = resampled({"one": one, "other": other}, groups, resamples, seed)
    figures, differences = {}, {}
    rows, count = len(groups), len(np.unique(groups))
    for metric in values[0]:
        first, second = drawn["one"][metric], drawn["other"][metric]
        here, there = values[0][metric], values[1][metric]
        figures[metric] = Figure(here, *interval(first)), Figure(there, *interval(second))
        gap = interval(first - second)
        differences[metric] = Difference(metric, here, there, *gap, rows, count)
    return figures, differences


def check_sides(challenger: Scored, champion: Scored, groups: NDArray[Any]) -> None:
    """Raise DataError unless both scored the same rows, with at least two groups and classes."""
    if not len(groups):
        raise DataError("no rows to compare models on; bring in rows that neither was fitted on")
    if challenger.task != champion.task:
        raise DataError(
            f"a {challenger.task} and a {champion.task} model can't be compared; name two alike"
        )
    target = challenger.target
    if len(target) != len(groups) or not np.array_equal(target, champion.target):
        raise DataError("the two models scored different rows; score both on the same ones")
    if len(np.unique(groups)) < 2:
        raise DataError(
            "all rows to compare models on are of one group, so noise is unknown; bring in more"
        )
    if not (np.isfinite(challenger.score).all() and np.isfinite(champion.score).all()):
        raise DataError("a model gives some rows no finite score, so train it again to compare it")
    if challenger.task != "regression" and len(np.unique(target)) < 2:
        raise DataError(
            f"the {len(groups)} rows to compare models on are all of one class; bring in more rows"
        )


def _measure(rows: Scored, metric: str) -> Callable[[Array], Array]:
    """Return the function from weights (rows, resamples) to one metric (resamples,)."""
    if rows.task == "binary" and metric == "roc_auc":
        # Gates use this metric most; alone it takes half the time of all metrics.
        area, positive = areas(Scored(1 - rows.target, rows.score[:, None])), rows.target == 1
        return lambda weights: np.where(_of_both(weights, positive), area(weights)[0], np.nan)
    measured = weighted_metrics(rows)
    return lambda weights: measured(weights)[metric]


def _of_both(weights: Array, positive: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tell which resamples of weights (rows, resamples) hold rows of both classes."""
    taken = weights[positive].sum(axis=0)
    return (taken > 0) & (taken < weights.sum(axis=0))
