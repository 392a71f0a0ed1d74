"""Metrics of numbers, for many weightings of the rows at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lockstep.models.scored import Scored, ratio

if TYPE_CHECKING:
    from lockstep.models.scored import Array

REGRESSION = ("rmse", "mae", "r2")


def weighted(rows: Scored, weights: Array) -> dict[str, Array]:
    """Return every metric for every weighting: name → array of shape (resamples,)."""
    import numpy as np

    centred = rows.target - rows.target.mean()
    error = rows.target - rows.score
    columns = np.column_stack([np.ones_like(error), error**2, np.abs(error), centred, centred**2])
    total, squared, absolute, first, second = columns.T @ weights
    spread = second - first**2 / total
    return {
        "rmse": np.sqrt(squared / total),
        "mae": absolute / total,
        "r2": 1 - ratio(squared, spread),
    }
