"""Pictures of curves: one figure a table of points, the same bytes for the same points."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from lockstep.errors import DataError
from lockstep.io import whole_file

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLES = {
    "roc": "ROC curve",
    "ks": "Kolmogorov-Smirnov",
    "pr": "Precision and recall",
    "calibration": "Calibration",
    "confusion_matrix": "Confusion matrix",
    "classes": "Report by class",
    "importance": "Feature importance",
    "history": "Training history",
    "folds": "Cross-validation",
    "predicted_actual": "Predicted and actual",
    "residuals": "Residuals",
    "coverage": "Interval coverage",
}
_AXES = {
    "roc": ("fpr", ["tpr"]),
    "pr": ("recall", ["precision"]),
    "calibration": ("predicted", ["observed"]),
    "coverage": ("predicted", ["coverage", "declared"]),
}
"""Which columns are drawn where a table holds more than its curve; otherwise the first against all others."""
_DIAGONAL = ("roc", "calibration")
_WIDE = ("importance", "classes", "confusion_matrix")
_DOTS = {"predicted_actual": 1, "residuals": 0}
"""Tables with a dot a row, and the slope of the line through 0 that a perfect model's dots lie on."""
_OF_CLASSES = ("precision", "recall", "f1", "roc_auc")
_MOST_BARS = 25
_MOST_LINES = 10
_LONGEST_LABEL = 14


def draw(name: str, table: pd.DataFrame, subject: str = "") -> Figure:
    """Draw a table of points: a confusion matrix, bars of importance, a dot a row, or curves.

    ``name`` is the table's name, one of ``TITLES``; any other is drawn as curves.
    """
    figure, axes = _canvas(4.5, wide_labels=name in _WIDE)
    if table.empty or table.shape[1] < 2:
        raise DataError(f"no points to draw in {name}; run `dvc repro` to make them again")
    if name == "classes":
        _class_bars(axes, table)
    elif name in _DIAGONAL and "class" in table:
        _class_curves(axes, table, *_AXES[name])
    elif name == "confusion_matrix":
        _matrix(axes, table)
    elif name == "importance":
        _bars(axes, table)
    elif name in _DOTS:
        _dots(axes, table, ideal_slope=_DOTS[name])
    else:
        x, ys = _AXES.get(name, (str(table.columns[0]), [str(c) for c in table.columns[1:]]))
        _curves(axes, table, x, ys, diagonal=name in _DIAGONAL)
    title = TITLES.get(name, name.replace("_", " "))
    axes.set_title(f"{title}, {subject}" if subject else title)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, without a date or the drawing software's version."""
    with whole_file(path) as part, warnings.catch_warnings():
        # A column of any script is welcome; letters that the drawing's font lacks are drawn as boxes.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(part, format="png", metadata={"Software": None})


def comparison(table: pd.DataFrame, metric: str) -> Figure:
    """Draw one metric of every model type with its interval, the best on top.

    ``table`` has a row a type: columns type, METRIC, and METRIC_low, METRIC_high where known.
    """
    from lockstep.models.evaluation import LOWER_IS_BETTER

    figure, axes = _canvas(3, wide_labels=True)
    ordered = table.sort_values(metric, ascending=metric not in LOWER_IS_BETTER)
    errors = None
    if {f"{metric}_low", f"{metric}_high"} <= set(table.columns):
        errors = [ordered[metric] - ordered[f"{metric}_low"], ordered[f"{metric}_high"] - ordered[metric]]
    axes.errorbar(ordered[metric], range(len(ordered)), xerr=errors, fmt="o", capsize=4)
    axes.set_yticks(range(len(ordered)), list(ordered["type"]))
    axes.set_xlabel(metric)
    axes.set_title("Model types compared")
    return figure


