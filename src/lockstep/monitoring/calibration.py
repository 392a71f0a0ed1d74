"""Calibration from counts: whether positives are as frequent as the model's probabilities say.

The expected calibration error is that of ``evaluation``: over CALIBRATION_BINS bins of equal width
of the probability, the gaps between hits and probabilities, added up, over the rows. Chance alone
gives an error, and more of it with fewer rows. So a span and its reference are compared at the same
number of labels: the side that has more is drawn without replacement, down to that number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lockstep.decision.score_scale import to_probability
from lockstep.evaluation.metrics_binary import CALIBRATION_BINS
from lockstep.monitoring.bins import Bins, Counts
from lockstep.monitoring.performance import RESAMPLES, UNKNOWN, Estimate, resampled

NAME = "calibration_error"


@dataclass(frozen=True)
class Reliability:
    """Labelled rows by bins of the probability; all arrays have the shape (CALIBRATION_BINS,).

    Of two classes ``hits`` are positive rows, of several those whose most probable class is true.
    ``chance`` is the mean probability of a bin's rows.
    """

    misses: Counts
    hits: Counts
    chance: NDArray[np.float64]

    @property
    def bins(self) -> Counts:
        """The rows of each bin."""
        return self.misses + self.hits

    @property
    def rows(self) -> int:
        """The number of rows."""
        return int(self.bins.sum())

    @property
    def error(self) -> float:
        """The expected calibration error; NaN without rows."""
        return float(self.errors(np.stack([self.misses, self.hits])))

    def errors(self, counts: NDArray[Any]) -> NDArray[np.float64]:
        """Return the error of counts (…, 2, bins) of misses and hits with these probabilities."""
        misses, hits = counts[..., 0, :], counts[..., 1, :]
        gaps = np.abs(hits - (misses + hits) * self.chance)
        with np.errstate(invalid="ignore"):
            return gaps.sum(axis=-1) / counts.sum(axis=(-2, -1))

    def at(self, rows: int, seed: int = 0) -> Estimate:
        """Return the error that ``rows`` of these rows have on average, and its standard error.

        The standard error is that of all these rows, drawn anew with replacement.
        """
        if not self.rows:
            return UNKNOWN
        counts = np.stack([self.misses, self.hits])
        spread = float(np.std(self.errors(resampled(counts, seed))))
        if rows >= self.rows:
            return Estimate(self.error, spread)
        draw = np.random.default_rng(seed).multivariate_hypergeometric
        drawn = draw(counts.ravel(), rows, size=RESAMPLES, method="marginals")
        return Estimate(float(self.errors(drawn.reshape(-1, *counts.shape)).mean()), spread)


@dataclass(frozen=True)
class Calibration:
    """A span's labelled rows and the reference's, of the same part of the scores."""

    own: Reliability
    reference: Reliability

    @property
    def rows(self) -> int:
        """The number of labels at which both are compared: that of the side with fewer."""
        return min(self.own.rows, self.reference.rows)

    @property
    def estimates(self) -> tuple[Estimate, Estimate]:
        """The error of the span and that of the reference, at ``rows`` labels."""
        return self.own.at(self.rows), self.reference.at(self.rows)


def reliability(bins: Bins, counts: Counts, task: str, positive_weight: float) -> Reliability:
    """Return labelled rows by probability.

    ``counts`` (decisions, classes, bins) are those of a binary or multiclass model's scores. The
    odds of a score are ``positive_weight`` times those of a probability. A bin's rows count as its
    center: from a thousand labels on, the error differs from that of the rows by about 0.001.
    """
    known = counts[..., :-1]  # the last bin would be missing scores
    if task == "binary":
        misses, hits = known.sum(axis=0)
    else:
        hits = np.einsum("kkb->b", known)
        misses = known.sum(axis=(0, 1)) - hits
    chance = np.clip(to_probability(np.asarray(bins.centers), positive_weight), 0.0, 1.0)
    places = np.minimum((chance * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)

    def merged(values: NDArray[Any]) -> NDArray[Any]:
        return np.bincount(places, values, minlength=CALIBRATION_BINS)

    rows = merged(misses + hits)
    mean = merged((misses + hits) * chance) / np.maximum(rows, 1)
    return Reliability(merged(misses).astype(np.int64), merged(hits).astype(np.int64), mean)
