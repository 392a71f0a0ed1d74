"""Exact copies: rows of one file that are equal in every column, ids and unused ones included."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray


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
