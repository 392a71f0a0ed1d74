"""Exact copies: rows that are equal in every column, ids and unused ones included."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from lockstep.problems.text_tables import TextTable

_MOSTLY = 0.5
_NUMBER = re.compile(r"[+-]?\d+(?:[.,]\d+)?(?:[eE][+-]?\d+)?")


def cell_hashes(coded: Any, place: int) -> NDArray[np.uint64]:
    """Return a hash of each cell of a column (a dictionary-encoded array), keyed by its place.

    The sum of a row's cell hashes is the row's hash; a column is left out by subtracting its own.
    Each place has its own key: multiples of one hash would add up to the same sum too often.
    """
    texts = np.array([text or "" for text in (*coded.dictionary.to_pylist(), "")], dtype=object)
    hashes = np.asarray(pd.util.hash_array(texts, hash_key=f"{place:016d}", categorize=False))
    codes = coded.indices.fill_null(len(texts) - 1).to_numpy(zero_copy_only=False)
    return hashes[codes]


def row_hashes(columns: Iterable[Any]) -> NDArray[np.uint64]:
    """Return a hash of each row over all columns (pyarrow string arrays)."""
    cells = (cell_hashes(c.dictionary_encode(), place) for place, c in enumerate(columns))
    return np.asarray(sum(cells, start=np.uint64(0)))


def repeats(hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Return which rows repeat an earlier one."""
    return pd.Series(hashes).duplicated().to_numpy()


def shared_rows(one: TextTable, other: TextTable) -> tuple[int, bool]:
    """Return how many rows of one file another one holds too, and whether chance can't make them.

    Rows are equal in all columns that both files have, numbers by value. Chance can't make them if
    most rows of each file are different, or both files hold the same rows.
    """
    names = [name for name in one.columns if name in other.columns]
    hashes = (
        row_hashes(_by_value(table.columns[name]) for name in names) for table in (one, other)
    )
    rows, others = (pd.Series(found).value_counts() for found in hashes)
    both = int(np.minimum(rows, others.reindex(rows.index, fill_value=0)).sum())
    differ = len(rows) > _MOSTLY * one.rows and len(others) > _MOSTLY * other.rows
    return both, differ or both == one.rows == other.rows


def _by_value(column: Any) -> Any:
    """Return a column's cells, numbers in one form: files may write them differently."""
    coded = column.dictionary_encode()
    texts = coded.dictionary.to_pylist()
    plain = [f"{float(t.replace(',', '.')):.12g}" if _NUMBER.fullmatch(t) else t for t in texts]
    return pa.array(plain, pa.string()).take(coded.indices)
