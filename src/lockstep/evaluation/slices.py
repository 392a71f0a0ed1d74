"""Parts of rows by the levels of a column: each code, or quartiles of numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lockstep.problems.schema import Column

Mask = NDArray[np.bool_]

MISSING = "missing"
OF_ONE_CLASS = "brier"
"""The metric for rows of one class, which have no ranking."""


def levels(values: pd.Series, column: Column) -> Iterator[tuple[str, Mask]]:
    """Yield each level's label and rows: quartiles of numbers or each code; also missing ones.

    No two labels are the same.
    """
    missing = values.isna().to_numpy()
    if column.kind in ("numeric", "ordered") and column.holds_numbers:
        found = list(_quartiles(values, missing))
    else:
        known = sorted(values[~missing].unique(), key=str)
        masks = ((values == level).fillna(False).to_numpy(dtype=bool) for level in known)
        found = list(zip((_label(level, column) for level in known), masks, strict=True))
    if missing.any():
        is_taken = any(label == MISSING for label, _ in found)
        yield f"{MISSING} (no value)" if is_taken else MISSING, missing
    yield from found


def _quartiles(values: pd.Series, missing: Mask) -> Iterator[tuple[str, Mask]]:
    numbers = values.to_numpy(dtype=np.float64)
    if missing.all():
        return
    edges = np.unique(np.quantile(numbers[~missing], [0, 0.25, 0.5, 0.75, 1]))
    place = np.clip(np.searchsorted(edges, numbers, side="left") - 1, 0, max(len(edges) - 2, 0))
    texts = _distinct(edges)
    for number in range(max(len(edges) - 1, 1)):
        high = texts[min(number + 1, len(edges) - 1)]
        mask = (place == number) & ~missing
        if mask.any():
            yield f"{texts[number]} to {high}", mask


def _distinct(edges: NDArray[np.float64]) -> list[str]:
    """Return numbers as texts that differ: of six digits, or of all."""
    short = [f"{edge:g}" for edge in edges]
    return short if len(set(short)) == len(short) else [f"{edge:.17g}" for edge in edges]


def _label(level: Any, column: Column) -> str:
    code = int(level) if isinstance(level, float) and level.is_integer() else level
    meaning = column.codes.get(code, "")
    return f"{code} ({meaning})" if meaning and meaning != str(code) else str(code)
