"""Parts of the rows that a schema declares as slices, and how a challenger fares on each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lockstep.config.gates import Gates
from lockstep.errors import RegistryError
from lockstep.evaluation.bootstrap import group_weights, interval
from lockstep.evaluation.metrics import LOWER_IS_BETTER, Scored, evaluate
from lockstep.evaluation.paired_comparison import paired_difference
from lockstep.evaluation.slices import OF_ONE_CLASS, Mask, levels
from lockstep.problems.schema import Column
from lockstep.promotion.holdout import Holdout

IN_TARGETS_UNIT = frozenset({"rmse", "mae"})
"""Metrics of which worse counts as a share of the champion's value."""
OF_EQUAL_NUMBERS = "rmse"
_TINY = 1e-12


@dataclass(frozen=True)
class Slice:
    """One part of the rows under both models; ``worse`` is a share for rmse and mae."""

    column: str
    label: str
    rows: int
    metric: str
    challenger: float
    champion: float
    worse: float
    refuses: bool

    def __str__(self) -> str:
        return (
            f"{self.column} {self.label} ({self.rows:,} rows): {self.metric} {self.challenger:.4f} "
            f"against {self.champion:.4f}"
        )


@dataclass(frozen=True)
class Sides:
    """Both models' scores of the same rows, which neither has seen."""

    challenger: Scored
    champion: Scored
    holdout: Holdout


def judged_slices(sides: Sides, columns: list[Column], metric: str, gates: Gates) -> list[Slice]:
    """Return every slice of at least ``slices.min_rows`` rows.

    RegistryError for a column that the rows lack.
    """
    found, table = [], sides.holdout.table
    for column in columns:
        if column.name not in table:
            raise RegistryError(
                f"the rows have no column {column.name}, which the schema declares as a slice"
            )
        for label, mask in levels(table[column.name], column):
            if int(mask.sum()) >= gates.slices.min_rows:
                found.append(_judged(sides, mask, column.name, label, metric, gates))
    return found


def _judged(sides: Sides, mask: Mask, column: str, label: str, metric: str, gates: Gates) -> Slice:
    one, other = sides.challenger.take(mask), sides.champion.take(mask)
    groups = sides.holdout.groups[mask]
    used = metric
    if len(np.unique(one.target)) < 2:  # no ranking, and no variance to explain
        used = OF_EQUAL_NUMBERS if one.task == "regression" else OF_ONE_CLASS
    values = value_of(one, used), value_of(other, used)
    worse = how_much_worse(used, *values)
    refuses = worse > gates.slices.worse_by
    if refuses and gates.slices.beyond_noise:
        refuses = _beyond_noise(one, other, groups, used, gates.champion.resamples)
    return Slice(column, label, len(groups), used, *values, worse, refuses)


def how_much_worse(metric: str, challenger: float, champion: float) -> float:
    """Return by how much the challenger is worse; rmse and mae as a share of the champion's."""
    worse = challenger - champion if metric in LOWER_IS_BETTER else champion - challenger
    if metric not in IN_TARGETS_UNIT or worse <= 0:
        return worse
    return worse / max(champion, _TINY)


def value_of(rows: Scored, metric: str) -> float:
    """Return a metric of some rows; the Brier score is defined for rows of one class too."""
    if metric == OF_ONE_CLASS:
        return float(_squares(rows).mean())
    return evaluate(rows)[metric]


def _squares(rows: Scored) -> Any:
    """Return each row's Brier score: squared gaps to the truth, added up over several classes."""
    if rows.task == "multiclass":
        truth = np.eye(rows.score.shape[1])[rows.target.astype(np.int64)]
        return ((rows.score - truth) ** 2).sum(axis=1)
    return (rows.score - rows.target) ** 2


def _beyond_noise(
    one: Scored, other: Scored, groups: NDArray[Any], metric: str, resamples: int
) -> bool:
    """Tell whether the challenger is worse beyond noise, by the paired bootstrap over groups."""
    if metric != OF_ONE_CLASS:
        return paired_difference(one, other, groups, metric, resamples).loses
    gaps = _squares(one) - _squares(other)
    drawn = [
        gaps @ weights / weights.sum(axis=0) for weights in group_weights(groups, resamples, 0)
    ]
    return interval(np.concatenate(drawn))[0] > 0
