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
    performance,
    selected_of,
)
from lockstep.monitoring.performance import UNKNOWN, Estimate, share
from lockstep.monitoring.reference import Reference
from lockstep.monitoring.window import Window, by_month

ROLLING_DAYS, WEEK_RESAMPLES = 7, 50
BEGUN = 0.5
"""With less than this share of the rows or labels of the month before, a month has only begun."""


@dataclass(frozen=True)
class Month:
    """One calendar month: its counts, drifts, decisions and performance."""

    name: str
    window: Window
    features: tuple[FeatureDrift, ...]
    score: FeatureDrift
    decisions: tuple[Estimate, ...]
    """The share of each decision as it was answered."""
    at_threshold: tuple[Estimate, ...]
    """The share of each decision by the threshold in force, as ``Analysis.expected`` is."""
    performance: Performance

    @property
    def warns(self) -> bool:
        """Whether its scores or a feature changed."""
        return self.score.warns or bool(self.warning)

    @property
    def warning(self) -> tuple[str, ...]:
        """The features that changed."""
        return tuple(one.name for one in self.features if one.warns)


@dataclass(frozen=True)
class Analysis:
    """Everything that a span says about a version."""

    reference: Reference
    threshold: float | None
    selected: int | None
    whole: Window
    months: tuple[Month, ...]
    rolling: tuple[tuple[str, Performance], ...]
    expected: tuple[Estimate, ...]
    """The share of each decision among the test rows, by the threshold in force."""
    distances: tuple[float, ...]
    """By how many standard errors each month's headline metric is worse than the reference's."""
    limit: float
    findings: tuple[Finding, ...]

    judged: Month
    """The month whose drift and decisions count."""
    worse: Month | None
    """The month whose metric is an alarm."""

    @property
    def labelled(self) -> Month:
        """The newest month with enough labels for the metric; without one, the newest."""
        pairs = zip(reversed(self.months), reversed(self.distances), strict=True)
        return next((m for m, distance in pairs if not np.isnan(distance)), self.months[-1])

    @property
    def newest_month(self) -> str:
        """The newest month that says something, as 2026-03."""
        return max(self.judged.name, self.labelled.name)

    @property
    def changed(self) -> tuple[str, ...]:
        """The features that changed: in the judged month, or where alarms are about."""
        named = [name for one in self.alarms for name in one.features]
        return tuple(dict.fromkeys([*self.judged.warning, *named]))

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
    selected = selected_of(whole) if reference.task == "binary" else None
    against = Against(reference, threshold, settings.performance, selected, positive_weight)
    months = [_month(name, own, against, settings) for name, own in by_month(days).items()]
    distances, limit, worse = _distances(reference, months, settings)
    expected = _shares(_by_decision(against, reference.scores))
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
        _judged(months, settings.drift.min_rows),
        worse,
    )
    return replace(found, findings=tuple(_findings(found, settings)))


def _judged(months: Sequence[Month], fewest: int) -> Month:
    """Return the newest month with enough rows; without one, the newest.

    One that has only begun ends no warning of the month before: its limit is higher.
    """
    enough = [month for month in months if month.window.rows >= fewest]
    newest = enough[-1] if enough else months[-1]
    has_begun = newest is months[-1] and _has_begun([month.window.rows for month in enough])
    return enough[-2] if has_begun and not newest.warns else newest


def _has_begun(counts: Sequence[int]) -> bool:
    """Tell whether the last of some counts by month is that of a month that has only begun."""
    return len(counts) > 1 and counts[-1] < BEGUN * counts[-2]


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
        _shares(_by_decision(against, window.scores)),
        performance(window, against),
    )


def _date(day: int) -> np.datetime64:
    return np.datetime64(day, "D")


def _shares(counts: np.ndarray) -> tuple[Estimate, ...]:
    total = float(counts.sum())
    return tuple(share(float(one), total) for one in counts)


