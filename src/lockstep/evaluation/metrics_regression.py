"""Metrics of regressions, for many weightings of the rows at once."""

from __future__ import annotations

import numpy as np

from lockstep.evaluation.scored_rows import Array, Scored, Weighted, ratio

REGRESSION = ("rmse", "mae", "r2")
EQUAL = 1e-12
"""The spread of targets that counts as none, as a share of their squared distance to the mean."""


def prepared(rows: Scored) -> Weighted:
    """Return the function from weights to every metric; what needs no weights is computed once."""
    values = columns(rows)
    return lambda weights: of_sums(values.T @ weights)


def columns(rows: Scored) -> Array:
    """Return the values a row that all metrics are made of, (rows, 5); see ``of_sums``."""
    # The mean of equal numbers may differ from them in the last bit.
    mean = rows.target.mean() if np.ptp(rows.target) else rows.target[0]
    centred = rows.target - mean
    error = rows.target - rows.score
    return np.column_stack([np.ones_like(error), error**2, np.abs(error), centred, centred**2])


def of_sums(sums: Array) -> dict[str, Array]:
    """Return every metric from the weighted sums of ``columns``, (5, resamples).

    R² of equal targets is 1 without any error, else 0, as scikit-learn has it.
    """
    total, squared, absolute, first, second = sums
    spread = second - first**2 / total
    are_equal = spread <= EQUAL * second
    explained = 1 - ratio(squared, np.where(are_equal, 0.0, spread))
    return {
        "rmse": np.sqrt(squared / total),
        "mae": absolute / total,
        "r2": np.where(are_equal & (squared > 0), 0.0, explained),
    }
