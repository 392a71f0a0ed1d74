"""Curves and bars of one model type as small tables, the files that `dvc plots show` draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from lockstep.evaluation import curves_binary, curves_multiclass, curves_regression
from lockstep.evaluation.plot_data import POINTS, thinned
from lockstep.evaluation.scored_rows import Array, Scored


def tables(
    rows: Scored,
    importance: dict[str, float],
    history: dict[str, list[float]],
    classes: Sequence[Any] = (),
    uncalibrated: Array | None = None,
) -> dict[str, pd.DataFrame]:
    """Return every table of a model type by its name: that of the file without ``.csv``.

    ``classes`` are the labels of a multiclass target in their encoded order, ``uncalibrated`` a
    calibrated model's scores before calibration.
    """
    found = {"importance": importance_table(importance)}
    if rows.task == "multiclass":
        found |= curves_multiclass.tables(rows, list(classes), uncalibrated)
    elif rows.task == "binary":
        found |= curves_binary.tables(rows, uncalibrated)
    else:
        found |= curves_regression.tables(rows)
    if history:
        found["history"] = history_table(history)
    return found


def importance_table(importance: dict[str, float]) -> pd.DataFrame:
    """Return columns feature and importance, shares of the whole, the largest first."""
    total = sum(importance.values()) or 1.0
    shares = {name: value / total for name, value in importance.items()}
    ordered = sorted(shares.items(), key=lambda item: (-item[1], item[0]))[:POINTS]
    return pd.DataFrame(ordered, columns=["feature", "importance"])


def history_table(history: dict[str, list[float]]) -> pd.DataFrame:
    """Return the losses by iteration: columns iteration, then one a part."""
    table = thinned(pd.DataFrame(history))
    return table.astype({"iteration": int})
