"""Parts of rows by the levels of a column: each code, or quartiles of numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lockstep.problems.schema import Column

Mask = NDArray[np.bool_]

OF_ONE_CLASS = "brier"
"""The metric for rows of one class, which have no ranking."""


def levels(values: pd.Series, column: Column) -> Iterator[tuple[str, Mask]]:
    """Yield each level's label and rows: quartiles of numbers or each code; also missing ones."""
    missing = values.isna().to_numpy()
    if missing.any():
        yield "missing", missing
    if column.kind in ("numeric", "ordered") and column.holds_numbers:
        yield from _quartiles(values, missing)
        return
    for level in sorted(values[~missing].unique(), key=str):
        yield _label(level, column), (values == level).fillna(False).to_numpy(dtype=bool)


def _quartiles(values: pd.Series, missing: Mask) -> Iterator[tuple[str, Mask]]:
    numbers = values.to_numpy(dtype=np.float64)
    if missing.all():
        return
    edges = np.unique(np.quantile(numbers[~missing], [0, 0.25, 0.5, 0.75, 1]))
    place = np.clip(np.searchsorted(edges, numbers, side="left") - 1, 0, max(len(edges) - 2, 0))
    for number in range(max(len(edges) - 1, 1)):
        high = edges[min(number + 1, len(edges) - 1)]
        mask = (place == number) & ~missing
        if mask.any():
            yield f"{edges[number]:g} to {high:g}", mask


def _label(level: Any, column: Column) -> str:
    code = int(level) if isinstance(level, float) and level.is_integer() else level
    meaning = column.codes.get(code, "")
    return f"{code} ({meaning})" if meaning and meaning != str(code) else str(code)
