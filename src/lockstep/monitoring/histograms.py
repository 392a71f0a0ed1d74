"""Counts of a reference and of a span as bars for people: even bars, or the top values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lockstep.monitoring.bins import Bins, Counts

MOST_BARS, MOST_VALUES = 30, 12
OTHERS = "other values"
FEW_NUMBERS = 12
"""A number with at most so many bins is shown by value."""
_HEAVY = 3
_TAIL = 0.25
"""How far bars go beyond the outermost edges, as a share of what lies between these."""

Numbers = NDArray[Any]


@dataclass(frozen=True)
class Outline:
    """Shares of all rows in bars of even width: ``edges`` (bars + 1,), both shares (bars,)."""

    edges: NDArray[np.float64]
    reference: NDArray[np.float64]
    own: NDArray[np.float64]


@dataclass(frozen=True)
class Values:
    """Shares of all rows by value: ``labels``, and both shares (labels,)."""

    labels: tuple[str, ...]
    reference: NDArray[np.float64]
    own: NDArray[np.float64]

    @property
    def largest(self) -> float:
        """The largest share of one value; of all other values together only if there is no one."""
        both = np.maximum(self.reference, self.own)
        single = [share for name, share in zip(self.labels, both, strict=True) if name != OTHERS]
        return float(max(single or both, default=0.0))


def histogram(
    bins: Bins, reference: Counts, own: Counts, label: Callable[[Any], str]
) -> Outline | Values:
    """Return both counts (bins,) as bars; ``label`` gives a value's text."""
    if bins.values is None and bins.size - 1 > FEW_NUMBERS:
        return _outline(bins, reference, own)
    labels = number_labels(bins) if bins.values is None else [label(one) for one in bins.values]
    return _values(bins, labels, shares(reference), shares(own))


def shares(counts: Counts) -> NDArray[np.float64]:
    """Return counts over their sum; zeros without rows."""
    return np.asarray(counts / max(float(counts.sum()), 1.0))


# ---------------------------------------------------------------- values


def number_labels(bins: Bins) -> list[str]:
    """Return what each bin of a number with few bins is called: its value, or its range."""
    lows, highs = ["", *bins.edges], [*bins.edges, ""]
    found = []
    for low, high, center in zip(lows, highs, bins.centers, strict=True):
        if low == "":
            found.append(f"{center:g}" if high == "" or len(bins.edges) < 3 else f"< {high:g}")
        elif high == "":
            found.append(f"{center:g}" if len(bins.edges) < 2 else f"≥ {low:g}")
        else:
            found.append(f"{low:g}" if center == low else f"{low:g} to {high:g}")
    return found


def _values(bins: Bins, labels: list[str], there: Numbers, here: Numbers) -> Values:
    """Return the most frequent values of either side, then the others together, then missing."""
    listed = len(labels)
    order = np.arange(listed)
    if bins.values is not None:
        order = np.argsort(-np.maximum(there, here)[:listed], kind="stable")
    top = [place for place in order[:MOST_VALUES] if there[place] or here[place]]
    rest = np.setdiff1d(np.arange(bins.missing), top)
    shown = [labels[place] for place in top]
    pairs = [(there[place], here[place]) for place in top]
    for name, places in ((OTHERS, rest), ("missing", [bins.missing])):
        both = float(there[places].sum()), float(here[places].sum())
        if any(both):
            shown.append(name)
            pairs.append(both)
    table = np.array(pairs, dtype=np.float64).reshape(-1, 2)
    return Values(tuple(shown), table[:, 0], table[:, 1])


# ---------------------------------------------------------------- numbers


def _outline(bins: Bins, reference: Counts, own: Counts) -> Outline:
    """Return counts of bins of uneven width in bars of even width.

    The rows of a bin are spread evenly around their mean, as far as the nearer edge.
    """
    low, center, high = _extents(bins, reference[0] > _HEAVY * np.median(reference[:-1]))
    half = np.minimum(center - low, high - center)
    start, end = center - half, center + half
    edges = _even_edges(start.min(), end.max(), _whole(bins))
    width = np.where(half > 0, 2 * half, 1.0)[:, None]
    below = np.clip((edges - start[:, None]) / width, 0, 1)
    below = np.where((half > 0)[:, None], below, edges > center[:, None])
    spread = np.diff(below, axis=1)
    there, here = (shares(counts)[:-1] @ spread for counts in (reference, own))
    return Outline(edges, there, here)


def _extents(bins: Bins, first_is_heavy: bool) -> tuple[Numbers, Numbers, Numbers]:
    """Return each bin's low end, mean and high end; the outer two get ends of their own.

    A first bin that is heavy holds one value mostly, as the zeros of an amount: it has no width.
    Below 0 a first bin only goes if its mean is there.
    """
    edges, centers = np.asarray(bins.edges), np.asarray(bins.centers)
    reach = (edges[-1] - edges[0]) * _TAIL
    first = max(2 * centers[0] - edges[0], edges[0] - reach)
    if first_is_heavy or (_whole(bins) and centers[0] % 1 == 0):
        first = centers[0]
    elif centers[0] > 0:
        first = max(first, 0.0)
    last = min(2 * centers[-1] - edges[-1], edges[-1] + reach)
    low, high = np.append(first, edges), np.append(edges, last)
    return low, np.clip(centers, low, high), high


def _whole(bins: Bins) -> bool:
    """Return whether all values seem to be whole numbers."""
    edges = np.asarray(bins.edges)
    return bool((edges == np.round(edges)).all())


def _even_edges(low: float, high: float, whole: bool) -> NDArray[np.float64]:
    """Return round edges of at most about MOST_BARS bars from ``low`` to beyond ``high``."""
    least = max((high - low) / MOST_BARS, 1.0 if whole else 0.0) or 1.0
    power = 10.0 ** np.floor(np.log10(least))
    steps = [factor * power for factor in (1, 2, 2.5, 5, 10)]
    step = next(one for one in steps if one >= least and not (whole and one % 1))
    first, last = np.floor(low / step), np.floor(high / step) + 1
    return np.arange(first, last + 1) * step