def _by_decision(against: Against, counts: np.ndarray) -> np.ndarray:
    """Return how many of counts (decisions, …, bins) get each decision, by the threshold."""
    decided = against.decisions(counts)
    return np.asarray(decided.reshape(len(decided), -1).sum(axis=1))


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
) -> tuple[list[float], float, Month | None]:
    """Return by how much each month's headline metric is worse, the limit, the month that alarms.

    A month of which few labels have come ends no alarm of those before.
    """
    first = next((m.performance for m in reversed(months) if m.performance.figures), None)
    if first is None:
        return [np.nan] * len(months), settings.performance.z, None
    metric = HEADLINE[reference.task]
    sign = -1 if metric in LOWER_IS_BETTER else 1

    def signed(one: Estimate) -> Estimate:
        return Estimate(sign * one.value, one.error)

    windows = [signed(m.performance.figures.get(metric, UNKNOWN)) for m in months]
    there, rule = signed(first.reference[metric]), settings.performance
    distances, limit, worse = worse_windows(there, windows, rule)
    known = [month for month, own in zip(months, windows, strict=True) if own.known]
    if worse:
        return distances, limit, known[-1]
    if _has_begun([month.performance.labelled for month in known]):
        _, before, worse = worse_windows(there, windows[: months.index(known[-1])], rule)
        if worse:
            return distances, before, known[-2]
    return distances, limit, None


def _findings(found: Analysis, settings: MonitoringSection) -> list[Finding]:
    """Return alarms, then warnings; only the newest months that have figures raise any."""
    made = [
        _of_performance(found, settings.performance),
        _of_outcomes(found, settings),
        _of_drift(found),
        *_of_decisions(found, settings),
        _of_features(found),
        _of_score(found),
    ]
    return sorted(filter(None, made), key=lambda one: one.level != ALARM)


def _of_performance(found: Analysis, rule: PerformanceSettings) -> Finding | None:
    worse = found.worse
    if worse is None:
        return None
    distance = found.distances[found.months.index(worse)]
    own, there = (p[found.metric] for p in (worse.performance.figures, worse.performance.reference))
    return Finding(
        ALARM,
        "performance",
        f"{found.metric} is {own.value:.3f} in {worse.name}, {there.value:.3f} in the reference: "
        f"worse by {distance:.1f} standard errors (limit {found.limit:.2f}), "
        f"as in {rule.windows} of the last {rule.of} months with enough labels",
        worse.warning,
    )


def _of_outcomes(found: Analysis, settings: MonitoringSection) -> Finding | None:
    known = [(m, m.performance.outcome) for m in found.months if m.performance.outcome is not None]
    last = known[-settings.outcomes.windows :]
    if len(last) < settings.outcomes.windows:
        return None
    newest, both = last[-1][0], reduce(Outcome.__add__, (outcome for _, outcome in last))
    if abs(both.distance) <= settings.outcomes.z:
        return None
    return Finding(
        ALARM,
        "outcomes",
        f"{both.observed:,} of {both.rows.sum():,.0f} labelled rows are positive in the last "
        f"{len(last)} months with enough labels (to {newest.name}), {both.expected:,.0f} are "
        f"expected at these scores: {both.distance:+.1f} standard errors "
        f"(limit {settings.outcomes.z:g})",
        newest.warning,
    )


def _of_drift(found: Analysis) -> Finding | None:
    newest = found.judged
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
    newest = found.judged
    if newest.score.warns or not newest.warning:
        return None
    changed = f"changed in {newest.name}: {_listed(newest.warning)}; the scores did not"
    many = len(newest.warning)
    return Finding(
        WARNING, "features", f"{many} feature{'s' * (many > 1)} {changed}", newest.warning
    )


def _of_score(found: Analysis) -> Finding | None:
    newest = found.judged
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
    newest = found.judged
    if found.reference.task != "binary" or newest.window.rows < settings.drift.min_rows:
        return []
    own, there = newest.at_threshold[1], found.expected[1]
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
            f"{own.value:.1%} of {newest.name} have a score from the threshold on, "
            f"{there.value:.1%} of the test rows have",
        )
    ]


def _listed(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
