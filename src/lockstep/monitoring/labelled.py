"""What the labelled rows of a span say, against the reference of the same kind of rows."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lockstep.config.monitoring import PerformanceSettings
from lockstep.monitoring import calibration
from lockstep.monitoring.bins import Counts
from lockstep.monitoring.calibration import Calibration, Reliability, reliability
from lockstep.monitoring.distances import coarse_groups, merged
from lockstep.monitoring.performance import (
    RESAMPLES,
    UNKNOWN,
    Estimate,
    area,
    f1,
    resampled,
    separation,
    share,
)
from lockstep.monitoring.reference import Reference
from lockstep.monitoring.window import Window

HEADLINE = {"binary": "roc_auc", "multiclass": "accuracy", "regression": "rmse"}
"""The metric that alarms look at, by task."""
RATE_GROUPS = 20
_SELECTED = 0.1
"""Labels count as selected if one decision has less than this share of the other's."""


@dataclass(frozen=True)
class Outcome:
    """How many positive rows were seen, and how many the reference lets expect at these scores.

    ``rows`` (groups,) counts the labelled rows by score; ``rate`` (groups,) is the reference's
    share of positives there, known from ``known`` (groups,) rows.
    """

    observed: int
    rows: NDArray[np.float64]
    rate: NDArray[np.float64]
    known: NDArray[np.float64]

    def __add__(self, other: Outcome) -> Outcome:
        """Return both together, against the same reference."""
        return Outcome(
            self.observed + other.observed, self.rows + other.rows, self.rate, self.known
        )

    @property
    def expected(self) -> float:
        """How many positives the reference lets expect."""
        return float((self.rows * self.rate).sum())

    @property
    def distance(self) -> float:
        """The difference in standard errors, the reference's included; NaN without rows."""
        noise = self.rate * (1 - self.rate)
        variance = (noise * (self.rows + self.rows**2 / np.maximum(self.known, 1))).sum()
        return float((self.observed - self.expected) / variance**0.5) if variance else np.nan


@dataclass(frozen=True)
class Performance:
    """The figures of a span's labelled rows, and the reference's of the same kind of rows.

    ``why`` says why there are none. ``selected`` is the one decision whose rows have labels, where
    the others have hardly any: the reference is cut at the same threshold then.
    """

    labelled: int
    rows: int
    selected: int | None = None
    figures: dict[str, Estimate] = field(default_factory=dict)
    reference: dict[str, Estimate] = field(default_factory=dict)
    outcome: Outcome | None = None
    calibration: Calibration | None = None
    why: str = ""


def selected_of(window: Window) -> int | None:
    """Return the decision, 0 or 1, whose rows alone have labels; None where both have some."""
    answered = window.scores.sum(axis=1)[:2]
    labelled = window.labelled.sum(axis=(1, 2))[:2]
    if not labelled.any() or not answered.all():
        return None
    shares = labelled / answered
    most = int(shares[1] > shares[0])
    return most if shares[1 - most] < _SELECTED * shares[most] else None


@dataclass(frozen=True)
class Against:
    """What labelled rows are compared with; the reference's figures are computed once.

    ``threshold`` is the one in force. ``positive_weight`` makes probabilities of scores; None:
    they can't be made, and there is no calibration. ``selected``: see Performance.
    """

    reference: Reference
    threshold: float | None
    settings: PerformanceSettings
    selected: int | None
    positive_weight: float | None = 1.0

    @cached_property
    def decided(self) -> Counts:
        """The reference's counts (decisions, classes, bins) with the threshold in force."""
        return self.decisions(self.reference.scores)

    def decisions(self, counts: Counts) -> Counts:
        """Return counts (decisions, …, bins) as the threshold in force decides by the score.

        So a span and the reference are decided alike, whatever was in force before, and whether
        or not a person decides about scores near the threshold.
        """
        if self.threshold is None:
            return counts
        return self.reference.cut(counts.sum(axis=0), self.threshold)

    def labelled(self, counts: Counts) -> Counts:
        """Return the decisions that have labels, of counts (decisions, classes, bins)."""
        kept = slice(None) if self.selected is None else slice(self.selected, self.selected + 1)
        return counts[kept]

    @cached_property
    def known(self) -> dict[str, Estimate]:
        """The reference's figures of two classes."""
        return self.figures(self.decided, RESAMPLES)

    def figures(self, counts: Counts, resamples: int) -> dict[str, Estimate]:
        """Return the figures of counts; F1 only where all decisions have labels.

        The errors of KS and F1 come from drawing rows anew.
        """
        own = self.labelled(counts)
        negative, positive = own.sum(axis=0)
        drawn = resampled(own, resamples=resamples)
        spread = separation(drawn.sum(axis=1)[:, 0], drawn.sum(axis=1)[:, 1])
        found = {
            "roc_auc": area(negative, positive),
            "ks": Estimate(float(separation(negative, positive)), float(np.std(spread))),
        }
        if self.selected is None:
            value, others = f1(own[:2].sum(axis=-1)), f1(drawn[:, :2].sum(axis=-1))
            found["f1"] = Estimate(float(value), float(np.std(others)))
        return found | {"positive_rate": share(float(positive.sum()), float(own.sum()))}

    def reliability(self, counts: Counts, positive_weight: float) -> Reliability:
        """Return counts by probability, those with labels."""
        bins, task = self.reference.score_bins, self.reference.task
        return reliability(bins, self.labelled(counts), task, positive_weight)

    @cached_property
    def known_reliability(self) -> Reliability:
        """The reference by probability."""
        assert self.positive_weight is not None
        return self.reliability(self.decided, self.positive_weight)


