"""What the labelled rows of a span say, against the reference of the same kind of rows."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from lockstep.config.monitoring import PerformanceSettings
from lockstep.monitoring import calibration
from lockstep.monitoring.bins import Counts
from lockstep.monitoring.calibration import Calibration, reliability
from lockstep.monitoring.distances import coarse_groups, merged
from lockstep.monitoring.performance import (
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

    ``why`` says why there are none. ``selected`` is true where labels exist only for rows that were
    decided as class 0: the reference is cut at the same threshold then.
    """

    labelled: int
    rows: int
    selected: bool = False
    figures: dict[str, Estimate] = field(default_factory=dict)
    reference: dict[str, Estimate] = field(default_factory=dict)
    outcome: Outcome | None = None
    calibration: Calibration | None = None
    why: str = ""


def is_selected(window: Window) -> bool:
    """Return whether labels exist only for rows decided as class 0."""
    answered = window.scores.sum(axis=1)[:2]
    labelled = window.labelled.sum(axis=(1, 2))[:2]
    if not labelled[0] or not answered.all():
        return False
    shares = labelled / answered
    return bool(shares[1] < _SELECTED * shares[0])


def performance(
    reference: Reference,
    window: Window,
    threshold: float | None,
    settings: PerformanceSettings,
    selected: bool,
    drawn: bool = True,
    positive_weight: float | None = 1.0,
) -> Performance:
    """Return the figures of a span; ``threshold`` is the one in force.

    Without ``drawn`` only those whose errors need no drawing of rows. ``positive_weight`` makes
    probabilities of scores; None: they can't be made, and there is no calibration.
    """
    labelled = int(window.labelled.sum())
    counts = Performance(labelled, window.rows, selected)
    if labelled < settings.min_rows:
        few = f"{labelled:,} labels, fewer than {settings.min_rows:,}"
        return replace(counts, why=few)
    if reference.task == "regression":
        return _regression(reference, window, counts)
    if reference.task == "multiclass":
        found = _multiclass(reference, window, counts)
    else:
        found = _binary(reference, window, threshold, settings, counts, drawn)
    if not (drawn and found.figures) or positive_weight is None:
        return found
    return _with_calibration(found, reference, window, threshold, positive_weight)


def _with_calibration(
    found: Performance,
    reference: Reference,
    window: Window,
    threshold: float | None,
    positive_weight: float,
) -> Performance:
    """Return figures with the calibration error of the rows that have labels."""
    decisions = slice(1) if found.selected else slice(None)
    both = Calibration(
        *(
            reliability(reference.score_bins, counts[decisions], reference.task, positive_weight)
            for counts in (window.labelled, _decided(reference, threshold))
        )
    )
    own, there = both.estimates
    return replace(
        found,
        figures={**found.figures, calibration.NAME: own},
        reference={**found.reference, calibration.NAME: there},
        calibration=both,
    )


def _binary(
    reference: Reference,
    window: Window,
    threshold: float | None,
    settings: PerformanceSettings,
    counts: Performance,
    drawn: bool,
) -> Performance:
    own = window.labelled[:1] if counts.selected else window.labelled
    there = _reference_counts(reference, threshold, counts.selected)
    negative, positive = own.sum(axis=0)
    rarest = int(min(negative.sum(), positive.sum()))
    if rarest < settings.min_of_a_class:
        few = f"{rarest:,} labelled rows of one class, fewer than {settings.min_of_a_class:,}"
        return replace(counts, why=few)
    figures, known = {"roc_auc": area(negative, positive)}, {"roc_auc": area(*there)}
    if drawn:
        figures |= _drawn(own, counts.selected)
        known |= _drawn(_decided(reference, threshold), counts.selected)
    figures["positive_rate"] = share(float(positive.sum()), float(own.sum()))
    known["positive_rate"] = share(float(there[1].sum()), float(there.sum()))
    outcome = outcome_of(there, own.sum(axis=0))
    return replace(counts, figures=figures, reference=known, outcome=outcome)


def _decided(reference: Reference, threshold: float | None) -> Counts:
    """Return the reference's counts (decisions, classes, bins) with the threshold in force."""
    if threshold is None:
        return reference.scores
    return np.stack(reference.decided(threshold))


def _reference_counts(reference: Reference, threshold: float | None, selected: bool) -> Counts:
    """Return the reference's counts (classes, bins) of the kind of rows that have labels."""
    decided = _decided(reference, threshold)
    return decided[0] if selected else decided.sum(axis=0)


def _drawn(counts: Counts, selected: bool) -> dict[str, Estimate]:
    """Return KS, and F1 where all decisions have labels, with errors from drawing rows anew."""
    own = counts[:1] if selected else counts
    drawn = resampled(own)
    both = separation(own.sum(axis=0)[0], own.sum(axis=0)[1])
    spread = separation(drawn.sum(axis=1)[:, 0], drawn.sum(axis=1)[:, 1])
    found = {"ks": Estimate(float(both), float(np.std(spread)))}
    if not selected:
        value, others = f1(own[:2].sum(axis=-1)), f1(drawn[:, :2].sum(axis=-1))
        found["f1"] = Estimate(float(value), float(np.std(others)))
    return found


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
