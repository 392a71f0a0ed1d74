"""How far two distributions of counts are from each other.

Population stability index, Kolmogorov-Smirnov, Wasserstein, total variation, chi-squared. Each
takes counts of a reference and of a window over the same bins.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2, kstwobign

Numbers = NDArray[Any]

COARSE = 10
"""Bins of the population stability index of a number."""
_LEAST = 0.5
"""Added to a bin that is empty on one side, so that the index stays finite."""


def stability_index(reference: Numbers, window: Numbers) -> float:
    """Return the population stability index: the sum of (p - q) ln(p / q) over the bins.

    0 for equal distributions. Bins that are empty on both sides don't count.
    """
    used = (reference > 0) | (window > 0)
    if used.sum() < 2 or not reference.sum() or not window.sum():
        return 0.0
    p, q = (np.where(c[used] > 0, c[used], _LEAST) / c.sum() for c in (reference, window))
    return float(((q - p) * np.log(q / p)).sum())


def index_by_chance(reference: Numbers, window: Numbers) -> float:
    """Return the index to expect where both sides are drawn from one distribution.

    Twice the index is about chi-squared over the size, so noise alone gives (bins - 1) (1/n + 1/m).
    """
    used = int(((reference > 0) | (window > 0)).sum())
    rows = reference.sum(), window.sum()
    return (used - 1) * (1 / rows[0] + 1 / rows[1]) if used > 1 and all(rows) else 0.0


def coarse_groups(reference: Numbers, count: int = COARSE) -> NDArray[np.int64]:
    """Return which of ``count`` groups of about equal reference counts each fine bin belongs to."""
    before = np.cumsum(reference) - reference / 2
    total = max(float(reference.sum()), 1.0)
    return np.minimum((before / total * count).astype(np.int64), count - 1)


def merged(counts: Numbers, groups: NDArray[np.int64]) -> Numbers:
    """Return counts of fine bins added up by their groups."""
    return np.bincount(groups, counts, minlength=int(groups.max(initial=0)) + 1)


def kolmogorov_smirnov(reference: Numbers, window: Numbers) -> tuple[float, float]:
    """Return the largest gap between both cumulative distributions, and its p value.

    Bins make the gap a little smaller than the values do, so the p value is on the safe side.
    """
    rows = float(reference.sum()), float(window.sum())
    if not all(rows):
        return 0.0, 1.0
    gap = float(np.abs(np.cumsum(reference) / rows[0] - np.cumsum(window) / rows[1]).max())
    size = rows[0] * rows[1] / (rows[0] + rows[1])
    return gap, float(kstwobign.sf(gap * np.sqrt(size)))


def wasserstein(reference: Numbers, window: Numbers, centers: Numbers) -> float:
    """Return the Wasserstein distance of two distributions on ``centers``, in their unit."""
    rows = reference.sum(), window.sum()
    if not all(rows) or len(centers) < 2:
        return 0.0
    gap = np.cumsum(reference / rows[0] - window / rows[1])[:-1]
    return float((np.abs(gap) * np.diff(centers)).sum())


def total_variation(reference: Numbers, window: Numbers) -> float:
    """Return half the sum of |p - q|: the share of rows that would have to change."""
    rows = reference.sum(), window.sum()
    return float(np.abs(reference / rows[0] - window / rows[1]).sum() / 2) if all(rows) else 0.0


def chi_squared(reference: Numbers, window: Numbers) -> tuple[float, float]:
    """Return the statistic of two samples of counts, and its p value."""
    both = np.stack([reference, window]).astype(np.float64)
    both = both[:, both.sum(axis=0) > 0]
    if both.shape[1] < 2 or not both.sum(axis=1).all():
        return 0.0, 1.0
    expected = np.outer(both.sum(axis=1), both.sum(axis=0)) / both.sum()
    found = float(((both - expected) ** 2 / expected).sum())
    return found, float(chi2.sf(found, both.shape[1] - 1))


def deviation(counts: Numbers, centers: Numbers) -> float:
    """Return the standard deviation of a distribution on ``centers``."""
    rows = counts.sum()
    if not rows:
        return 0.0
    mean = (counts * centers).sum() / rows
    return float(np.sqrt((counts * (np.asarray(centers) - mean) ** 2).sum() / rows))
