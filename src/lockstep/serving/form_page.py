"""The page at /: one self-contained HTML file with a form made from the schema."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from lockstep.problems.schema import Column, Schema
from lockstep.serving.openapi import example

_PAGE = Path(__file__).with_suffix(".html")


def form_page(schema: Schema, given: Mapping[str, Any] | None = None) -> str:
    """Return the page of a problem: one field a feature, filled with an example of a record."""
    values = example(schema) if given is None else given
    fields = "\n".join(_field(column, values[column.name]) for column in schema.features)
    content = {"@TITLE@": escape(schema.title), "@UNIT@": escape(schema.unit), "@FIELDS@": fields}
    text = _PAGE.read_text(encoding="utf-8")
    for mark, value in content.items():
        text = text.replace(mark, value)
    return text


def _field(column: Column, value: Any) -> str:
    unit = f" ({escape(column.unit)})" if column.unit else ""
    label = f"{escape(column.description or column.name)}{unit}"
    kind = "number" if column.holds_numbers else "text"
    name = f'name="{escape(column.name)}" data-kind="{kind}"'
    if column.codes:
        control = f"<select {name}>{_options(column, value)}</select>"
    else:
        shown = "" if value is None else escape(str(value))
        control = f'<input {name} {_input_type(column)} value="{shown}">'
    return f'<label>{label}{control}<span class="fault"></span></label>'


def _options(column: Column, value: Any) -> str:
    options = ['<option value="">unknown</option>'] if column.missing else []
    for code, meaning in column.codes.items():
        chosen = " selected" if code == value else ""
        shown = escape(f"{code}: {meaning}" if meaning else str(code))
        options.append(f'<option value="{escape(str(code))}"{chosen}>{shown}</option>')
    return "".join(options)


def _input_type(column: Column) -> str:
    if not column.holds_numbers:
        return 'type="text"'
    bounds = {"min": column.low, "max": column.high}
    limits = [f' {key}="{bound:g}"' for key, bound in bounds.items() if bound is not None]
    return f'type="number" step="{1 if column.integer else "any"}"{"".join(limits)}'
