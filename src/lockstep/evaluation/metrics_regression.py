"""Metrics of regressions, for many weightings of the rows at once."""

from __future__ import annotations

import numpy as np

from lockstep.evaluation.scored_rows import Array, Scored, Weighted, ratio

REGRESSION = ("rmse", "mae", "r2")


def prepared(rows: Scored) -> Weighted:
    """Return the function from weights to every metric; what needs no weights is computed once."""
    centred = rows.target - rows.target.mean()
    error = rows.target - rows.score
    columns = np.column_stack([np.ones_like(error), error**2, np.abs(error), centred, centred**2])

    def weighted(weights: Array) -> dict[str, Array]:
        total, squared, absolute, first, second = columns.T @ weights
        spread = second - first**2 / total
        return {
            "rmse": np.sqrt(squared / total),
            "mae": absolute / total,
            "r2": 1 - ratio(squared, spread),
        }

    return weighted
