"""The page at /: one HTML file without anything from elsewhere, its form made from the schema."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

from lockstep.problems.schema import Column, Schema
from lockstep.serving.openapi import example

_PAGE = Path(__file__).with_suffix(".html")


def page(schema: Schema) -> str:
    """Return the page for a problem: a field a feature, filled with an example."""
    values = example(schema)
    fields = "\n".join(_field(column, values[column.name]) for column in schema.features)
    told = {"@TITLE@": escape(schema.title), "@UNIT@": escape(schema.unit), "@FIELDS@": fields}
    text = _PAGE.read_text(encoding="utf-8")
    for mark, value in told.items():
        text = text.replace(mark, value)
    return text


def _field(column: Column, value: Any) -> str:
    unit = f" ({escape(column.unit)})" if column.unit else ""
    label = f"{escape(column.description or column.name)}{unit}"
    control = _choice(column, value) if column.codes else _entry(column, value)
    return f'<label>{label}{control}<span class="fault"></span></label>'


def _kind(column: Column) -> str:
    return "number" if column.holds_numbers else "text"


def _choice(column: Column, value: Any) -> str:
    options = ['<option value="">unknown</option>'] if column.missing else []
    for code, meaning in column.codes.items():
        chosen = " selected" if code == value else ""
        shown = escape(f"{code}: {meaning}" if meaning else str(code))
        options.append(f'<option value="{escape(str(code))}"{chosen}>{shown}</option>')
    return f'<select name="{escape(column.name)}" data-kind="{_kind(column)}">{"".join(options)}</select>'


def _entry(column: Column, value: Any) -> str:
    bounds = (("min", column.low), ("max", column.high))
    told = "".join(
        f' {key}="{bound:g}"' for key, bound in bounds if bound is not None and column.holds_numbers
    )
    kind = (
        f'type="number" step="{1 if column.integer else "any"}"'
        if column.holds_numbers
        else 'type="text"'
    )
    return f'<input name="{escape(column.name)}" {kind}{told} value="{escape(str(value))}" data-kind="{_kind(column)}">'
