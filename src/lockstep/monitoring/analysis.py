"""A span of days against a version's reference: months, a rolling week, alarms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import add

import numpy as np

from lockstep.config.monitoring import MonitoringSection, PerformanceSettings
from lockstep.evaluation.metrics import LOWER_IS_BETTER
from lockstep.monitoring.alarms import ALARM, WARNING, Finding, worse_windows
from lockstep.monitoring.drift import FeatureDrift, feature_drifts, score_drift
from lockstep.monitoring.labelled import (
    HEADLINE,
    Against,
    Outcome,
    Performance,
    is_selected,
    performance,
)
from lockstep.monitoring.performance import UNKNOWN, Estimate, share
from lockstep.monitoring.reference import Reference
from lockstep.monitoring.window import Window, by_month

ROLLING_DAYS, WEEK_RESAMPLES = 7, 50


@dataclass(frozen=True)
class Month:
    """One calendar month: its counts, drifts, decisions and performance."""

    name: str
    window: Window
    features: tuple[FeatureDrift, ...]
    score: FeatureDrift
    decisions: tuple[Estimate, ...]
    performance: Performance

    @property
    def warning(self) -> tuple[str, ...]:
        """The features that changed."""
        return tuple(one.name for one in self.features if one.warns)


@dataclass(frozen=True)
class Analysis:
    """Everything that a span says about a version."""

    reference: Reference
    threshold: float | None
    selected: bool
    whole: Window
    months: tuple[Month, ...]
    rolling: tuple[tuple[str, Performance], ...]
    expected: tuple[Estimate, ...]
    """The share of each decision among the test rows, by the threshold in force."""
    distances: tuple[float, ...]
    """By how many standard errors each month's headline metric is worse than the reference's."""
    limit: float
    findings: tuple[Finding, ...]

    @property
    def metric(self) -> str:
        """The metric that alarms look at."""
        return HEADLINE[self.reference.task]

    @property
    def alarms(self) -> list[Finding]:
        """The findings that are alarms."""
        return [one for one in self.findings if one.level == ALARM]


def analyse(
    reference: Reference,
    days: Mapping[int, Window],
    threshold: float | None,
    settings: MonitoringSection,
    positive_weight: float | None = 1.0,
) -> Analysis:
    """Return what days (numbered since 1970, at least one) say, against a version's reference.

    The odds of a score of two classes are ``positive_weight`` times those of a probability; None:
    the scores tell nothing about calibration.
    """
    whole = _summed(reference, [days[day] for day in sorted(days)])
    selected = reference.task == "binary" and is_selected(whole)
    against = Against(reference, threshold, settings.performance, selected, positive_weight)
    months = [_month(name, own, against, settings) for name, own in by_month(days).items()]
    distances, limit, worse = _distances(reference, months, settings)
    expected = _shares(_expected(reference, threshold))
    found = Analysis(
        reference,
        threshold,
        selected,
        whole,
        tuple(months),
        tuple(_rolling(days, against)),
        expected,
        tuple(distances),
        limit,
        (),
    )
    return replace(found, findings=tuple(_findings(found, worse, settings)))


def _summed(reference: Reference, windows: Sequence[Window]) -> Window:
    return reduce(add, windows, Window.empty(reference))


def _month(
    name: str, days: dict[int, Window], against: Against, settings: MonitoringSection
) -> Month:
    reference = against.reference
    window = _summed(reference, list(days.values()))
    calendar = {int(str(_date(day))[5:7]) for day in days}
    return Month(
        name,
        window,
        tuple(feature_drifts(reference, window, calendar, settings.drift)),
        score_drift(reference, window, settings.drift),
        _shares(window.scores.sum(axis=1)),
        performance(window, against),
    )


def _date(day: int) -> np.datetime64:
    return np.datetime64(day, "D")


def _shares(counts: np.ndarray) -> tuple[Estimate, ...]:
    total = float(counts.sum())
    return tuple(share(float(one), total) for one in counts)


def _expected(reference: Reference, threshold: float | None) -> np.ndarray:
    """Return how many of the test rows get each decision, by the threshold in force."""
    if threshold is None:
        return np.asarray(reference.scores.sum(axis=(1, 2)))
    below, above = reference.decided(threshold)
    return np.array([below.sum(), above.sum()])


def _rolling(days: Mapping[int, Window], against: Against) -> list[tuple[str, Performance]]:
    """Return the performance of each week that ends with a day that has rows.

    A week is only shown, so it needs fewer labels than a month, which can raise an alarm.
    """
    least = against.settings.min_of_a_class
    few = replace(against, settings=against.settings.model_copy(update={"min_rows": least}))
    found = []
    for day in sorted(days):
        own = [days[d] for d in range(day - ROLLING_DAYS + 1, day + 1) if d in days]
        week = _summed(against.reference, own)
        found.append((str(_date(day)), performance(week, few, WEEK_RESAMPLES)))
    return found


# ---------------------------------------------------------------- alarms


def _distances(
    reference: Reference, months: Sequence[Month], settings: MonitoringSection
) -> tuple[list[float], float, bool]:
    """Return by how much each month's headline metric is worse, the limit, whether it alarms."""
    known = next((m.performance for m in reversed(months) if m.performance.figures), None)
    if known is None:
        return [np.nan] * len(months), settings.performance.z, False
    metric = HEADLINE[reference.task]
    sign = -1 if metric in LOWER_IS_BETTER else 1

    def signed(one: Estimate) -> Estimate:
        return Estimate(sign * one.value, one.error)

    windows = [signed(m.performance.figures.get(metric, UNKNOWN)) for m in months]
    return worse_windows(signed(known.reference[metric]), windows, settings.performance)


