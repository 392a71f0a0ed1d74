"""Champion against challenger on the same rows: the difference of a metric, and how far noise may have made it.

Groups of rows are drawn with replacement, the same for both sides (a paired bootstrap), so what makes rows easy or
hard for both cancels out. The challenger wins when the lower end of the one-sided 97.5 % interval clears zero, so
among equally good challengers about one in forty does; a tie keeps the champion.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lockstep.errors import DataError
from lockstep.evaluation.bootstrap import group_weights, interval
from lockstep.evaluation.metrics import LOWER_IS_BETTER, check_metric, weighted_metrics
from lockstep.evaluation.metrics_multiclass import areas
from lockstep.evaluation.scored_rows import Scored

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.floating[Any]]

LEVEL = 0.95
"""Of the two-sided interval; each of its ends is the end of a one-sided 97.5 % interval."""


@dataclass(frozen=True)
class Difference:
    """Challenger minus champion in one metric; ``low`` and ``high`` are the ends of its 95 % interval."""

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


def paired_difference(
    challenger: Scored,
    champion: Scored,
    groups: NDArray[Any],
    metric: str,
    resamples: int = 1000,
    seed: int = 0,
) -> Difference:
    """Return the difference of a metric between two sides that scored the same rows in the same order.

    ``groups`` (rows,) holds each row's group, which is drawn as a whole. Sides of different rows or tasks, rows of
    one class or group only, no rows, and scores that are no numbers are a DataError; a metric that the task has not
    is a ConfigError.
    """
    check_sides(challenger, champion, groups)
    check_metric(metric, challenger.task)
    first, second = _measure(challenger, metric), _measure(champion, metric)
    once = np.ones((len(groups), 1))
    drawn = [first(weights) - second(weights) for weights in group_weights(groups, resamples, seed)]
    low, high = interval(np.concatenate(drawn), LEVEL)
    return Difference(
        metric,
        challenger=float(first(once)[0]),
        champion=float(second(once)[0]),
        low=low,
        high=high,
        rows=len(groups),
        groups=len(np.unique(groups)),
    )


def check_sides(challenger: Scored, champion: Scored, groups: NDArray[Any]) -> None:
    """Raise a DataError unless both sides scored the same rows, which have classes enough to be compared on."""
    if not len(groups):
        raise DataError(
            "there is no row to compare models on; bring in rows that neither was fitted on"
        )
    if challenger.task != champion.task:
        raise DataError(
            f"a {challenger.task} and a {champion.task} model can't be compared; name two alike"
        )
    if len(challenger.target) != len(groups) or not np.array_equal(
        challenger.target, champion.target
    ):
        raise DataError("the two models scored different rows; score both on the same ones")
    if len(np.unique(groups)) < 2:
        raise DataError(
            "all rows to compare models on are of one group, which says nothing of noise; bring in more"
        )
    if not (np.isfinite(challenger.score).all() and np.isfinite(champion.score).all()):
        raise DataError(
            "a model scores some rows with no finite number, so it can't be compared; train it anew"
        )
    if challenger.task != "regression" and len(np.unique(challenger.target)) < 2:
        raise DataError(
            f"the {len(groups)} rows to compare models on are all of one class; bring in more rows"
        )


def _measure(rows: Scored, metric: str) -> Callable[[Array], Array]:
    """Return the function from weights (rows, resamples) to one metric (resamples,)."""
    if rows.task == "binary" and metric == "roc_auc":
        # The one that gates go by most, in half the time that all metrics take.
        area = areas(Scored(1 - rows.target, rows.score[:, None]))
        return lambda weights: area(weights)[0]
    measured = weighted_metrics(rows)
    return lambda weights: measured(weights)[metric]
