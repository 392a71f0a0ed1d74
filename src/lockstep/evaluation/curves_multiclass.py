"""Curves of three and more classes as small tables: report, ROC, calibration, confusions."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from lockstep.evaluation import curves_binary
from lockstep.evaluation.metrics_multiclass import areas, by_class
from lockstep.evaluation.plot_data import confusions, thinned
from lockstep.evaluation.scored_rows import Array, Scored

ROWS = 1000
"""Points of all classes' curves together, about."""
FEWEST = 20
"""Fewest points of one class's curve."""


def tables(
    rows: Scored, classes: list[Any], uncalibrated: Array | None = None
) -> dict[str, pd.DataFrame]:
    """Return the curves of scored rows by name; ``classes`` are the labels in encoded order.

    ``uncalibrated`` (rows, classes) are scores before calibration.
    """
    return {
        "classes": report(rows, classes),
        "roc": _each(rows, classes, lambda own, _: curves_binary.roc(own)),
        "pr": _each(rows, classes, lambda own, _: curves_binary.precision_recall(own)),
        "calibration": _each(rows, classes, partial(_calibration, uncalibrated)),
        "confusion_matrix": confusion(rows, classes),
    }


def report(rows: Scored, classes: list[Any]) -> pd.DataFrame:
    """Return a row a class: class, rows, precision, recall, f1, roc_auc (empty without rows)."""
    ones = np.ones((len(rows.target), 1))
    found = {name: values[:, 0] for name, values in by_class(rows)(ones).items()}
    area = areas(rows)(ones)[:, 0]
    defined = (found["rows"] > 0) & (found["rows"] < len(rows.target))
    return pd.DataFrame(
        {
            "class": [str(label) for label in classes],
            "rows": found["rows"].astype(np.int64),
            **{name: found[name] for name in ("precision", "recall", "f1")},
            "roc_auc": np.where(defined, area, np.nan),
        }
    )


def confusion(rows: Scored, classes: list[Any]) -> pd.DataFrame:
    """Return the counts of classes and decisions: columns actual, predicted (labels), rows."""
    table = confusions(rows.target, rows.decided)
    labels = [str(label) for label in classes]
    named = {name: [labels[place] for place in table[name]] for name in ("actual", "predicted")}
    return table.assign(**named)


def _calibration(uncalibrated: Array | None, own: Scored, place: int) -> pd.DataFrame:
    before = None if uncalibrated is None else uncalibrated[:, place]
    return curves_binary.calibration(own, before)


def _each(
    rows: Scored, classes: list[Any], curve: Callable[[Scored, int], pd.DataFrame]
) -> pd.DataFrame:
    """Return a curve of each class that occurs, against all others; column class names it.

    ``curve`` takes the rows as those of two classes, and the class's place.
    """
    points = max(FEWEST, ROWS // len(classes))
    found = []
    for place, label in enumerate(classes):
        own = (rows.target == place).astype(np.int8)
        if 0 < own.sum() < len(own):
            table = thinned(curve(Scored(own, rows.score[:, place], 0.5), place), points)
            found.append(table.assign(**{"class": str(label)})[["class", *table.columns]])
    return pd.concat(found, ignore_index=True)
