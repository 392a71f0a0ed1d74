"""Raw files to encoded matrices: a task a piece of the source, then a task a chunk of rows."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, reduce
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pyspark.sql import SparkSession

from lockstep.config.layout import PARTS
from lockstep.config.params import Preprocess, Problem
from lockstep.data.checks import Checked, judge, part_table, refuse_empty
from lockstep.data.preprocess import missing_values, quality_of, read_source
from lockstep.engines.chunks import (
    CHUNK_ROWS,
    FOLD,
    PART,
    Chunk,
    chunks_of,
    write_chunks,
    write_known,
)
from lockstep.engines.learning import Learned, learn
from lockstep.engines.tasks import run_tasks
from lockstep.features.columns_v1 import ColumnEncoder
from lockstep.features.encoder import input_columns
from lockstep.features.matrices import check_parts, classes_of, encoded_target, encoding
from lockstep.features.matrix_columns import CLASSES, GROUP, ROW, TARGET, TRUTH
from lockstep.features.split import feature_hashes, group_codes, split_rows
from lockstep.io import read_parquet, write_parquet
from lockstep.problems.schema import Schema
from lockstep.problems.shares import added


@dataclass(frozen=True)
class Piece:
    """What a task says of the piece of the source that it wrote as tidy rows."""

    path: Path
    checked: Checked
    counts: dict[str, int]
    missing: dict[str, int]
    first: Any = None
    last: Any = None
    """The order of its first and last row: date, group, id; None for a piece without rows."""


@dataclass(frozen=True)
class Rows:
    """What the driver holds of all rows: about forty bytes each."""

    table: pd.DataFrame
    """Target, and where the problem has them date, group, part and true probability."""
    parts: pd.Series
    classes: list[Any]
    target: np.ndarray
    group: np.ndarray

    def by_part(self, columns: dict[str, np.ndarray]) -> dict[str, pd.DataFrame]:
        """Return some columns of the rows of each part."""
        table, parts = pd.DataFrame(columns), self.parts.to_numpy()
        return {part: table[parts == part] for part in PARTS}

    @property
    def training(self) -> np.ndarray:
        """Which rows are training rows."""
        return (self.parts == "train").to_numpy()


# ---------------------------------------------------------------- raw files to tidy rows


def write_tidy(
    spark: SparkSession,
    raw: Path,
    kind: str,
    schema: Schema,
    rules: Preprocess,
    into: Path,
    chunk_rows: int = CHUNK_ROWS,
) -> dict[str, Any]:
    """Write the tidy table as one file a piece of the source; return its quality figures.

    Shares of faulty rows are judged over all pieces together.
    """
    write = partial(_write_piece, raw, kind, schema, rules, into, chunk_rows)
    pieces = run_tasks(spark, write, list(enumerate(_pieces_of(raw, kind, schema, rules))))
    if not _in_order(pieces):
        pieces = run_tasks(spark, write, [(0, None)])
        for path in into.iterdir():
            if path != pieces[0].path:
                path.unlink()
    checked = reduce(_merged, (piece.checked for piece in pieces))
    checked.table = read_parquet(into, _known_columns(schema))
    judge(checked, checked.table[schema.target].drop_duplicates(), schema, rules)
    counts = reduce(_summed, (piece.counts for piece in pieces))
    missing = reduce(_summed, (piece.missing for piece in pieces))
    order = [name for name in schema.columns if name in missing]
    return quality_of(checked, counts, {name: missing[name] for name in order}, schema)


def _pieces_of(raw: Path, kind: str, schema: Schema, rules: Preprocess) -> list[Any]:
    """Return the pieces in which the problem's own loader can read its source; None: the whole."""
    name = f"lockstep.problems.{schema.name}.raw"
    if kind == "table" or importlib.util.find_spec(name) is None or rules.duplicates == "drop":
        return [None]
    pieces: Callable[[Path], list[Any]] | None = getattr(
        importlib.import_module(name), "pieces", None
    )
    return pieces(raw) if pieces else [None]


def _write_piece(
    raw: Path,
    kind: str,
    schema: Schema,
    rules: Preprocess,
    into: Path,
    chunk_rows: int,
    numbered: tuple[int, Any],
) -> Piece:
    """Read one piece of the source, write its tidy rows, return its counts."""
    number, piece = numbered
    if piece is None:
        read = read_source(raw, kind, schema, mark_copies=rules.duplicates == "drop")
        refuse_empty(schema, read)
    else:
        module = importlib.import_module(f"lockstep.problems.{schema.name}.raw")
        read = module.read_piece(raw, piece)
    checked = part_table(schema, read, rules)
    path = into / f"rows-{number:04d}.parquet"
    write_chunks(path, checked.table, chunk_rows)
    places = (0, -1) if len(checked.table) else ()
    ends = [_order_of(checked.table.iloc[place], schema) for place in places]
    missing = missing_values(checked.table)
    checked.table = checked.table.iloc[:0]
    return Piece(path, checked, read.counts, missing, *ends)


def _order_of(row: pd.Series, schema: Schema) -> tuple[Any, ...]:
    kinds = ("date", "group", "id")
    return tuple(row[c.name] for kind in kinds for c in schema.columns.values() if c.kind == kind)