def _canvas(height: float, wide_labels: bool) -> tuple[Figure, Axes]:
    """Return a figure with fixed margins: letting matplotlib find them draws everything twice."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, height), dpi=100)
    margins = {
        "left": 0.26 if wide_labels else 0.12,
        "right": 0.97,
        "top": 0.92,
        "bottom": 0.5 / height + 0.02,
    }
    return figure, figure.subplots(gridspec_kw=margins)


def _curves(axes: Axes, table: pd.DataFrame, x: str, ys: list[str], diagonal: bool) -> None:
    for y in ys:
        axes.plot(table[x], table[y], marker="." if len(table) < 20 else None, label=y.replace("_", " "))
    if diagonal:
        axes.plot([0, 1], [0, 1], linestyle=":", color="grey")
    axes.set_xlabel(x.replace("_", " "))
    axes.set_ylabel(ys[0].replace("_", " ") if len(ys) == 1 else "value")
    if len(ys) > 1:
        axes.legend()


def _class_curves(axes: Axes, table: pd.DataFrame, x: str, ys: list[str]) -> None:
    """Draw a curve a class, of many those that the table names first."""
    shown = list(dict.fromkeys(table["class"].astype(str)))[:_MOST_LINES]
    for label in shown:
        points = table[table["class"].astype(str) == label]
        axes.plot(points[x], points[ys[0]], label=_short(label))
    axes.plot([0, 1], [0, 1], linestyle=":", color="grey")
    axes.set_xlabel(x)
    axes.set_ylabel(ys[0])
    axes.legend()


def _class_bars(axes: Axes, table: pd.DataFrame) -> None:
    """Draw each class's figures, the most frequent class on top."""
    top = table.sort_values("rows", ascending=False, kind="stable").head(_MOST_BARS)[::-1]
    places = range(len(top))
    for name, marker in zip(_OF_CLASSES, "o^sD", strict=True):
        axes.plot(top[name], places, linestyle="none", marker=marker, label=name.replace("_", " "))
    axes.set_yticks(
        places,
        [f"{_short(c)} ({n:,})" for c, n in zip(top["class"], top["rows"], strict=True)],
        fontsize=7,
    )
    axes.set_xlim(-0.02, 1.02)
    axes.legend()


def _short(label: object) -> str:
    """Return a label as short as a picture has room for; a dollar sign stands for itself."""
    text = str(label).replace("$", r"\$")
    return text if len(text) <= _LONGEST_LABEL else f"{text[: _LONGEST_LABEL - 1]}…"


def _dots(axes: Axes, table: pd.DataFrame, ideal_slope: int) -> None:
    """Draw a dot a row, its second column against the first, and where the dots of a perfect model lie."""
    x, y = (str(column) for column in table.columns[:2])
    axes.scatter(table[x], table[y], s=8, alpha=0.4, linewidths=0)
    axes.axline((0, 0), slope=ideal_slope, linestyle=":", color="grey")
    axes.set_xlabel(x)
    axes.set_ylabel(y)


def _bars(axes: Axes, table: pd.DataFrame) -> None:
    top = table.sort_values(["importance", "feature"], ascending=[False, True]).head(_MOST_BARS)[::-1]
    axes.barh(list(top["feature"].astype(str)), list(top["importance"]))
    axes.tick_params(axis="y", labelsize=7)
    axes.set_xlabel("importance")


def _matrix(axes: Axes, table: pd.DataFrame) -> None:
    """Draw the counts of actual against predicted classes."""
    labels = sorted(set(table["actual"]) | set(table["predicted"]))
    counts = table.pivot(index="actual", columns="predicted", values="rows")
    counts = counts.reindex(index=labels, columns=labels).fillna(0).astype(int)
    axes.imshow(counts.to_numpy(), cmap="Blues")
    if len(labels) > _MOST_BARS:  # figures would cover each other; the table beside the picture has them
        axes.set_xlabel("predicted")
        axes.set_ylabel("actual")
        return
    for row, values in enumerate(counts.to_numpy()):
        for column, value in enumerate(values):
            dark = 2 * value > counts.to_numpy().max()
            axes.text(column, row, f"{value:,}", ha="center", va="center", color="white" if dark else "black")
    upright = len(labels) > 3
    axes.set_xticks(range(len(labels)), [_short(label) for label in labels], rotation=20 * upright)
    axes.set_yticks(range(len(labels)), [_short(label) for label in labels])
    axes.set_xlabel("predicted")
    axes.set_ylabel("actual")
