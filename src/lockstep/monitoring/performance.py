"""Performance from counts: what labelled rows say of a model's scores, without the rows.

Counts (classes, bins) hold how many rows of each true class have a score in each bin, from low to
high. Rows of one bin count as equal scores. With about a thousand bins, ROC AUC differs from that
of the rows by less than 1e-4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

Numbers = NDArray[Any]

RESAMPLES = 200
LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A figure with its standard error; NaN where it can't be known."""

    value: float
    error: float

    @property
    def known(self) -> bool:
        """Whether both are numbers."""
        return bool(np.isfinite(self.value) and np.isfinite(self.error))

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval."""
        half = float(norm.ppf((1 + LEVEL) / 2)) * self.error
        return self.value - half, self.value + half


UNKNOWN = Estimate(float("nan"), float("nan"))


def area(negative: Numbers, positive: Numbers) -> Estimate:
    """Return ROC AUC and its standard error (DeLong); UNKNOWN with under two rows of a class.

    Where all pairs are in order, DeLong's error is 0; it is one over the rows of the rarer class.
    """
    rows = float(negative.sum()), float(positive.sum())
    if min(rows) < 2:
        return UNKNOWN
    # The share of the other class that each bin beats; equal scores count half.
    below = (np.cumsum(negative) - negative / 2) / rows[0]
    above = 1 - (np.cumsum(positive) - positive / 2) / rows[1]
    value = float((positive * below).sum() / rows[1])
    if value in (0.0, 1.0):
        return Estimate(value, 1 / min(rows))
    spread = [
        float((counts * (share - value) ** 2).sum() / (many - 1) / many)
        for counts, share, many in zip((negative, positive), (above, below), rows, strict=True)
    ]
    return Estimate(value, float(np.sqrt(sum(spread))))


def share(hits: float, rows: float) -> Estimate:
    """Return a share and its standard error, which is not 0 where all or no rows are hits."""
    if not rows:
        return UNKNOWN
    safe = (hits + 1) / (rows + 2)  # Laplace's rule
    return Estimate(hits / rows, float(np.sqrt(safe * (1 - safe) / rows)))


def separation(negative: Numbers, positive: Numbers) -> float:
    """Return KS: the largest gap between both classes' cumulative scores; NaN without a class."""
    rows = negative.sum(axis=-1), positive.sum(axis=-1)
    if not (np.all(rows[0]) and np.all(rows[1])):
        return float("nan")
    gap = np.cumsum(negative, axis=-1) / np.expand_dims(rows[0], -1)
    gap = gap - np.cumsum(positive, axis=-1) / np.expand_dims(rows[1], -1)
    return np.abs(gap).max(axis=-1)


def f1(decided: Numbers) -> Any:
    """Return F1 of counts (…, 2 decisions, 2 classes)."""
    hit = decided[..., 1, 1]
    either = decided[..., 1, 0] + decided[..., 0, 1]
    with np.errstate(invalid="ignore"):
        return 2 * hit / (2 * hit + either)


def resampled(counts: Numbers, seed: int = 0, resamples: int = RESAMPLES) -> Numbers:
    """Return counts drawn anew with replacement: (resamples, *counts.shape)."""
    total = int(counts.sum())
    flat = counts.ravel() / max(total, 1)
    drawn = np.random.default_rng(seed).multinomial(total, flat, size=resamples)
    return drawn.reshape(resamples, *counts.shape)


def gap(reference: Estimate, window: Estimate) -> float:
    """Return by how many standard errors of both the window is below the reference; NaN unknown.

    Equal values are 0 errors apart, also where neither has one.
    """
    below = reference.value - window.value
    error = float(np.hypot(reference.error, window.error))
    if not error:
        return float(np.copysign(np.inf, below)) if below else 0.0
    return below / error
