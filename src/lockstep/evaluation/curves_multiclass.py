"""Curves of three and more classes as small tables: report, ROC, calibration, confusions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from lockstep.evaluation import curves_binary
from lockstep.evaluation.metrics_multiclass import areas, by_class
from lockstep.evaluation.plot_data import confusions, thinned
from lockstep.evaluation.scored_rows import Scored

ROWS = 1000
"""Points of all classes' curves together, about."""
FEWEST = 20
"""Fewest points of one class's curve."""


def tables(rows: Scored, classes: list[Any]) -> dict[str, pd.DataFrame]:
    """Return the curves of scored rows by name; ``classes`` are the labels in encoded order."""
    return {
        "classes": report(rows, classes),
        "roc": _each(rows, classes, curves_binary.roc),
        "calibration": _each(rows, classes, curves_binary.calibration),
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


def _each(rows: Scored, classes: list[Any], curve: Any) -> pd.DataFrame:
    """Return a curve of each class that occurs, against all others; column class names it."""
    points = max(FEWEST, ROWS // len(classes))
    found = []
    for place, label in enumerate(classes):
        own = (rows.target == place).astype(np.int8)
        if 0 < own.sum() < len(own):
            table = thinned(curve(Scored(own, rows.score[:, place], 0.5)), points)
            found.append(table.assign(**{"class": str(label)})[["class", *table.columns]])
    return pd.concat(found, ignore_index=True)
