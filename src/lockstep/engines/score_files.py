"""What a Spark task does: one Parquet file in, one of the same name out, in bounded memory.

A file of scores appears whole or not at all. Its metadata name the model, the settings and the
input's SHA-256, so that a later run knows which files are done. The same input and model give the
same bytes. Nothing here imports Spark.
"""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet

from lockstep.data.record_columns import ColumnReader
from lockstep.errors import DataError, LockstepError
from lockstep.io import sha256_file, sha256_json, whole_file
from lockstep.models.artifact import read_artifact
from lockstep.models.golden_rows import check_golden, golden_outputs, golden_rows
from lockstep.models.scoring.outcome_columns import outcome_fields, outcomes
from lockstep.models.scoring.prediction import Model

BATCH_ROWS = 50_000
"""How many rows are in memory at once; each batch becomes a row group."""
REJECTED, REASON, DIGEST = "_rejected", "reason", "input_sha256"
_FORMAT = 1
"""Part of the settings' digest; to be raised where the same model would write other bytes."""
_LOADED: dict[str, Model] = {}
"""The model of this process by its digest: loaded once, used by all of the process's tasks."""


@dataclass(frozen=True)
class InputFile:
    """A file to score: its path, its name below the input, its Hive partition's columns."""

    path: str
    name: str
    partition: Mapping[str, str | None]


@dataclass(frozen=True)
class FileScores:
    """What became of one file."""

    name: str
    rows: int = 0
    rejected: int = 0
    was_done: bool = False
    fault: str = ""


@dataclass(frozen=True)
class ShippedModel:
    """A checked model as it travels: skops bytes in place of its pipeline, and what checks them.

    ``code`` is the transformer's source that the digest covers. ``keep`` names the input's columns
    that the output holds; None: all.
    """

    model: Model
    content: bytes
    code: bytes
    golden: tuple[pd.DataFrame, list[Any]]
    keep: tuple[str, ...] | None = None

    @cached_property
    def settings_digest(self) -> str:
        """The SHA-256 of all that decides what is written for an input file."""
        model = self.model
        settings = [model.name, model.version, model.digest, model.threshold, model.costs]
        return sha256_json([_FORMAT, *settings, model.interval, self.keep])

    @cached_property
    def metadata(self) -> dict[str, str]:
        """The metadata of every file of scores."""
        return {
            "model_name": self.model.name,
            "model_version": str(self.model.version or ""),
            "model_digest": self.model.digest or "",
            "settings_digest": self.settings_digest,
        }


def ship(model: Model, content: bytes, code: bytes, keep: Iterable[str] | None) -> ShippedModel:
    """Return a checked model ready to travel; ``content`` and ``code`` are its artifact's bytes."""
    rows = golden_rows(model.schema)
    golden = rows, golden_outputs(model.pipeline, rows)
    names = None if keep is None else tuple(keep)
    return ShippedModel(replace(model, pipeline=None), content, code, golden, names)


def loaded(shipped: ShippedModel) -> Model:
    """Return the model in this process; on loading, digest, types and golden rows are checked."""
    if (key := shipped.settings_digest) not in _LOADED:
        _LOADED.clear()
        _LOADED[key] = replace(shipped.model, pipeline=_load(shipped))
        gc.freeze()  # Spark collects garbage after each task; all these modules would slow that
    return _LOADED[key]


def _load(shipped: ShippedModel) -> Any:
    model = shipped.model
    with tempfile.TemporaryDirectory() as folder:
        file, code = Path(folder, "model.skops"), Path(folder, "code.py")
        file.write_bytes(shipped.content)
        code.write_bytes(shipped.code)
        pipeline = read_artifact(file, model.digest, code)
    check_golden(pipeline, *shipped.golden, f"{model.name} on an executor", model.schema)
    return pipeline


def score_or_fault(shipped: ShippedModel, output: Path, file: InputFile) -> FileScores:
    """Score a file; an expected fault is an answer, as a second attempt repeats it."""
    try:
        return score_file(shipped, output, file)
    except LockstepError as error:
        return FileScores(file.name, fault=str(error))
    except OSError as error:
        what = f"{error.strerror or error}: {error.filename or file.name}"
        return FileScores(file.name, fault=f"{what}; see that executors can write there")


def score_file(shipped: ShippedModel, output: Path, file: InputFile) -> FileScores:
    """Write the scores of one file, unless they are there already."""
    target, rejected = output / file.name, output / REJECTED / file.name
    digest = sha256_file(Path(file.path))
    if found := _done(file.name, target, rejected, shipped.metadata | {DIGEST: digest}):
        return found
    rejected.unlink(missing_ok=True)
    return _write(shipped, file, target, rejected, digest)


def _done(name: str, target: Path, rejected: Path, notes: Mapping[str, str]) -> FileScores | None:
    """Return what became of a file that has its scores; None if they are missing or of another."""
    try:
        known = parquet.read_metadata(target).metadata or {}
    except (FileNotFoundError, pa.ArrowInvalid):
        return None
    found = {key.decode(): value.decode() for key, value in known.items()}
    if any(found.get(key) != value for key, value in notes.items()):
        return None
    rows, bad = int(found["rows"]), int(found["rejected"])
    return None if bad and not rejected.is_file() else FileScores(name, rows, bad, was_done=True)


