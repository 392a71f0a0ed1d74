"""Curves of regressions as small tables."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lockstep.evaluation.intervals import Interval, coverage_of, groups
from lockstep.evaluation.scored_rows import Array, Scored

DOTS = 500
"""Most rows that are drawn one by one."""


def tables(rows: Scored) -> dict[str, pd.DataFrame]:
    """Return the curves of scored rows by name."""
    return {"predicted_actual": predicted_actual(rows), "residuals": residuals(rows)}


def predicted_actual(rows: Scored) -> pd.DataFrame:
    """Return columns predicted and actual of some rows, by prediction."""
    chosen = shown(rows.score)
    return pd.DataFrame({"predicted": rows.score[chosen], "actual": rows.target[chosen]})


def residuals(rows: Scored) -> pd.DataFrame:
    """Return columns predicted and residual (actual - predicted) of some rows, by prediction."""
    chosen = shown(rows.score)
    residual = rows.target[chosen] - rows.score[chosen]
    return pd.DataFrame({"predicted": rows.score[chosen], "residual": residual})


def shown(score: Array) -> NDArray[np.int64]:
    """Return the places of at most ``DOTS`` rows, evenly spaced by score."""
    order = np.argsort(score, kind="stable")
    keep = np.unique(np.round(np.linspace(0, len(order) - 1, min(DOTS, len(order)))).astype(int))
    return order[keep]


def coverage(rows: Scored, interval: Interval) -> pd.DataFrame:
    """Return a row a group: columns predicted (mean), coverage, declared, mean_width, rows."""
    group, found = groups(interval, rows.score), coverage_of(interval, rows)["groups"]
    return pd.DataFrame(
        {
            "predicted": [float(rows.score[group == int(name) - 1].mean()) for name in found],
            "coverage": [figures["coverage"] for figures in found.values()],
            "declared": interval["coverage"],
            "mean_width": [figures["mean_width"] for figures in found.values()],
            "rows": [figures["rows"] for figures in found.values()],
        }
    )