def _findings(found: Analysis, worse: bool, settings: MonitoringSection) -> list[Finding]:
    """Return alarms, then warnings; only the newest month raises any."""
    made = [
        _of_performance(found, worse, settings.performance),
        _of_outcomes(found, settings),
        _of_drift(found),
        *_of_decisions(found, settings),
        _of_features(found),
        _of_score(found),
    ]
    return sorted(filter(None, made), key=lambda one: one.level != ALARM)


def _of_performance(found: Analysis, worse: bool, rule: PerformanceSettings) -> Finding | None:
    if not worse:
        return None
    newest = found.months[-1]
    own, there = (
        p[found.metric] for p in (newest.performance.figures, newest.performance.reference)
    )
    return Finding(
        ALARM,
        "performance",
        f"{found.metric} is {own.value:.3f} in {newest.name}, {there.value:.3f} in the reference: "
        f"worse by {found.distances[-1]:.1f} standard errors (limit {found.limit:.2f}), "
        f"as in {rule.windows} of the last {rule.of} months",
        newest.warning,
    )


def _of_outcomes(found: Analysis, settings: MonitoringSection) -> Finding | None:
    newest = found.months[-settings.outcomes.windows :]
    last = [m.performance.outcome for m in newest if m.performance.outcome is not None]
    if len(last) < settings.outcomes.windows:
        return None
    both = reduce(Outcome.__add__, last)
    if abs(both.distance) <= settings.outcomes.z:
        return None
    return Finding(
        ALARM,
        "outcomes",
        f"{both.observed:,} of {both.rows.sum():,.0f} labelled rows are positive in the last "
        f"{len(last)} months, {both.expected:,.0f} are expected at these scores: "
        f"{both.distance:+.1f} standard errors (limit {settings.outcomes.z:g})",
        found.months[-1].warning,
    )


def _of_drift(found: Analysis) -> Finding | None:
    newest = found.months[-1]
    if not (newest.score.warns and newest.warning):
        return None
    return Finding(
        ALARM,
        "drift",
        f"the scores of {newest.name} changed (stability index {newest.score.index:.3f}), "
        f"and with them {_listed(newest.warning)}",
        newest.warning,
    )


def _of_features(found: Analysis) -> Finding | None:
    newest = found.months[-1]
    if newest.score.warns or not newest.warning:
        return None
    changed = f"changed in {newest.name}: {_listed(newest.warning)}; the scores did not"
    many = len(newest.warning)
    return Finding(
        WARNING, "features", f"{many} feature{'s' * (many > 1)} {changed}", newest.warning
    )


def _of_score(found: Analysis) -> Finding | None:
    newest = found.months[-1]
    if not newest.score.warns or newest.warning:
        return None
    return Finding(
        WARNING,
        "score",
        f"the scores of {newest.name} changed (stability index {newest.score.index:.3f}), "
        "no single feature did",
    )


def _of_decisions(found: Analysis, settings: MonitoringSection) -> list[Finding]:
    """Return a warning where the share of decision 1 differs from that of the test rows."""
    newest = found.months[-1]
    if found.reference.task != "binary" or newest.window.rows < settings.drift.min_rows:
        return []
    own, there = newest.decisions[1], found.expected[1]
    differs = own.value - there.value
    noise = float(np.hypot(own.error, there.error))
    if (
        abs(differs) <= settings.decisions.differs_by
        or abs(differs) <= settings.decisions.z * noise
    ):
        return []
    return [
        Finding(
            WARNING,
            "decisions",
            f"{own.value:.1%} of {newest.name} are decided as class 1, "
            f"{there.value:.1%} of the test rows are",
        )
    ]


def _listed(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
