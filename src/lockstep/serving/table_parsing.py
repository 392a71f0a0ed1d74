"""Bodies that are tables, Arrow or Parquet, to checked columns; every fault is named as in JSON.

A cell means what it means in a Parquet file to predict: ``data.record_columns`` reads it. All
work is done column by column; only rows that do not fit become records, to name their faults.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from lockstep.data.coded_texts import CodedTexts
from lockstep.data.record_columns import ColumnReader, Values, numbers_that_fit
from lockstep.data.record_text import unique_names
from lockstep.data.values import column_check, json_values
from lockstep.errors import DataError
from lockstep.problems.schema import Column, Schema
from lockstep.serving.http_request import Refusal
from lockstep.serving.request_parsing import MOST_FAULTS, RecordReader, joined_records
from lockstep.serving.table_bodies import TableBody

_PLAIN = (
    pa.types.is_integer,
    pa.types.is_floating,
    pa.types.is_boolean,
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_string_view,
    pa.types.is_decimal,
    pa.types.is_date,
    pa.types.is_timestamp,
    pa.types.is_null,
)
"""What the values of a column may be; also of one that is dictionary-encoded."""


@dataclass(frozen=True)
class ReadTable:
    """Checked rows as columns; ``ignored`` are the names of columns that are no features."""

    columns: dict[str, Values]
    rows: int
    ignored: tuple[str, ...] = ()


class TableReader:
    """Reads tables of one problem. Built once from the schema, beside the reader of JSON."""

    def __init__(self, records: RecordReader) -> None:
        self.schema, self._records = records.schema, records
        self._rows = records.row_reader

    def read(self, body: TableBody) -> ReadTable:
        """Return a table's features as columns.

        Raises Refusal: 400 for a body that is not readable, 413 for one too large, 422 for columns
        and values that do not fit, each fault as ``RecordReader`` has it.
        """
        names = body.schema.names
        ignored = self._check_names(names)
        used = [name for name in names if name not in ignored]
        self._check_types(body.schema, used)
        cells, rows = body.cells(used)
        if not rows:
            raise Refusal(422, "no records: send at least one")
        columns, faults = self._read(cells, rows)
        if faults.any():
            raise self._refusal(cells, faults)
        return ReadTable(columns, rows, ignored)

    def _read(self, cells: dict[str, Any], rows: int) -> tuple[dict[str, Values], Any]:
        try:
            return ColumnReader(self.schema, list(cells), "the table").read_counted(cells, rows)
        except DataError as error:  # a value that its type can't hold as text
            raise Refusal(422, str(error)) from None

    def _check_names(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return the columns that are no features; Refusal for missing, unknown and double ones."""
        try:
            unique_names([(name, None) for name in names])
        except DataError as error:
            raise Refusal(400, str(error)) from None
        known = self._rows.names_of(tuple(names))
        # as if in a record: only its names are looked at
        row = dict.fromkeys([own for _, own in known.kept] + [c.name for c, _ in known.made])
        faults = list(self._records.name_faults(row))
        if faults:
            raise self._records.refusal_of(faults, len(faults), "the table")
        return tuple(known.ignored)

    def _check_types(self, schema: pa.Schema, used: Sequence[str]) -> None:
        faults = [
            {
                "field": name,
                "value": None,
                "message": f"{name} holds {schema.field(name).type}, no single values; "
                "write it as text",
                "allowed": "numbers, texts or booleans",
            }
            for name in used
            if not _is_plain(schema.field(name).type)
        ]
        if faults:
            raise self._records.refusal_of(faults, len(faults), "the table")

    def _refusal(self, cells: dict[str, Any], faults: Any) -> Refusal:
        """Return the refusal of rows that do not fit: the first faults in full, all counted."""
        places = np.flatnonzero(faults)
        some = pa.array(places[:MOST_FAULTS])
        reader = ColumnReader(self.schema, list(cells), "the table")
        records = reader.records({name: column.take(some) for name, column in cells.items()})
        return self._records.refusal(
            records, (places[:MOST_FAULTS] + 1).tolist(), int(faults.sum())
        )