def _write(
    shipped: ShippedModel, file: InputFile, target: Path, rejected: Path, digest: str
) -> FileScores:
    model = loaded(shipped)
    with ExitStack() as stack:
        source = stack.enter_context(open_parquet(Path(file.path)))
        given = source.schema_arrow
        reader = ColumnReader(model.schema, [*given.names, *file.partition], file.name)
        kept = [name for name in given.names if shipped.keep is None or name in shipped.keep]
        fields = [given.field(name).remove_metadata() for name in kept]
        written = pa.schema([*fields, *outcome_fields(model)], shipped.metadata)
        scores = _Part(stack, target, written)
        scores.open()
        texts = [pa.field(name, pa.string()) for name in (*given.names, REASON)]
        # Opened later, it is in its place before the scores are: these say that all is done.
        rejects = _Part(stack, rejected, pa.schema(texts))
        for first, batch in _batches(source, file):
            cells = _cells(batch, file)
            fits, found = _scored(model, reader, cells, len(batch))
            scores.write([*batch.select(kept).filter(pa.array(fits)).columns, *found])
            rejects.write(_rejected(batch, reader, cells, ~fits, first))
        rows = scores.rows + rejects.rows
        scores.note({DIGEST: digest, "rows": str(rows), "rejected": str(rejects.rows)})
    return FileScores(file.name, rows, rejects.rows)


def _scored(
    model: Model, reader: ColumnReader, cells: Mapping[str, Any], rows: int
) -> tuple[NDArray[np.bool_], list[Any]]:
    """Return which rows fit the schema, and the outcomes of these."""
    features, fits = reader.read(cells, rows)
    if not fits.any():
        return fits, [pa.array([], field.type) for field in outcome_fields(model)]
    fitting = {name: values[fits] for name, values in features.items()}
    return fits, outcomes(model, model.scorer.score(fitting, int(fits.sum())))


def _rejected(
    batch: pa.RecordBatch,
    reader: ColumnReader,
    cells: Mapping[str, Any],
    bad: NDArray[np.bool_],
    first: int,
) -> list[Any]:
    """Return the bad rows of a batch as columns of text, and why each does not fit."""
    mask = pa.array(bad)
    numbers = (np.flatnonzero(bad) + first).tolist()
    refused = {name: column.filter(mask) for name, column in cells.items()}
    reasons = reader.reasons(refused, numbers)
    columns = [_as_text(column) for column in batch.filter(mask).columns]
    return [*columns, pa.array(reasons, pa.string())]


class _Part:
    """A Parquet file that appears whole when the stack closes; opened by its first rows."""

    def __init__(self, stack: ExitStack, path: Path, schema: pa.Schema) -> None:
        self._stack, self._path, self._schema = stack, path, schema
        self._writer: parquet.ParquetWriter | None = None
        self.rows = 0

    def open(self) -> parquet.ParquetWriter:
        """Return the open writer."""
        if self._writer is None:
            part = self._stack.enter_context(whole_file(self._path))
            self._writer = parquet.ParquetWriter(part, self._schema, compression="zstd")
            self._stack.callback(self._writer.close)
        return self._writer

    def write(self, columns: list[Any]) -> None:
        """Write columns as a row group; no rows leave none."""
        batch = pa.record_batch(columns, schema=self._schema)
        if len(batch):
            self.open().write_batch(batch)
            self.rows += len(batch)

    def note(self, metadata: dict[str, str]) -> None:
        """Add metadata to the file."""
        self.open().add_key_value_metadata(metadata)


def open_parquet(path: Path) -> parquet.ParquetFile:
    """Open a Parquet file; a damaged one is a DataError that names it."""
    try:
        return parquet.ParquetFile(path)
    except FileNotFoundError:
        raise DataError(f"{path} is missing; every executor must reach it there") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> DataError:
    what = str(error).splitlines()[0]
    return DataError(f"{path} is no readable Parquet file ({what}); make it again")


def _batches(source: parquet.ParquetFile, file: InputFile) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yield a file's rows in batches, each with the number of its first row, from 1."""
    first = 1
    try:
        for batch in source.iter_batches(BATCH_ROWS, use_threads=False):
            yield first, batch
            first += len(batch)
    except (pa.ArrowInvalid, OSError) as error:
        raise _unreadable(Path(file.path), error) from error


def _cells(batch: pa.RecordBatch, file: InputFile) -> dict[str, Any]:
    """Return a batch's columns by name, and those of the file's partition."""
    own = dict(zip(batch.schema.names, batch.columns, strict=True))
    texts = {name: pa.scalar(value, pa.string()) for name, value in file.partition.items()}
    return own | {name: pa.repeat(value, len(batch)) for name, value in texts.items()}


def _as_text(column: Any) -> Any:
    """Return any column as text, also one that holds lists or bytes."""
    try:
        return column.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        texts = (None if cell is None else str(cell) for cell in column.to_pylist())
        return pa.array(texts, pa.string())
