"""Prediction intervals by split conformal prediction, with a half-width for each prediction range.

Half-widths are quantiles of absolute errors on rows that the model was not fitted on. A correction
for finite samples makes each group hold at least the declared coverage of new rows (Mondrian
conformal prediction; Vovk, Gammerman, Shafer 2005). An interval is a plain dictionary, so cards and
tags can hold it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lockstep.errors import ArtifactError, DataError
from lockstep.evaluation.scored_rows import Array, Scored, decimals_for

COVERAGE = 0.9
"""The share of rows an interval holds by default."""
GROUPS = 10
DIGITS, END_DIGITS = 6, 8
_LEAST_ROWS = 30
_LEAST_OUTSIDE = 5
"""Each group is so large that this many of its rows lie outside its interval."""

Interval = dict[str, Any]


def fit_interval(
    rows: Scored, coverage: float = COVERAGE, low: float | None = None, high: float | None = None
) -> Interval:
    """Return the interval of a model that scored ``rows``, which it was not fitted on.

    Keys: coverage; edges, the predictions between groups; half_widths, one a group, with 6
    decimals, more for small targets; low and high, the bounds of every value, if known. Too few
    rows raise DataError.
    """
    needed = math.ceil(coverage / (1 - coverage) - 1e-9)
    if len(rows.target) < needed:
        raise DataError(
            f"an interval that holds {coverage:.0%} needs {needed} validation rows, "
            f"there are {len(rows.target)}; "
            "raise problems.NAME.split.validation, or lower decision.coverage"
        )
    digits = decimals_for(rows.target, DIGITS)
    edges = _edges(rows.score, coverage, digits)
    group = np.searchsorted(edges, rows.score, side="right")
    error = np.abs(rows.target - rows.score)
    widths = [
        _half_width(error[group == number], coverage, digits) for number in range(len(edges) + 1)
    ]
    ends = {"low": low, "high": high}
    known = {name: float(value) for name, value in ends.items() if value is not None}
    return {"coverage": coverage, "edges": edges, "half_widths": widths, **known}


def _edges(score: Array, coverage: float, digits: int) -> list[float]:
    """Return the ends of about equal groups, each large enough; equal predictions stay together."""
    ordered = np.sort(score)
    least = max(_LEAST_ROWS, math.ceil(_LEAST_OUTSIDE / (1 - coverage) - 1e-9))
    count = max(1, min(GROUPS, len(ordered) // least))
    cuts = ordered[np.arange(1, count) * len(ordered) // count]
    kept: list[float] = []
    begun = 0
    for cut in np.unique(np.round(cuts, digits)):
        at = int(np.searchsorted(ordered, cut, side="left"))
        if at - begun >= least and len(ordered) - at >= least:
            kept.append(float(cut))
            begun = at
    return kept


def _half_width(error: Array, coverage: float, digits: int) -> float:
    """Return the error that a new row exceeds with probability 1 - coverage at most, rounded up."""
    place = min(len(error), math.ceil((len(error) + 1) * coverage - 1e-9))
    return math.ceil(float(np.sort(error)[place - 1]) * 10**digits) / 10**digits


def bounds(interval: Interval, score: Array) -> tuple[Array, Array]:
    """Return the lower and upper end of each prediction's interval, in the shape of ``score``."""
    score = np.asarray(score, dtype=np.float64)
    half = np.asarray(interval["half_widths"])[groups(interval, score)]
    low, high = interval.get("low", -np.inf), interval.get("high", np.inf)
    digits = decimals_for(np.asarray(interval["half_widths"]), END_DIGITS)
    lower, upper = (np.round(end, digits) for end in (score - half, score + half))
    return np.clip(lower, low, high), np.clip(upper, low, high)


def groups(interval: Interval, score: Array) -> NDArray[np.int64]:
    """Return each prediction's group, from 0."""
    return np.searchsorted(interval["edges"], score, side="right")


def coverage_of(interval: Interval, rows: Scored) -> dict[str, Any]:
    """Return the share of rows inside, the mean width, and both by group of predictions."""
    low, high = bounds(interval, rows.score)
    inside = (rows.target >= low) & (rows.target <= high)
    group, width = groups(interval, rows.score), high - low
    by_group = {}
    for number in range(len(interval["half_widths"])):
        held = group == number
        if held.any():
            by_group[str(number + 1)] = {
                "rows": int(held.sum()),
                "coverage": float(inside[held].mean()),
                "mean_width": float(width[held].mean()),
            }
    return {"coverage": float(inside.mean()), "mean_width": float(width.mean()), "groups": by_group}


def check_interval(content: Any, where: str) -> Interval:
    """Return an interval read from a card or a tag; a damaged one raises ArtifactError."""
    try:
        edges = [float(edge) for edge in content["edges"]]
        widths = [float(width) for width in content["half_widths"]]
        fits = (
            0 < float(content["coverage"]) < 1
            and len(widths) == len(edges) + 1
            and edges == sorted(edges)
            and all(0 <= width < math.inf for width in widths)
        )
    except (KeyError, TypeError, ValueError):
        fits = False
    if not fits:
        raise ArtifactError(
            f"{where}: its prediction interval is damaged; register the model again"
        )
    return dict(content)