def performance(window: Window, against: Against, resamples: int = RESAMPLES) -> Performance:
    """Return the figures of a span beside those of the reference."""
    labelled, settings = int(window.labelled.sum()), against.settings
    counts = Performance(labelled, window.rows, against.selected)
    if labelled < settings.min_rows:
        few = f"{labelled:,} labels, fewer than {settings.min_rows:,}"
        return replace(counts, why=few)
    task = against.reference.task
    if task == "regression":
        return _regression(against.reference, window, counts)
    if task == "multiclass":
        found = _multiclass(against.reference, window, counts)
    else:
        found = _binary(window, against, counts, resamples)
    if not found.figures or against.positive_weight is None:
        return found
    own = against.reliability(against.decisions(window.labelled), against.positive_weight)
    return _with_calibration(found, Calibration(own, against.known_reliability))


def _with_calibration(found: Performance, both: Calibration) -> Performance:
    """Return figures with the calibration error of the rows that have labels."""
    own, there = both.estimates
    return replace(
        found,
        figures={**found.figures, calibration.NAME: own},
        reference={**found.reference, calibration.NAME: there},
        calibration=both,
    )


def _binary(window: Window, against: Against, counts: Performance, resamples: int) -> Performance:
    decided = against.decisions(window.labelled)
    own = against.labelled(decided).sum(axis=0)
    rarest = int(min(own.sum(axis=-1)))
    if rarest < against.settings.min_of_a_class:
        least = against.settings.min_of_a_class
        few = f"{rarest:,} labelled rows of one class, fewer than {least:,}"
        return replace(counts, why=few)
    outcome = outcome_of(against.labelled(against.decided).sum(axis=0), own)
    figures = against.figures(decided, resamples)
    return replace(counts, figures=figures, reference=against.known, outcome=outcome)


def outcome_of(reference: Counts, window: Counts) -> Outcome:
    """Return how many positives were seen and expected; counts are (classes, bins).

    The expectation is the reference's rate of positives at scores alike, in RATE_GROUPS groups.
    """
    groups = coarse_groups(reference.sum(axis=0), RATE_GROUPS)
    there = np.stack([merged(own, groups) for own in reference])
    here = np.stack([merged(own, groups) for own in window])
    known = there.sum(axis=0)
    rate = (there[1] + there[1].sum() / there.sum()) / (known + 1)  # a group may be empty
    return Outcome(int(here[1].sum()), here.sum(axis=0), rate, known)


def _multiclass(reference: Reference, window: Window, counts: Performance) -> Performance:
    figures, known = ({"accuracy": _accuracy(c)} for c in (window.labelled, reference.scores))
    return replace(counts, figures=figures, reference=known)


def _accuracy(counts: Counts) -> Estimate:
    decided = counts.sum(axis=-1)
    return share(float(np.trace(decided)), float(decided.sum()))


def _regression(reference: Reference, window: Window, counts: Performance) -> Performance:
    rows, target, target_squared, error, absolute, squared, fourth = window.sums
    mean_squared = squared / rows
    rmse = float(np.sqrt(mean_squared))
    # The error of a root: half the error of the mean, over the root.
    spread = np.sqrt(max(fourth / rows - mean_squared**2, 0) / rows)
    figures = {
        "rmse": Estimate(rmse, float(spread / (2 * rmse)) if rmse else 0.0),
        "mae": Estimate(
            absolute / rows, float(np.sqrt(max(mean_squared - (absolute / rows) ** 2, 0) / rows))
        ),
        "mean_error": Estimate(
            error / rows, float(np.sqrt(max(mean_squared - (error / rows) ** 2, 0) / rows))
        ),
    }
    total = target_squared - target**2 / rows
    figures["r2"] = Estimate(float(1 - squared / total), np.nan) if total > 0 else UNKNOWN
    known = {n: Estimate(*reference.metrics[n]) for n in figures if n in reference.metrics}
    return replace(counts, figures=figures, reference=known)
