"""Bodies in Arrow's stream or file format, or in Parquet: opened, bounded, read by column.

A small body can describe a huge table: compressed, repeated, or many views of one text. So all
that is unpacked is bounded before it is.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from lockstep.config.settings import LimitsSection
from lockstep.serving.http_request import ARROW_FILE, ARROW_STREAM, PARQUET, Refusal

_FILE_HEAD = b"ARROW1\0\0"
_WORST_RATIO = 4
"""A body may unpack to so many times ``table_bytes``."""
_BATCH_ROWS = 65_536


class TableBody(Protocol):
    """A table that has arrived; nothing is unpacked yet."""

    schema: pa.Schema

    def cells(self, names: Sequence[str]) -> tuple[dict[str, Any], int]:
        """Return columns as one array each, and the number of rows."""


def open_table(body: bytes, kind: bytes, limits: LimitsSection) -> TableBody:
    """Return the table of a body; Refusal 400 if it is none, 413 if it unpacks to too much."""
    with _readable(kind):
        if kind == PARQUET:
            return _named(_Parquet(body, limits))
        content = pa.py_buffer(body)
        if body.startswith(_FILE_HEAD):  # the file format holds a stream, and an index behind it
            content = content.slice(len(_FILE_HEAD))
        return _named(_Arrow(content, kind, limits))


def _named(table: TableBody) -> TableBody:
    """Return a table whose names are readable; a damaged one's are decoded here and fail."""
    _ = table.schema.names
    return table


@contextmanager
def _readable(kind: bytes) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, struct.error, UnicodeDecodeError) as error:
        what = {PARQUET: "Parquet", ARROW_FILE: "Arrow file", ARROW_STREAM: "Arrow stream"}[kind]
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise Refusal(400, f"the body is no readable {what}: {reason}") from None


class _Arrow:
    def __init__(self, content: pa.Buffer, kind: bytes, limits: LimitsSection) -> None:
        self.content, self.kind, self.limits = content, kind, limits
        self.schema = pa.ipc.open_stream(content).schema

    def cells(self, names: Sequence[str]) -> tuple[dict[str, Any], int]:
        with _readable(self.kind):
            unpacked = sum(map(_unpacked_bytes, _messages(self.content)))
            _check_bytes(unpacked, self.limits)
            places = [self.schema.get_field_index(name) for name in names]
            options = pa.ipc.IpcReadOptions(included_fields=places)
            batches = pa.ipc.open_stream(self.content, options=options)
            return _cells(batches, batches.schema, self.limits)


class _Parquet:
    def __init__(self, body: bytes, limits: LimitsSection) -> None:
        self.body, self.limits = body, limits
        self.schema = parquet.ParquetFile(pa.BufferReader(body)).schema_arrow

    def cells(self, names: Sequence[str]) -> tuple[dict[str, Any], int]:
        texts = [name for name in names if _is_text(self.schema.field(name).type)]
        with _readable(PARQUET):
            file = parquet.ParquetFile(pa.BufferReader(self.body), read_dictionary=texts)
            known = file.metadata
            _check_rows(known.num_rows, self.limits)
            groups = (known.row_group(place) for place in range(known.num_row_groups))
            _check_bytes(sum(group.total_byte_size for group in groups), self.limits)
            batches = file.iter_batches(_BATCH_ROWS, columns=list(names), use_threads=False)
            schema = pa.schema([file.schema_arrow.field(name) for name in names])
            return _cells(batches, schema, self.limits)


def _cells(
    batches: Iterator[pa.RecordBatch], schema: pa.Schema, limits: LimitsSection
) -> tuple[dict[str, Any], int]:
    """Return batches as one checked array a column, and their rows."""
    found, rows, texts, checked = [], 0, 0, 0
    for batch in batches:
        checked += batch.nbytes
        _check_work(checked, limits)
        batch.validate(full=True)
        rows += len(batch)
        _check_rows(rows, limits)
        # Before anything is copied: columns may be many views of one text.
        texts += sum(map(_text_bytes, batch.columns))
        _check_bytes(texts, limits)
        if len(batch):
            found.append(batch)
    table = pa.Table.from_batches(found, schema).unify_dictionaries().combine_chunks()
    columns = [column.chunk(0) if column.num_chunks else column for column in table.columns]
    return dict(zip(table.column_names, columns, strict=True)), rows


