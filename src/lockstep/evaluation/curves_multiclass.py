"""Curves of three classes and more as small tables: report, ROC, calibration a class, and confusions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from lockstep.evaluation import curves_binary
from lockstep.evaluation.metrics_multiclass import areas, by_class
from lockstep.evaluation.plot_data import confusions, thinned
from lockstep.evaluation.scored_rows import Scored

ROWS = 1000
"""About as many points all classes' curves keep together."""
FEWEST = 20
"""The fewest points one class's curve keeps."""


def tables(rows: Scored, classes: list[Any]) -> dict[str, pd.DataFrame]:
    """Return the curves of scored rows by name; ``classes`` are the labels in their encoded order."""
    return {
        "classes": report(rows, classes),
        "roc": _each(rows, classes, curves_binary.roc),
        "calibration": _each(rows, classes, curves_binary.calibration),
        "confusion_matrix": confusion(rows, classes),
    }


def report(rows: Scored, classes: list[Any]) -> pd.DataFrame:
    """Return a row a class: columns class, rows, precision, recall, f1, roc_auc (empty where a class has no row)."""
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
    """Return how often each class meets each decision: columns actual, predicted (labels), rows."""
    decision = rows.score.argmax(axis=1) if rows.decision is None else rows.decision
    table = confusions(rows.target, decision)
    labels = [str(label) for label in classes]
    named = {name: [labels[place] for place in table[name]] for name in ("actual", "predicted")}
    return table.assign(**named)


def _each(rows: Scored, classes: list[Any], curve: Any) -> pd.DataFrame:
    """Return one curve of two classes for each that occurs, against all others, below each other: column class."""
    points = max(FEWEST, ROWS // len(classes))
    found = []
    for place, label in enumerate(classes):
        own = (rows.target == place).astype(np.int8)
        if 0 < own.sum() < len(own):
            table = thinned(curve(Scored(own, rows.score[:, place], 0.5)), points)
            found.append(table.assign(**{"class": str(label)})[["class", *table.columns]])
    return pd.concat(found, ignore_index=True)
