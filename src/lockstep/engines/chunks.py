"""The tidy table in chunks that a task holds: files of row groups, and beside them known columns.

Every task of the same row group reads the same rows, whatever executor it runs on.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from pyarrow import parquet

from lockstep.io import whole_file

CHUNK_ROWS = 100_000
PART, FOLD = "__part__", "__fold__"
"""Columns beside the tidy ones: place of the part in layout.PARTS; fold of training rows, or -1."""


@dataclass(frozen=True)
class Chunk:
    """One row group of the tidy table; ``first`` is the number of its first row in all files."""

    number: int
    table: Path
    known: Path
    group: int
    first: int
    rows: int

    def read(self, columns: list[str] | None = None) -> pd.DataFrame:
        """Read columns of the tidy table."""
        return _row_group(self.table, self.group, columns)

    def read_known(self) -> pd.DataFrame:
        """Read part, fold, target, group and true probability of the same rows."""
        return _row_group(self.known, self.group, None)


def _row_group(path: Path, group: int, columns: list[str] | None) -> pd.DataFrame:
    return parquet.ParquetFile(path).read_row_group(group, columns=columns).to_pandas()


def write_chunks(path: Path, table: pd.DataFrame, rows: int) -> None:
    """Write a table as Parquet in row groups of so many rows."""
    with whole_file(path) as part:
        table.to_parquet(part, index=False, compression="zstd", row_group_size=rows)


def chunks_of(tables: Iterable[Path], known: Path) -> list[Chunk]:
    """Return the chunks of the tidy table's files, in order; ``known`` has the same file names."""
    found: list[Chunk] = []
    first = 0
    for path in tables:
        content = parquet.ParquetFile(path).metadata
        for group in range(content.num_row_groups):
            rows = content.row_group(group).num_rows
            if not rows:  # a piece of the source of which nothing was left
                continue
            found.append(Chunk(len(found), path, known / path.name, group, first, rows))
            first += rows
    return found


def write_known(chunks: list[Chunk], known: pd.DataFrame) -> None:
    """Write known columns of all rows beside the files of the tidy table."""
    for path in dict.fromkeys(chunk.known for chunk in chunks):
        own = [chunk for chunk in chunks if chunk.known == path]
        rows = np.s_[own[0].first : own[-1].first + own[-1].rows]
        write_chunks(path, known.iloc[rows], own[0].rows)
