"""Records from text: JSON, JSON Lines or CSV, as they were written; light, for fast errors."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from typing import Any, NoReturn

from lockstep.errors import DataError, listed

_EXAMPLE = "give a record as in src/models/test_features.json"


@dataclass(frozen=True)
class ParsedRecords:
    """Records as they were written; those of a CSV file are text until a schema gives the types."""

    records: list[dict[str, Any]]
    is_text: bool = False


def parse_records(text: str, where: str) -> ParsedRecords:
    """Read one record, a list of them, JSON Lines or CSV; DataError with the line otherwise."""
    stripped = text.strip().removeprefix("\ufeff")
    if not stripped:
        raise DataError(f"{where} is empty; {_EXAMPLE}")
    if stripped[0] == "[":
        return ParsedRecords(_objects(_json(stripped, where), where))
    if stripped[0] == "{":
        return ParsedRecords(_one_or_lines(stripped, where))
    return ParsedRecords(_from_csv(stripped, where), is_text=True)


def _one_or_lines(text: str, where: str) -> list[dict[str, Any]]:
    """Read a single object; several objects, one below the other, are JSON Lines."""
    try:
        return _objects([_decode(text)], where)
    except json.JSONDecodeError as error:
        if error.msg != "Extra data":
            raise _broken(error, where) from None
    lines = [(n, line) for n, line in enumerate(text.splitlines(), start=1) if line.strip()]
    return _objects([_json(line, f"{where}, line {number}") for number, line in lines], where)


def _objects(content: list[Any], where: str) -> list[dict[str, Any]]:
    for number, record in enumerate(content, start=1):
        if not isinstance(record, dict):
            raise DataError(
                f"{where}: record {number} is a {type(record).__name__}, "
                "not an object of feature names and values"
            )
    if not content:
        raise DataError(f"{where} holds no record; {_EXAMPLE}")
    return content


def _json(text: str, where: str) -> Any:
    try:
        return _decode(text)
    except json.JSONDecodeError as error:
        raise _broken(error, where) from None


def _decode(text: str) -> Any:
    return json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=unique_names)


def _broken(error: json.JSONDecodeError, where: str) -> DataError:
    return DataError(
        f"{where} is no valid JSON: {error.msg} at line {error.lineno}, column {error.colno}"
    )


def _refuse_constant(name: str) -> NoReturn:
    raise DataError(f"{name} is no JSON value; write null where a value is not known")


def unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a record of name and value pairs; DataError where a name stands twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = sorted({name for name in names if names.count(name) > 1})
        raise DataError(f"a record names {listed(twice, 12)} twice; keep one value")
    return found


def _from_csv(text: str, where: str) -> list[dict[str, Any]]:
    """Read CSV with a header line; an empty cell is a missing value."""
    head = text.splitlines()[0]
    separator = max(",;\t", key=head.count)
    lines = list(csv.reader(io.StringIO(text), delimiter=separator))
    header, rows = lines[0], [(n, row) for n, row in enumerate(lines[1:], start=2) if row]
    if len(header) < 2 or not rows:
        raise DataError(
            f"{where} is neither JSON nor CSV with a header line and rows; give one of the two"
        )
    for number, row in rows:
        if len(row) != len(header):
            raise DataError(f"{where}, line {number}: {len(row)} cells under {len(header)} names")
    names = [name.strip() for name in header]
    cells = ([cell.strip() or None for cell in row] for _, row in rows)
    return [unique_names(list(zip(names, row, strict=True))) for row in cells]
