"""Drift without labels: each feature and the score of a span against the reference.

A feature is judged by the size of its change, not by significance: rows of one group are not
independent, so p values are too small. What is a part of the date changes by itself and is left
out. A feature that the seasons change is compared with its own month.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lockstep.config.monitoring import DriftSettings
from lockstep.monitoring.bins import Bins, Counts
from lockstep.monitoring.distances import (
    chi_squared,
    coarse_groups,
    deviation,
    index_by_chance,
    kolmogorov_smirnov,
    merged,
    stability_index,
    total_variation,
    wasserstein,
)
from lockstep.monitoring.reference import Feature, Reference
from lockstep.monitoring.window import Window

STEADY, WARN, FEW, LEFT_OUT = "steady", "warn", "too few rows", "left out"
WHOLE_YEAR = "the whole year"
MONTH_NAMES = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip


@dataclass(frozen=True)
class FeatureDrift:
    """How far one feature is from its reference.

    ``index`` is the population stability index without what chance gives, ``limit`` what it must
    exceed. ``gap`` is Kolmogorov-Smirnov's or total variation, ``moved`` is Wasserstein's distance
    in standard deviations of the reference (numbers only).
    """

    name: str
    verdict: str
    rows: int
    against: str = ""
    index: float = float("nan")
    limit: float = float("nan")
    gap: float = float("nan")
    p_value: float = float("nan")
    moved: float = float("nan")
    missing: tuple[float, float] = (0.0, 0.0)
    """The share of missing values in the reference and in the span."""
    other: tuple[float, float] = (0.0, 0.0)
    """The share of values that the reference does not list."""
    new: Mapping[Any, int] = field(default_factory=dict)
    """Values that the reference never had, with their rows."""
    why: str = ""
    known: Counts | None = field(default=None, compare=False, repr=False)
    """The reference's counts (bins,) that it is compared with."""

    @property
    def warns(self) -> bool:
        """Whether it changed."""
        return self.verdict == WARN


def feature_drifts(
    reference: Reference, window: Window, months: set[int], settings: DriftSettings
) -> list[FeatureDrift]:
    """Return how far each feature is from its reference, the largest change first.

    ``months`` are the calendar months (1 to 12) of the span.
    """
    found = [
        feature_drift(
            feature,
            window.features[name],
            months,
            settings,
            window.new.get(name, {}),
            reference.rows_a_group,
        )
        for name, feature in reference.features.items()
    ]
    order = {WARN: 0, STEADY: 1, FEW: 2, LEFT_OUT: 3}
    return sorted(found, key=lambda one: (order[one.verdict], -np.nan_to_num(one.index)))


def feature_drift(
    feature: Feature,
    counts: Counts,
    months: set[int],
    settings: DriftSettings,
    new: Mapping[Any, int],
    alike: float = 1.0,
) -> FeatureDrift:
    """Return how far one feature is from its reference; ``alike`` is the mean size of a group."""
    rows = int(counts.sum())
    if feature.calendar:
        return FeatureDrift(
            feature.name,
            LEFT_OUT,
            rows,
            why=f"it is the {feature.calendar} of the date",
            known=feature.total,
        )
    fewest = min(rows, int(feature.total.sum()))
    if fewest < settings.min_rows:
        which = "the reference has " if fewest < rows else ""
        why = f"{which}{fewest:,} rows, fewer than {settings.min_rows:,}"
        return FeatureDrift(feature.name, FEW, rows, why=why, known=feature.total)
    own, against = seasonal_counts(feature, months, settings, alike)
    known, other = own.sum(), feature.bins.other
    index, limit = excess_index(feature.bins, own, counts, settings, alike)
    gap, p_value, moved = _distances(feature.bins, own, counts)
    at = feature.bins.missing
    unlisted = (own[other] / known, counts[other] / rows) if other is not None else (0.0, 0.0)
    unseen = _unseen(feature.bins, feature.total, counts, new)
    return FeatureDrift(
        feature.name,
        WARN if index > limit else STEADY,
        rows,
        against,
        index,
        limit,
        gap,
        p_value,
        moved,
        (float(own[at] / known), float(counts[at] / rows)),
        (float(unlisted[0]), float(unlisted[1])),
        unseen,
        known=own,
    )


def excess_index(
    bins: Bins, reference: Counts, window: Counts, settings: DriftSettings, alike: float = 1.0
) -> tuple[float, float]:
    """Return the stability index without what chance gives, and the limit for so many rows.

    The limit holds from ``psi_rows`` rows on, on both sides; with fewer it grows in proportion.
    Rows that are ``alike`` in groups count as so many fewer.
    """
    if bins.values is None:
        groups = np.append(coarse_groups(reference[:-1]), coarse_groups(reference[:-1]).max() + 1)
        reference, window = merged(reference, groups), merged(window, groups)
    index = stability_index(reference, window) - alike * index_by_chance(reference, window)
    rows = min(float(window.sum()), float(reference.sum())) / alike
    scale = max(1.0, settings.psi_rows / max(rows, 1.0))
    return max(index, 0.0), settings.psi * scale


def seasonal_counts(
    feature: Feature, months: set[int], settings: DriftSettings, alike: float
) -> tuple[Counts, str]:
    """Return the counts to compare with, and in words which: those of the span's months, or all.

    Only a feature that differs between months in the reference itself is compared by month.
    """
    own = sum((feature.of_month(month) for month in months), np.zeros_like(feature.total))
    if not months or len(months) == 12 or own.sum() < settings.min_rows:
        return feature.total, WHOLE_YEAR
    index, limit = excess_index(feature.bins, feature.total, own, settings, alike)
    if index <= limit / 3:
        return feature.total, WHOLE_YEAR
    return own, ", ".join(MONTH_NAMES[month - 1] for month in sorted(months))


def _distances(bins: Bins, reference: Counts, window: Counts) -> tuple[float, float, float]:
    """Return the gap, its p value, and the distance in standard deviations of the reference."""
    if bins.values is not None:
        return total_variation(reference, window), chi_squared(reference, window)[1], float("nan")
    there, here = reference[:-1], window[:-1]
    centers: NDArray[np.float64] = np.asarray(bins.centers)
    spread = deviation(there, centers)
    moved = wasserstein(there, here, centers) / spread if spread else 0.0
    return (*kolmogorov_smirnov(there, here), moved)


def _unseen(
    bins: Bins, reference: Counts, window: Counts, new: Mapping[Any, int]
) -> dict[Any, int]:
    """Return values of the span that the reference never had, with their rows."""
    if bins.values is None:
        return {}
    found = {
        value: int(window[place])
        for place, value in enumerate(bins.values)
        if window[place] and not reference[place]
    }
    return found | ({} if reference[bins.other] else {k: int(v) for k, v in new.items()})


def score_drift(reference: Reference, window: Window, settings: DriftSettings) -> FeatureDrift:
    """Return how far the scores of a span are from those of the test rows."""
    counts, own = window.scores.sum(axis=0), reference.by_class.sum(axis=0)
    return feature_drift(
        Feature("score", reference.score_bins, own[None]),
        counts,
        set(),
        settings,
        {},
        reference.rows_a_group,
    )
