"""Curves and bars of one model type as small tables, the files that `dvc plots show` draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from lockstep.evaluation import curves_binary, curves_multiclass, curves_regression
from lockstep.evaluation.plot_data import POINTS, thinned
from lockstep.evaluation.scored_rows import Scored
from lockstep.models.linear import contributions


def tables(
    rows: Scored,
    importance: dict[str, float],
    history: dict[str, list[float]],
    classes: Sequence[Any] = (),
) -> dict[str, pd.DataFrame]:
    """Return every table of a model type by its name: that of the file without ``.csv``.

    ``classes`` are the labels of a multiclass target in their encoded order.
    """
    found = {"importance": importance_table(importance)}
    if rows.task == "multiclass":
        found |= curves_multiclass.tables(rows, list(classes))
    else:
        of_task = {"binary": curves_binary, "regression": curves_regression}[rows.task]
        found |= of_task.tables(rows)
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


def importance(model: Any, features: pd.DataFrame) -> dict[str, float]:
    """Return each encoded column's importance: gain (boosters), impurity (forest), spread of the margin (linear)."""
    names = [str(name) for name in features]
    steps = getattr(model, "named_steps", {})
    if "view" in steps:
        return contributions(model, features)
    if "fill" in steps:
        return _filled_importance(steps["fill"], steps["estimator"], names)
    if hasattr(model, "get_booster"):
        gains = model.get_booster().get_score(importance_type="total_gain")
        return {name: float(gains.get(name, 0.0)) for name in names}
    if hasattr(model, "booster_"):
        gains = model.booster_.feature_importance("gain")
        return {name: float(gain) for name, gain in zip(names, gains, strict=True)}
    return {
        name: float(share) for name, share in zip(names, model.feature_importances_, strict=True)
    }


def _filled_importance(fill: Any, forest: Any, names: list[str]) -> dict[str, float]:
    """Return a forest's importances, those of a column that tells of gaps added to the column's own."""
    shares = forest.feature_importances_.tolist()
    found = dict(zip(names, shares, strict=False))
    for place, share in zip(fill.indicator_.features_, shares[len(names) :], strict=True):
        found[names[place]] += share
    return found
