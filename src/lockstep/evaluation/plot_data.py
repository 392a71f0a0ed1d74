"""Small tables of points for plots, whatever the number of rows behind them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

POINTS = 200
"""Most points of a curve."""


def thinned(table: pd.DataFrame, points: int = POINTS) -> pd.DataFrame:
    """Return at most ``points`` rows, evenly spaced, with the first and the last."""
    if len(table) <= points:
        return table
    keep = np.unique(np.round(np.linspace(0, len(table) - 1, points)).astype(int))
    return table.iloc[keep].reset_index(drop=True)


def confusions(actual: NDArray[Any], predicted: NDArray[Any]) -> pd.DataFrame:
    """Return sorted counts of each pair of classes: columns actual, predicted, rows."""
    pairs, rows = np.unique(
        np.column_stack([actual, predicted]).astype(np.int64), axis=0, return_counts=True
    )
    return pd.DataFrame({"actual": pairs[:, 0], "predicted": pairs[:, 1], "rows": rows})
