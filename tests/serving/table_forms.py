"""Tables in each form that the API takes."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from lockstep.serving.http_request import ARROW_FILE, ARROW_STREAM, PARQUET


def stream(table: pa.Table, **options: Any) -> bytes:
    """Return a table in Arrow's stream format."""
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as to:
        to.write_table(table)
    return sink.getvalue()


def file(table: pa.Table) -> bytes:
    """Return a table in Arrow's file format."""
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, table.schema) as to:
        to.write_table(table)
    return sink.getvalue()


def in_parquet(table: pa.Table) -> bytes:
    """Return a table as Parquet."""
    sink = io.BytesIO()
    parquet.write_table(table, sink)
    return sink.getvalue()


FORMS = {ARROW_STREAM: stream, ARROW_FILE: file, PARQUET: in_parquet}


def tables_of(record: Mapping[str, Any]) -> dict[str, bytes]:
    """Return a record as a table in each form, by content type."""
    table = pa.Table.from_pylist([dict(record)])
    return {kind.decode(): form(table) for kind, form in FORMS.items()}
