"""The page at /: a control for each feature, and what the model answers while one moves them.

The page is made from the schema and from counts of rows. What it shows of answers is drawn by
``what_if_page.js`` from those of /explain and /predict.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from lockstep.data.values import range_words
from lockstep.decision.score_scale import PROBABILITY
from lockstep.models.scoring.contributions import phrase_of
from lockstep.models.typical_record import fitting
from lockstep.monitoring.bins import Bins, Counts
from lockstep.monitoring.feature_counts import FeatureCounts
from lockstep.problems.schema import Column, Schema
from lockstep.problems.words import class_words
from lockstep.reports.look import HERE, render
from lockstep.serving.file_addresses import address_of
from lockstep.serving.openapi import example

FIRST = 10
"""How many controls are shown at once; the others are in a section that can be opened."""
STEPS = 200
"""About how many places a slider has."""
_WIDER = 3.0
"""How much wider than the values of the rows a schema's range may be, to be a slider's range."""


def what_if_page(
    schema: Schema,
    typical: Any = None,
    scale: str = PROBABILITY,
    counts: FeatureCounts | None = None,
    order: Sequence[str] = (),
    withheld: bool = False,
) -> str:
    """Return the page of a problem, which begins with the record of ``example``.

    ``scale`` is that of the scores of two classes, ``counts`` says where values lie among the rows,
    and ``order`` is that of the controls, by default the schema's. With ``withheld`` the page has
    no counts and says so: anyone may read it.
    """
    values = example(schema, typical)
    counts = None if withheld else counts
    known = {} if counts is None else counts.features
    names = list(order) or schema.feature_names
    controls = [_control(schema.columns[name], values[name], known.get(name)) for name in names]
    facts = {
        "title": schema.title,
        "unit": schema.unit,
        "begins": _begins(schema, typical),
        "ordered": bool(order),
        "counted": counts,
        "withheld": withheld,
        "first": controls[:FIRST] if len(controls) > FIRST + 2 else controls,
        "more": controls[FIRST:] if len(controls) > FIRST + 2 else [],
        "task": schema.task,
        "facts": _facts(schema, scale, values, controls, counts),
        "charts_address": address_of(HERE / "vega.js"),
    }
    return render("serving/what_if_page.html", facts)


def _begins(schema: Schema, typical: Any) -> str:
    """Return in words what ``example`` is made of."""
    known = len(fitting(schema, typical))
    if not known:
        return "an invented record"
    where = "" if known == len(schema.features) else ", where they are known"
    return f"typical values of the model’s training rows{where}"


def _facts(
    schema: Schema,
    scale: str,
    values: dict[str, Any],
    controls: list[dict[str, Any]],
    counts: FeatureCounts | None,
) -> dict[str, Any]:
    """Return what the script knows: of the answers, of each column, and the record it begins with.

    ``classes`` has the meaning of each code of the target.
    """
    target = schema.columns[schema.target]
    classes = {str(code): meaning for code, meaning in target.codes.items() if meaning}
    return {
        "task": schema.task,
        "positive": schema.positive or (class_words(schema)[1] if schema.task == "binary" else ""),
        "target": target.description or target.name,
        "unit": target.unit,
        "scale": scale,
        "classes": classes,
        "rows": 0 if counts is None else counts.rows,
        "begins": {name: values[name] for name in schema.feature_names},
        "columns": {one["name"]: one["facts"] for one in controls},
    }


def _control(column: Column, value: Any, known: tuple[Bins, Counts] | None) -> dict[str, Any]:
    """Return what the template shows of a feature, and what the script knows of it as ``facts``."""
    about = column.description or column.name
    slider = _slider(column, value, known)
    facts = {
        "about": about,
        "phrase": phrase_of(column),
        "unit": column.unit,
        "number": column.holds_numbers,
        "missing": column.missing,
        "categorical": column.kind == "categorical",
        "codes": _codes(column),
        "low": column.low,
        "high": column.high,
        "integer": column.integer,
        "decimal": bool(column.decimal),
        "range": range_words(column),
        "slider": slider,
        "counts": None if known is None else _counts(*known),
    }
    return {
        "name": column.name,
        "about": about,
        "named": about != column.name,  # a draft's columns are described by their names
        "unit": column.unit,
        "value": "" if value is None else _written(value),
        "missing": column.missing,
        "number": column.holds_numbers,
        "codes": _codes(column),
        "known": [] if known is None or known[0].values is None else known[0].values,
        "slider": slider,
        "takes": _takes(column),
        "facts": {key: fact for key, fact in facts.items() if _says_something(fact)},
    }


def _says_something(fact: Any) -> bool:
    """Tell whether the script needs a fact: a zero is one, though it equals False."""
    return fact is not None and fact is not False and fact != ""


def _codes(column: Column) -> list[tuple[str, str]] | None:
    """Return each code as it is written, with its meaning where that says more."""
    pairs = ((str(code), meaning) for code, meaning in column.codes.items())
    return [(code, "" if meaning == code else meaning) for code, meaning in pairs] or None


def _written(value: Any) -> str:
    return f"{value:.12g}" if isinstance(value, int | float) else str(value)


def _counts(bins: Bins, counts: Counts) -> dict[str, Any]:
    """Return a feature's counts for the script.

    Numbers: ``edges`` between the bins, and ``alone``: the bins that hold one value, their edge.
    """
    told = {"rows": counts[: bins.missing].tolist(), "missing": int(counts[bins.missing])}
    if bins.values is not None:
        return {"values": [_written(value) for value in bins.values], **told}
    pairs = zip(bins.edges, bins.centers[1:], strict=True)
    alone = [place for place, (edge, center) in enumerate(pairs, 1) if edge == center]
    return {"edges": list(bins.edges), "alone": alone, **told}


# ---- sliders --------------------------------------------------------------------------------


def _slider(
    column: Column, value: Any, known: tuple[Bins, Counts] | None
) -> tuple[float, float, float] | None:
    """Return a slider's ends and step; None for codes, texts, and numbers without any range.

    It spans the schema's range, or most values of the rows where that range is much wider.
    """
    if not column.holds_numbers or column.codes or column.kind == "categorical":
        return None
    span = _spanned(known)
    if span is not None and isinstance(value, int | float):
        span = min(span[0], value), max(span[1], value)
    if column.low is not None and column.high is not None:
        whole = column.low, column.high
        narrow = span is None or whole[1] - whole[0] <= _WIDER * (span[1] - span[0])
        span = whole if narrow else span
    if span is None or not span[0] < span[1]:
        return None
    return _stepped(column, *span)


def _spanned(known: tuple[Bins, Counts] | None) -> tuple[float, float] | None:
    """Return the means of the lowest and of the highest bin of a number."""
    if known is None or known[0].values is not None or len(known[0].centers) < 2:
        return None
    return known[0].centers[0], known[0].centers[-1]


def _stepped(column: Column, low: float, high: float) -> tuple[float, float, float]:
    """Return ends that are multiples of a round step, within the schema's range."""
    step = _round_step((high - low) / STEPS)
    if column.integer:
        step = max(1.0, step)
    first, last = math.floor(low / step) * step, math.ceil(high / step) * step
    first = first if column.low is None else max(first, column.low)
    last = last if column.high is None else min(last, column.high)
    return float(f"{first:.12g}"), float(f"{last:.12g}"), step


def _round_step(step: float) -> float:
    """Return the largest of 1, 2, 5 times a power of ten that is not above ``step``."""
    power = 10.0 ** math.floor(math.log10(step))
    times = max(times for times in (1, 2, 5) if times * power <= step * 1.000001)
    return float(f"{times * power:.12g}")


# ---- words ----------------------------------------------------------------------------------


def _takes(column: Column) -> str:
    """Return in words which values a field takes, unless it lists them, and if it may be empty."""
    kind = "whole number" if column.integer else "number" if column.holds_numbers else "text"
    low, high = (None if bound is None else _grouped(bound) for bound in (column.low, column.high))
    ends = f"{low} to {high}" if low and high else f"from {low}" if low else f"up to {high}"
    range_ = ends if low or high else ""
    words = ["" if column.codes else kind, range_, "optional" if column.missing else ""]
    return ", ".join(filter(None, words))


def _grouped(number: float) -> str:
    """Return a number with commas, but for years and others of four digits."""
    return f"{number:.12g}" if abs(number) < 10_000 else f"{number:,.12g}"
