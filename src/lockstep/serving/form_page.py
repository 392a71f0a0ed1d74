"""The page at /: one self-contained HTML file with a form made from the schema."""

from __future__ import annotations

import json
import re
from html import escape
from pathlib import Path
from typing import Any

from lockstep.decision.score_scale import PROBABILITY
from lockstep.models.typical_record import fitting
from lockstep.problems.schema import Column, Schema
from lockstep.serving.openapi import example

_PAGE = Path(__file__).with_suffix(".html")


def form_page(schema: Schema, typical: Any = None, scale: str = PROBABILITY) -> str:
    """Return the page of a problem: one field a feature, filled with ``example``.

    ``scale`` is that of the scores of two classes, so that the page says what an answer means.
    """
    values = example(schema, typical)
    content = {
        "TITLE": escape(schema.title),
        "UNIT": escape(schema.unit),
        "FIELDS": "\n".join(_field(column, values[column.name]) for column in schema.features),
        "MEANING": _meaning(schema, scale),
        "BEGINS": _begins(schema, typical),
    }
    text = _PAGE.read_text(encoding="utf-8")
    return re.sub("@([A-Z]+)@", lambda mark: content[mark[1]], text)


def _begins(schema: Schema, typical: Any) -> str:
    """Return in words what ``example`` is made of."""
    known = len(fitting(schema, typical))
    if not known:
        return "an invented record"
    where = "" if known == len(schema.features) else ", where they are known"
    return f"typical values of the model’s training rows{where}"


def _meaning(schema: Schema, scale: str) -> str:
    """Return attributes that say what answers mean: of which class, on which scale, in which unit.

    ``data-classes`` has the meaning of each code of the target.
    """
    target = schema.columns[schema.target]
    classes = {str(code): meaning for code, meaning in target.codes.items() if meaning}
    facts = {
        "positive": schema.positive or next(reversed(classes.values()), ""),
        "target": target.description or target.name,
        "unit": target.unit,
        "scale": scale,
        "classes": json.dumps(classes, ensure_ascii=False),
    }
    return " ".join(f'data-{name}="{escape(text)}"' for name, text in facts.items())


def _field(column: Column, value: Any) -> str:
    """Return a field: label with unit, control, what it takes, and room for a fault."""
    name = escape(column.name)
    about = escape(column.description or column.name)
    is_named = about == name  # a draft's columns are described by their names
    kind, shown = ("", "") if is_named else (' class="words"', f"<code>{name}</code> ")
    unit = f" ({escape(column.unit)})" if column.unit else ""
    key, hint, fault = (f"{part}-{name}" for part in ("field", "hint", "fault"))
    control = _control(column, value, f'id="{key}" aria-describedby="{hint} {fault}"')
    return (
        f'<div class="field"><label for="{key}"{kind}><span class="about">{about}</span>{unit}'
        f"</label>{control}"
        f'<span class="hint" id="{hint}">{shown}{_takes(column)}</span>'
        f'<span class="fault" id="{fault}"></span></div>'
    )


def _control(column: Column, value: Any, more: str) -> str:
    kind = "number" if column.holds_numbers else "text"
    needed = "" if column.missing else " required"
    name = f'name="{escape(column.name)}" data-kind="{kind}" {more}{needed}'
    if column.codes:
        return f"<select {name}>{_options(column, value)}</select>"
    shown = "" if value is None else escape(str(value))
    return f'<input {name} {_input_type(column)} value="{shown}">'


def _options(column: Column, value: Any) -> str:
    options = ['<option value="">not known</option>'] if column.missing else []
    for code, meaning in column.codes.items():
        chosen = " selected" if str(code) == str(value) else ""
        shown = escape(str(code) if meaning in ("", str(code)) else f"{code}: {meaning}")
        options.append(f'<option value="{escape(str(code))}"{chosen}>{shown}</option>')
    return "".join(options)


def _input_type(column: Column) -> str:
    if not column.holds_numbers:
        return 'type="text"'
    bounds = {"min": column.low, "max": column.high}
    limits = [f' {key}="{bound:.12g}"' for key, bound in bounds.items() if bound is not None]
    return f'type="number" step="{1 if column.integer else "any"}"{"".join(limits)}'


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
