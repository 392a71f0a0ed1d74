"""Tables of points: how many of them a curve keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

POINTS = 200
"""The most points a curve keeps."""


def thinned(table: pd.DataFrame, points: int = POINTS) -> pd.DataFrame:
    """Return at most so many rows, evenly spaced, first and last among them."""
    import numpy as np

    if len(table) <= points:
        return table
    keep = np.unique(np.round(np.linspace(0, len(table) - 1, points)).astype(int))
    return table.iloc[keep].reset_index(drop=True)