def _is_plain(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
        # The length of its texts is not known before they are copied, and nobody writes it.
        if pa.types.is_string_view(kind):
            return False
    return any(is_kind(kind) for is_kind in _PLAIN)


# ---------------------------------------------------------------- what the prediction log keeps


def logged_table(schema: Schema, read: ReadTable) -> bytes:
    """Return checked columns as an Arrow stream, for the prediction log.

    Only features are in it, under the schema's names; missing values are null.
    """
    arrays = [_array(read.columns[name]) for name in schema.feature_names]
    batch = pa.record_batch(arrays, names=schema.feature_names)
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with pa.ipc.new_stream(sink, batch.schema, options=options) as writer:
        writer.write_batch(batch)
    return sink.getvalue().to_pybytes()


def _array(values: Values) -> pa.Array:
    if not isinstance(values, CodedTexts):
        return pa.array(values, pa.float64(), from_pandas=True)
    # a missing value has a place, too: its text is null
    return pa.DictionaryArray.from_arrays(
        pa.array(values.places, pa.int32()), pa.array(values.values, pa.string())
    )


def is_table(records: bytes) -> bool:
    """Tell whether the records of a log's entry are an Arrow stream, not JSON."""
    return records.startswith(b"\xff\xff\xff\xff")


def logged_records(records: bytes) -> list[dict[str, Any]]:
    """Return the records of a log's entry, be they JSON or a table."""
    if is_table(records):
        with pa.ipc.open_stream(records) as reader:
            return list(reader.read_all().to_pylist())
    content = orjson.loads(records.removeprefix(b"\xef\xbb\xbf"))
    return content if isinstance(content, list) else [content]


class LoggedReader:
    """Reads the records of log entries back into columns, checked by a reader's schema."""

    def __init__(self, reader: RecordReader) -> None:
        self.schema, self._json = reader.schema, reader
        self._rows = reader.row_reader

    def columns(self, records: Sequence[bytes], rows: Sequence[int]) -> dict[str, NDArray[Any]]:
        """Return all records of entries as columns, entries in order; Refusal if any don't fit."""
        parts: list[dict[str, Any]] = []
        begun = 0
        for tables, group in groupby(records, is_table):
            some = list(group)
            many = sum(rows[begun : begun + len(some)])
            begun += len(some)
            if tables:
                parts += map(self._table_columns, some)
            else:
                parts.append(self._json.read(joined_records(some), many).columns)
        if len(parts) == 1:
            return parts[0]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _table_columns(self, records: bytes) -> dict[str, NDArray[Any]]:
        with pa.ipc.open_stream(records) as reader:
            table = reader.read_all().combine_chunks()
        kept = {own: name for name, own in self._rows.names_of(tuple(table.column_names)).kept}
        columns = {}
        for column in self.schema.features:
            values = None
            if column.name in kept:
                values = _logged_values(column, table[kept[column.name]].chunk(0))
            if values is None:
                raise Refusal(422, f"a logged row does not fit {self.schema.name}")
            columns[column.name] = values
        return columns


def _logged_values(column: Column, given: Any) -> NDArray[Any] | None:
    """Return what a column of ``logged_table`` holds; None where a value does not fit.

    These are values, not cells: a number among them means itself, as in JSON.
    """
    if column.holds_numbers and not column.codes and pa.types.is_float64(given.type):
        numbers, good = numbers_that_fit(column, given)
        return numbers if good.all() else None
    coded = given if pa.types.is_dictionary(given.type) else given.dictionary_encode()
    values = [*coded.dictionary.to_pylist(), None]
    places = coded.indices.cast(pa.int64()).fill_null(len(values) - 1)
    used, rows = np.unique(places.to_numpy(zero_copy_only=False), return_inverse=True)
    known = column_check(column)(json_values([values[place] for place in used.tolist()]))
    return None if known is None else known[rows]
