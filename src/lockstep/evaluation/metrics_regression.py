"""Metrics of regressions, for many weightings of the rows at once."""

from __future__ import annotations

import numpy as np

from lockstep.evaluation.scored_rows import Array, Scored, Weighted, ratio

REGRESSION = ("rmse", "mae", "r2")


def prepared(rows: Scored) -> Weighted:
    """Return the function from weights to every metric; what needs no weights is computed once."""
    values = columns(rows)
    return lambda weights: of_sums(values.T @ weights)


def columns(rows: Scored) -> Array:
    """Return the values a row that all metrics are made of, (rows, 5); see ``of_sums``."""
    centred = rows.target - rows.target.mean()
    error = rows.target - rows.score
    return np.column_stack([np.ones_like(error), error**2, np.abs(error), centred, centred**2])


def of_sums(sums: Array) -> dict[str, Array]:
    """Return every metric from the weighted sums of ``columns``, (5, resamples)."""
    total, squared, absolute, first, second = sums
    spread = second - first**2 / total
    return {
        "rmse": np.sqrt(squared / total),
        "mae": absolute / total,
        "r2": 1 - ratio(squared, spread),
    }