def _is_text(kind: pa.DataType) -> bool:
    kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return any(is_kind(kind) for is_kind in kinds)


def _check_work(checked: int, limits: LimitsSection) -> None:
    """Refuse many small batches over one large dictionary, which is checked for each of them."""
    if checked > _WORST_RATIO**2 * limits.table_bytes:
        raise Refusal(413, "the table has too many batches for its dictionaries; send larger ones")


def _check_rows(rows: int, limits: LimitsSection) -> None:
    if rows > limits.table_rows:
        fault = f"more than {limits.table_rows:,} records"
        raise Refusal(413, f"{fault}; send fewer at a time")


def _check_bytes(unpacked: int, limits: LimitsSection) -> None:
    most = _WORST_RATIO * limits.table_bytes
    if unpacked > most:
        raise Refusal(413, f"the body unpacks to more than {most:,} bytes; send fewer records")


def _text_bytes(column: Any) -> int:
    """Return how long all texts of a column are together, each counted where it stands."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        if not (pa.types.is_string(kind.value_type) or pa.types.is_large_string(kind.value_type)):
            return 0
        lengths = pc.binary_length(column.dictionary).take(column.indices)
    elif pa.types.is_string_view(kind):
        # A view begins with its length; pyarrow has no kernel for it. That of a null is unchecked.
        views = column.buffers()[1]
        taken = np.frombuffer(views, dtype="<i4")[4 * column.offset :: 4][: len(column)]
        is_there = column.is_valid().to_numpy(zero_copy_only=False)
        return int(taken[is_there].sum(dtype=np.int64))
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
        lengths = pc.binary_length(column)
    else:
        return 0
    return pc.sum(lengths.cast(pa.int64())).as_py() or 0


# ---------------------------------------------------------------- Arrow's messages


def _messages(content: pa.Buffer) -> Iterator[pa.Message]:
    """Yield the messages of a stream; their bodies are still packed."""
    yield from pa.ipc.MessageReader.open_stream(content)


def _unpacked_bytes(message: pa.Message) -> int:
    """Return how many bytes a message's body unpacks to.

    pyarrow tells it only by unpacking. So this reads the message's FlatBuffer, which pyarrow has
    verified: a compressed buffer begins with its length as int64, -1 if it is stored as it is.
    Format: arrow.apache.org/docs/format/Columnar.html, Message.fbs.
    """
    meta = memoryview(message.metadata)
    kind = {"record batch": 0, "dictionary": 6}.get(message.type)
    if kind is None:
        return 0
    table = _at(meta, _at(meta, 0), 8)
    table = table if kind == 0 else _at(meta, table, kind)
    body = memoryview(message.body)
    if not _field(meta, table, 10):  # not compressed
        return len(body)
    vector = _at(meta, table, 8)
    (count,) = struct.unpack_from("<I", meta, vector)
    places = struct.iter_unpack("<qq", meta[vector + 4 : vector + 4 + 16 * count])
    return sum(_unpacked_buffer(body, start, size) for start, size in places)


def _unpacked_buffer(body: memoryview, start: int, size: int) -> int:
    if not size:
        return 0
    (length,) = struct.unpack_from("<q", body, start)
    return size if length < 0 else length


def _field(meta: memoryview, table: int, slot: int) -> int:
    """Return where a table's field is; 0 if it is absent."""
    vtable = table - struct.unpack_from("<i", meta, table)[0]
    (size,) = struct.unpack_from("<H", meta, vtable)
    offset = struct.unpack_from("<H", meta, vtable + slot)[0] if slot < size else 0
    return table + offset if offset else 0


def _at(meta: memoryview, place: int, slot: int | None = None) -> int:
    """Return where the table or vector is that a field, or the place itself, points to."""
    if slot is not None:
        place = _field(meta, place, slot)
        if not place:
            raise struct.error("a message lacks a field")
    return place + struct.unpack_from("<I", meta, place)[0]
