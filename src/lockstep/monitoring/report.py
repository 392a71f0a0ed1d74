"""An analysis as JSON, as Prometheus' text, and as lines for a terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from lockstep.monitoring.analysis import Analysis, Month
from lockstep.monitoring.calibration import Calibration, Reliability
from lockstep.monitoring.drift import FeatureDrift
from lockstep.monitoring.labelled import Performance
from lockstep.monitoring.performance import Estimate


def content(found: Analysis, facts: Mapping[str, Any], notes: list[str]) -> dict[str, Any]:
    """Return everything as plain JSON values; what is not known is null."""
    return {
        **facts,
        "threshold": found.threshold,
        "labels": "of all decisions" if found.selected is None else "of one decision",
        "alarm": bool(found.alarms),
        "findings": [vars(one) for one in found.findings],
        "expected_decisions": [_plain(one.value) for one in found.expected],
        "limit": _plain(found.limit),
        "months": [
            _month(month) | {"distance": _plain(distance)}
            for month, distance in zip(found.months, found.distances, strict=True)
        ],
        "weeks": {day: _performance(one) for day, one in found.rolling if one.figures},
        "judged_month": found.judged.name,
        "reference": {"rows": dict(found.reference.rows)},
        "notes": notes,
    }


def _month(month: Month) -> dict[str, Any]:
    return {
        "month": month.name,
        "rows": month.window.rows,
        "decisions": [_plain(one.value) for one in month.decisions],
        "decisions_by_threshold": [_plain(one.value) for one in month.at_threshold],
        "performance": _performance(month.performance),
        "score": _drift(month.score),
        "features": [_drift(one) for one in month.features],
    }


def _performance(one: Performance) -> dict[str, Any]:
    outcome = one.outcome and {
        "rows": int(one.outcome.rows.sum()),
        "observed": one.outcome.observed,
        "expected": _plain(one.outcome.expected),
        "distance": _plain(one.outcome.distance),
    }
    return {
        "labelled": one.labelled,
        "figures": {name: _estimate(own) for name, own in one.figures.items()},
        "reference": {name: _estimate(own) for name, own in one.reference.items()},
        "outcome": outcome,
        "calibration": one.calibration and _calibration(one.calibration),
        **({"why": one.why} if one.why else {}),
    }


def _calibration(one: Calibration) -> dict[str, Any]:
    """Return the reliability of both sides by bin, and at how many labels they are compared."""

    def side(own: Reliability) -> list[dict[str, Any]]:
        return [
            {"probability": _plain(chance), "rows": int(rows), "hits": int(hits)}
            for chance, rows, hits in zip(own.chance, own.bins, own.hits, strict=True)
            if rows
        ]

    return {"labels": one.rows, "own": side(one.own), "reference": side(one.reference)}


def _estimate(one: Estimate) -> dict[str, Any]:
    return {"value": _plain(one.value), "error": _plain(one.error)}


def _drift(one: FeatureDrift) -> dict[str, Any]:
    numbers = {n: _plain(getattr(one, n)) for n in ("index", "limit", "gap", "p_value", "moved")}
    return {
        "name": one.name,
        "verdict": one.verdict,
        "rows": one.rows,
        "against": one.against,
        **numbers,
        "missing": list(one.missing),
        "other": list(one.other),
        "new": {str(value): many for value, many in one.new.items()},
        **({"why": one.why} if one.why else {}),
    }


def _plain(value: float) -> float | None:
    return float(f"{value:.8g}") if math.isfinite(value) else None


# ---------------------------------------------------------------- for Prometheus


def prometheus(found: Analysis, name: str, version: int | None, seconds: float) -> bytes:
    """Return the newest figures in Prometheus' text format, with the time of analysis.

    Drift and decisions are those of the newest month with enough rows, metrics those of the newest
    one with enough labels: an alert must not end because a month has just begun.
    """
    registry = CollectorRegistry()
    model = {"model": name, "version": str(version or "")}

    def gauge(metric: str, text: str, *labels: str) -> Gauge:
        return Gauge(
            metric, text, [*model, *labels], registry=registry, namespace="lockstep_monitor"
        )

    gauge("timestamp_seconds", "When the log was analysed").labels(*model.values()).set(seconds)
    alarm = gauge("alarm", "1 for each rule that raises an alarm", "rule")
    rules = {one.rule for one in found.alarms}
    for rule in ("performance", "outcomes", "drift"):
        alarm.labels(*model.values(), rule).set(rule in rules)
    newest, judged, labelled_month = found.months[-1], found.judged, found.labelled
    gauge("rows", "Rows of the newest month").labels(*model.values()).set(newest.window.rows)
    labelled = gauge("labelled_rows", "Labelled rows of the newest month")
    labelled.labels(*model.values()).set(newest.performance.labelled)
    index = gauge("stability_index", "Population stability index without chance", "feature")
    changed = gauge("changed", "1 for a feature that changed", "feature")
    for one in (judged.score, *judged.features):
        if math.isfinite(one.index):
            index.labels(*model.values(), one.name).set(one.index)
            changed.labels(*model.values(), one.name).set(one.warns)
    text = "A metric of the newest month with enough labels"
    figure = gauge("performance", text, "metric", "of")
    for of, figures in (
        ("month", labelled_month.performance.figures),
        ("reference", labelled_month.performance.reference),
    ):
        for metric, own in figures.items():
            if math.isfinite(own.value):
                figure.labels(*model.values(), metric, of).set(own.value)
    share = gauge("decision_share", "Share of a decision", "decision", "of")
    for of, shares in (("month", judged.decisions), ("reference", found.expected)):
        for place, own in enumerate(shares):
            if math.isfinite(own.value):
                share.labels(*model.values(), str(place), of).set(own.value)
    return generate_latest(registry)
