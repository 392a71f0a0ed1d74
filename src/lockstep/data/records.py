"""Records to predict: checked by the schema, to a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import pandas as pd
import pyarrow as pa

from lockstep.data.record_text import ParsedRecords
from lockstep.data.values import PREDICTION_CSV, column_check, fault, json_values, read_cells
from lockstep.errors import DataError, listed, nearest
from lockstep.problems.schema import Column, Schema
from lockstep.problems.text_tables import EXAMPLES

Record = Mapping[str, Any]


def typed_records(parsed: ParsedRecords, schema: Schema) -> list[dict[str, Any]]:
    """Return records with numbers by the schema; other text stays for the check."""
    if not parsed.is_text:
        return parsed.records
    names = list(parsed.records[0])
    numeric = {c.name: c for c in schema.features if c.holds_numbers}
    cells = {name: [record[name] for record in parsed.records] for name in names}
    for name in numeric.keys() & cells.keys():
        cells[name] = _numbers(numeric[name], cells[name])
    return [dict(zip(names, row, strict=True)) for row in zip(*cells.values(), strict=True)]


def _numbers(column: Column, cells: list[Any]) -> list[Any]:
    found, bad = read_cells(column, pa.array(cells, pa.string()), PREDICTION_CSV)
    read = zip(cells, found.tolist(), bad.tolist(), strict=True)
    return [cell if cell is None or is_bad else number for cell, number, is_bad in read]


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
        columns[column.name] = values if column.holds_numbers else pd.Series(values, dtype="str")
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
