"""Records to predict: from JSON, JSON Lines or CSV text, checked by the schema, to a table."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import pandas as pd
import pyarrow as pa

from lockstep.data.values import PREDICTION_CSV, column_check, fault, json_values, read_cells
from lockstep.errors import DataError, listed, nearest
from lockstep.problems.schema import Column, Schema
from lockstep.problems.text_tables import EXAMPLES

Record = Mapping[str, Any]
_EXAMPLE = "give a record as in src/models/test_features.json"


@dataclass(frozen=True)
class ParsedRecords:
    """Records as they were written; those of a CSV file are text until a schema gives the types."""

    records: list[dict[str, Any]]
    is_text: bool = False

    def typed(self, schema: Schema) -> list[dict[str, Any]]:
        """Return records with numbers by the schema; other text stays for the check."""
        if not self.is_text:
            return self.records
        names = list(self.records[0])
        numeric = {c.name: c for c in schema.features if c.holds_numbers}
        cells = {name: [record[name] for record in self.records] for name in names}
        for name in numeric.keys() & cells.keys():
            cells[name] = _numbers(numeric[name], cells[name])
        return [dict(zip(names, row, strict=True)) for row in zip(*cells.values(), strict=True)]


def _numbers(column: Column, cells: list[Any]) -> list[Any]:
    found, bad = read_cells(column, pa.array(cells, pa.string()), PREDICTION_CSV)
    read = zip(cells, found.tolist(), bad.tolist(), strict=True)
    return [cell if cell is None or is_bad else number for cell, number, is_bad in read]


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
    return [
        unique_names(list(zip(names, (cell.strip() or None for cell in row), strict=True)))
        for _, row in rows
    ]


def records_to_table(schema: Schema, records: Sequence[Record]) -> pd.DataFrame:
    """Return the features of records that fit, with the tidy table's dtypes and order.

    The first record that does not fit is a DataError that names its number.
    """
    if not records:
        raise DataError("no records: give at least one")
    records = _under_own_names(schema, records)
    names = set(schema.feature_names)
    if any(not isinstance(record, Mapping) or record.keys() != names for record in records):
        _refuse_first(schema, records)
    columns: dict[str, Any] = {}
    for column in schema.features:
        values = column_check(column)(json_values([record[column.name] for record in records]))
        if values is None:
            _refuse_first(schema, records)
        else:
            columns[column.name] = (
                values if column.holds_numbers else pd.Series(values, dtype="str")
            )
    return pd.DataFrame(columns)


def _under_own_names(schema: Schema, records: Sequence[Record]) -> Sequence[Record]:
    """Return records under the schema's names instead of those of the file (aliases).

    A record that has a value under both names keeps the alias, which is refused later.
    """
    names = schema.feature_aliases
    if not any(isinstance(r, Mapping) and names.keys() & r.keys() for r in records):
        return records
    return [
        {names[k] if k in names and names[k] not in r else k: value for k, value in r.items()}
        if isinstance(r, Mapping)
        else r
        for r in records
    ]


def _refuse_first(schema: Schema, records: Sequence[Record]) -> NoReturn:
    for number, record in enumerate(records, start=1):
        check_record(schema, record, f"record {number}" if len(records) > 1 else "the record")
    raise AssertionError("the check of columns refused what the check of values passes")


def check_record(schema: Schema, record: Record, where: str = "the record") -> None:
    """Raise a DataError that lists what a record misses, has too much, or has out of bounds.

    Every feature must be there; None (or NaN) is a missing value where the schema allows one.
    2.0 passes for the code 2, the text "2" does not.
    """
    if not isinstance(record, Mapping):
        raise DataError(
            f"{where} is no object of feature names and values; give one like the input example"
        )
    absent = [name for name in schema.feature_names if name not in record]
    extra = [name for name in record if name not in schema.feature_names]
    faults = []
    if absent:
        faults.append(f"missing {', '.join(absent)} (null is allowed where unknown)")
    if extra:
        near = absent or schema.feature_names
        named = listed([f"{name}{nearest(name, near)}" for name in extra], EXAMPLES)
        faults.append(f"no feature is called {named}")
    found = (fault(c, record[c.name]) for c in schema.features if c.name in record)
    faults += [one for one in found if one]
    if faults:
        shown = "; ".join(faults[:EXAMPLES])
        more = f"; and {len(faults) - EXAMPLES} more faults" if len(faults) > EXAMPLES else ""
        raise DataError(f"{where} does not fit {schema.name}: {shown}{more}")
