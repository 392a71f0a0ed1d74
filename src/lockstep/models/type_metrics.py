"""The metrics of one trained type: headline figures for DVC's tables, and a file with all of them.

`dvc metrics show` has a column for every key of any metrics.json, so that file is flat and short.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lockstep.config.layout import ProblemLayout
from lockstep.io import read_json, rounded, write_json

HEADLINE = {
    "binary": ("roc_auc", "average_precision", "f1"),
    "multiclass": ("macro_f1", "macro_roc_auc", "accuracy"),
    "regression": ("rmse", "mae", "r2"),
}
"""The test metrics of metrics.json by task: the shipped problems' fit a line of 160 columns."""
CHOSEN_BY = {"binary": "roc_auc", "multiclass": "log_loss", "regression": "rmse"}
"""The metric that metrics.json also has of the validation part, to choose experiments by."""


def headline(metrics: dict[str, Any], task: str) -> dict[str, float]:
    """Return the content of metrics.json, from all metrics of a type."""
    chosen_by = CHOSEN_BY[task]
    tested = {name: metrics["test"][name] for name in HEADLINE[task]}
    return {**tested, f"val_{chosen_by}": metrics["validation"][chosen_by]}


def write_type_metrics(
    layout: ProblemLayout, model_type: str, metrics: dict[str, Any], task: str
) -> None:
    """Write all metrics of a type into details.json, and the headline figures beside it."""
    details = rounded(metrics)
    if "threshold" in metrics:  # one above all scores differs from 1 in the seventh digit
        details["threshold"] = metrics["threshold"]
    write_json(layout.type_details(model_type), details, digits=None)
    write_json(layout.type_metrics(model_type), headline(metrics, task))


def type_metrics_file(layout: ProblemLayout, model_type: str) -> Path:
    """Return the file with all metrics of a type; it may be missing.

    Before details.json existed, metrics.json held all of them by part. Such a file is the one that
    counts: a details.json beside it is of another training.
    """
    file = layout.type_metrics(model_type)
    is_whole = file.is_file() and isinstance(read_json(file).get("test"), dict)
    return file if is_whole else layout.type_details(model_type)


def read_type_metrics(layout: ProblemLayout, model_type: str) -> dict[str, Any]:
    """Read all metrics of a type; DataError with the fix if they are missing."""
    return dict(read_json(type_metrics_file(layout, model_type)))