def _in_order(pieces: list[Piece]) -> bool:
    """Tell whether the pieces' rows follow each other as in one sorted table."""
    filled = [piece for piece in pieces if piece.first is not None]
    return all(one.last < other.first for one, other in pairwise(filled))


def _merged(one: Checked, other: Checked) -> Checked:
    """Return the counts of two pieces together."""
    return Checked(
        one.table,
        one.rows_in + other.rows_in,
        _summed(one.dropped, other.dropped),
        _summed(one.unknown_codes, other.unknown_codes),
        _summed(one.out_of_range, other.out_of_range),
        added([one.shares, other.shares]),
    )


def _summed(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    """Return the sums of two counts by name, zeros too."""
    return {name: one.get(name, 0) + other.get(name, 0) for name in [*one, *other]}


def _known_columns(schema: Schema) -> list[str]:
    kinds = ("target", "date", "group", "part", "truth")
    return [column.name for column in schema.columns.values() if column.kind in kinds]


# ---------------------------------------------------------------- tidy rows to matrices


def read_rows(spark: SparkSession, tidy: Path, schema: Schema, settings: Problem) -> Rows:
    """Read what the driver needs of all rows, and split them as on one machine."""
    table = read_parquet(tidy, _known_columns(schema))
    hashes = partial(_feature_hashes, spark, tidy, schema)
    parts = split_rows(table, schema, settings.split, hashes)
    classes = classes_of(table, schema)
    target = encoded_target(table, schema, classes)
    check_parts(parts, target, classes, schema)
    return Rows(table, parts, classes, target, group_codes(table, schema))


def _feature_hashes(spark: SparkSession, tidy: Path, schema: Schema) -> np.ndarray:
    """Return a hash of each row's features, which only tasks read: 8 bytes a row."""
    chunks = chunks_of(_tidy_files(tidy), tidy)
    return np.concatenate(run_tasks(spark, partial(_hashes, schema), chunks))


def _hashes(schema: Schema, chunk: Chunk) -> np.ndarray:
    return feature_hashes(chunk.read(schema.feature_names), schema)


def _tidy_files(tidy: Path) -> list[Path]:
    """Return the tidy files; beside them may lie a partial one of an executor that was killed."""
    return sorted(tidy.glob("rows-*.parquet"))


def learn_encoder(
    spark: SparkSession, encoder: ColumnEncoder, rows: Rows, schema: Schema, tidy: Path, known: Path
) -> tuple[Learned, list[Chunk]]:
    """Fit the encoder on the training rows, and write what is known of every row."""
    chosen = rows.training
    target = rows.target[chosen]
    if schema.task == "multiclass":
        setattr(encoder, CLASSES, rows.classes)
    wide = target.astype("int64") if schema.task == "multiclass" else target
    counted: Any = range(len(wide))  # of a frame, only its length is asked
    with encoding(schema):
        training = encoder._training(counted, wide, rows.group[chosen])
    fold = np.full(len(chosen), -1, dtype=np.int32)
    fold[chosen] = training.fold
    places = pd.Index(PARTS).get_indexer(pd.Index(rows.parts)).astype(np.int8)
    content = {PART: places, FOLD: fold, TARGET: rows.target, GROUP: rows.group}
    if schema.truth is not None and rows.table[schema.truth].notna().any():
        content[TRUTH] = rows.table[schema.truth].to_numpy(dtype=np.float64)
    chunks = chunks_of(_tidy_files(tidy), known)
    write_known(chunks, pd.DataFrame(content))
    with encoding(schema):
        return learn(spark, encoder, chunks, training), chunks


def write_matrices(
    spark: SparkSession,
    learned: Learned,
    chunks: list[Chunk],
    schema: Schema,
    partitions: int,
    into: Path,
) -> None:
    """Write every part's encoded rows: those of train in partitions, by the number of the row."""
    shared = spark.sparkContext.broadcast(learned)
    work = partial(_write_chunk, shared, input_columns(schema), partitions, into)
    run_tasks(spark, work, chunks)
    shared.unpersist()


def _write_chunk(shared: Any, inputs: list[str], partitions: int, into: Path, chunk: Chunk) -> None:
    learned, table, known = shared.value, chunk.read(inputs), chunk.read_known()
    known[ROW] = np.arange(chunk.first, chunk.first + chunk.rows)
    for place, part in enumerate(PARTS):
        rows = (known[PART] == place).to_numpy()
        if not rows.any():
            continue
        own = known[rows]
        encoded = (
            learned.encode_training(table[rows], own[FOLD].to_numpy())
            if part == "train"
            else learned.encoder.transform(table[rows])
        )
        names = [name for name in (TARGET, GROUP, ROW, TRUTH) if name in own]
        matrix = encoded.assign(**{name: own[name] for name in names})
        for name, piece in _placed(matrix, part, partitions):
            write_parquet(into / part / name / f"rows-{chunk.number:05d}.parquet", piece)


def _placed(matrix: pd.DataFrame, part: str, partitions: int) -> list[tuple[str, pd.DataFrame]]:
    """Return the rows of each partition with its folder; only train has partitions."""
    if part != "train":
        return [("", matrix)]
    partition = matrix[ROW] % partitions
    split = [(f"partition-{p:04d}", matrix[partition == p]) for p in range(partitions)]
    return [(name, rows) for name, rows in split if len(rows)]
