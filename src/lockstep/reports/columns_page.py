"""The page of all columns, from the schemas of the problems."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lockstep.checks import markdown_table
from lockstep.problems.schema import Column, Derived, Schema

MOST_CODES = 30
"""Codes of a column that its row shows."""
_LARGE = 10_000
"""From it on numbers have thousands separators; years have none."""
_HEAD = """\
# Columns

`make columns` writes this page from the schemas, `src/lockstep/problems/NAME/schema.yaml`. The
API, the encoder and the checks of every table read the same files.
"""
_ROLES = {
    "target": "target",
    "group": "group: its rows stay together in every split",
    "id": "row id",
    "date": "date: splits by time go by it",
    "part": "the source's own split",
    "truth": "the generator's true probability or value, of a sample only",
}


def columns_page(schemas: Sequence[Schema]) -> str:
    """Return the page in Markdown: for each problem its columns, then the derived ones."""
    return "\n".join([_HEAD, *map(_section, schemas)])


def _section(schema: Schema) -> str:
    rows = [_row(column) for column in schema.columns.values()]
    lines = [f"## {schema.name}", "", f"{schema.title}. Each row: {schema.unit}.", ""]
    lines += markdown_table(rows)
    if schema.derived:
        derived = [_derived_row(one) for one in schema.derived]
        lines += ["", f"Derived columns of {schema.name}:", "", *markdown_table(derived)]
    return "\n".join([*lines, ""])


def _row(column: Column) -> dict[str, str]:
    return {
        "column": f"`{column.name}`",
        "kind": column.kind if column.is_feature else _ROLES[column.kind],
        "values": values_of(column),
        "notes": ", ".join(_notes(column)),
        "description": column.description,
    }


def _notes(column: Column) -> Iterator[str]:
    if column.missing:
        yield "may be missing"
    if column.slice:
        yield "slice of the gates"
    if column.monotone:
        yield f"a higher value never {'lowers' if column.monotone > 0 else 'raises'} the score"
    if column.is_feature and not column.encode:
        yield "only derived columns use it"


def values_of(column: Column) -> str:
    """Return a column's codes with their meanings, or its range with its unit."""
    if column.codes:
        named = [
            f"{code} {meaning}" if str(code) != meaning else str(code)
            for code, meaning in column.codes.items()
        ]
        more = len(named) - MOST_CODES
        return "; ".join([*named[:MOST_CODES], *([f"and {more} more"] if more > 0 else [])])
    unit = f"({column.unit})" if column.unit else ""
    whole = "whole number" if column.integer and column.kind == "numeric" else ""
    return ", ".join(part for part in (f"{_range(column)} {unit}".strip(), whole) if part)


def _range(column: Column) -> str:
    low, high = (None if end is None else _number(end) for end in (column.low, column.high))
    if low is None:
        return "" if high is None else f"up to {high}"
    return f"from {low}" if high is None else f"{low} to {high}"


def _number(value: float) -> str:
    return f"{value:,.12g}" if abs(value) >= _LARGE else f"{value:.12g}"


def _derived_row(derived: Derived) -> dict[str, str]:
    of = ", ".join(f"`{name}`" for name in derived.of)
    options = ", ".join(f"{key} {value}" for key, value in derived.options.items())
    kind = f"{derived.kind} ({options})" if options else derived.kind
    return {
        "derived column": f"`{derived.name}`",
        "kind": kind,
        "of": of,
        "description": derived.description,
    }
