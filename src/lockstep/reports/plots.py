"""Plots of curves: one figure for each table of points, the same bytes for the same points."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lockstep.decision.score_scale import Scale, to_probability
from lockstep.errors import DataError
from lockstep.evaluation.metrics import LOWER_IS_BETTER
from lockstep.features.level_names import MISSING
from lockstep.io import whole_file

TITLES = {
    "roc": "ROC curve",
    "ks": "Kolmogorov-Smirnov",
    "pr": "Precision and recall",
    "calibration": "Calibration",
    "confusion_matrix": "Confusion matrix",
    "classes": "Report by class",
    "importance": "Feature importance",
    "effects": "Strongest effects",
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
"""The columns to draw of some tables; of others the first column against the rest."""
_NAMES = {
    "fpr": "false positive rate",
    "tpr": "true positive rate",
    "predicted": "mean score",
    "observed": "observed rate of positives",
}
"""Axis labels for columns with short names."""
_DIAGONAL = ("roc", "calibration")
_BY_CLASS = ("roc", "pr", "calibration")
"""Curves that a model of several classes has a line a class of."""
_BEFORE = "uncalibrated_"
"""What the columns of scores before calibration begin with."""
_BESIDE = ("ks", "folds")
"""Curves that leave no room for a legend; it stands beside them."""
_WIDE = ("importance", "classes", "confusion_matrix")
_DOTS = {"predicted_actual": 1, "residuals": 0}
"""Tables drawn as a dot a row, and the slope of a perfect model's line through 0."""
_OF_CLASSES = ("precision", "recall", "f1", "roc_auc")
_MOST_BARS = 25
_MOST_SHARES = 5
"""Classes up to which a confusion matrix has room for shares below its counts."""
_LONGEST_LABEL = 14
_LONGEST_CATEGORY = 24
_PANELS_IN_A_ROW = 3
_PANEL_WIDTH, _PANEL_HEIGHT, _PANEL_LEFT, _PANEL_RIGHT = 4.0, 3.2, 1.25, 0.15
"""Inches of a panel, its room for a category's name, and that beside it."""


_UNKNOWN_SCALE = Scale.recorded({})


@dataclass(frozen=True)
class Facts:
    """Facts of a model to mark in its curves; ``metrics`` are those of the drawn rows."""

    threshold: float | None = None
    scale: Scale = _UNKNOWN_SCALE
    metrics: Mapping[str, float] = field(default_factory=dict)
    classes: Sequence[str] = ()
    """The model's classes, in its order."""
    frequent: Sequence[str] = ()
    """The classes that curves are drawn of; empty: all."""

    @classmethod
    def of(
        cls, card: Mapping[str, Any], metrics: Mapping[str, float], frequent: Sequence[str] = ()
    ) -> Facts:
        """Return the facts in a model's card and metrics."""
        classes = tuple(str(label) for label in card.get("classes", ()))
        return cls(card.get("threshold"), Scale.recorded(card), metrics, classes, frequent)


def draw(name: str, table: pd.DataFrame, subject: str = "", facts: Facts | None = None) -> Figure:
    """Draw a table of points by its name, one of ``TITLES``; any other is drawn as curves."""
    facts = facts or Facts()
    if table.empty or table.shape[1] < 2:
        raise DataError(f"no points to draw in {name}; run `dvc repro` to make them again")
    title = TITLES.get(name, name.replace("_", " "))
    title = f"{title}, {subject}" if subject else title
    if name == "effects":
        return _effects(table, title)
    figure, axes = _canvas(4.5, wide_labels=name in _WIDE, legend_beside=name in _BESIDE)
    if name in _BY_CLASS and "class" in table:
        _class_curves(axes, table, name, facts)
    elif name in _OWN:
        _OWN[name](axes, table, facts)
    elif name in _DOTS:
        _dots(axes, table, ideal_slope=_DOTS[name])
    else:
        x, ys = _AXES.get(name, (str(table.columns[0]), [str(c) for c in table.columns[1:]]))
        _curves(axes, table, x, ys)
    axes.set_title(title, y=1)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, without date and software version."""
    with whole_file(path) as part, warnings.catch_warnings():
        # Columns may have names in any script; the font draws unknown letters as boxes.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(part, format="png", metadata={"Software": None})


def comparison(table: pd.DataFrame, metric: str) -> Figure:
    """Draw one metric of every model type with its interval, the best on top.

    ``table`` has a row a type, with columns type and METRIC; METRIC_low and METRIC_high if known.
    """
    figure, axes = _canvas(3, wide_labels=True)
    ordered = table.sort_values(metric, ascending=metric not in LOWER_IS_BETTER)
    low, high, errors = f"{metric}_low", f"{metric}_high", None
    if {low, high} <= set(table.columns):
        # A bootstrap may lie on one side of the value, as of the calibration error.
        sides = (ordered[metric] - ordered[low], ordered[high] - ordered[metric])
        errors = [side.clip(lower=0) for side in sides]
    axes.errorbar(ordered[metric], range(len(ordered)), xerr=errors, fmt="o", capsize=4)
    axes.set_yticks(range(len(ordered)), list(ordered["type"]))
    axes.set_xlabel(metric)
    axes.set_title("Model types compared", y=1)
    return figure


def _canvas(height: float, wide_labels: bool, legend_beside: bool = False) -> tuple[Figure, Axes]:
    """Return a figure with fixed margins and labels: automatic ones draw everything twice."""
    width = 8.5 if legend_beside else 6
    figure = Figure(figsize=(width, height), dpi=100)
    margins = {
        "left": 0.26 if wide_labels else 0.72 / width,
        "right": 5.82 / width,
        "top": 0.92,
        "bottom": 0.5 / height + 0.02,
    }
    axes = figure.subplots(gridspec_kw=margins)
    axes.xaxis.set_label_coords(0.5, -0.36 / (height * (margins["top"] - margins["bottom"])))
    if not wide_labels:
        axes.yaxis.set_label_coords(-0.5 / (width * (margins["right"] - margins["left"])), 0.5)
    return figure, axes


def _curves(axes: Axes, table: pd.DataFrame, x: str, ys: list[str]) -> None:
    marker = "." if len(table) < 20 else None
    for y in ys:
        axes.plot(table[x], table[y], marker=marker, label=y.replace("_", " "))
    _name_axes(axes, x, ys[0] if len(ys) == 1 else "value")
    if x == "iteration":
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if len(ys) > 1:
        axes.legend()


def _name_axes(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(_NAMES.get(x, x.replace("_", " ")))
    axes.set_ylabel(_NAMES.get(y, y.replace("_", " ")))


def _roc(axes: Axes, table: pd.DataFrame, facts: Facts) -> None:
    auc = facts.metrics.get("roc_auc")
    axes.plot(table["fpr"], table["tpr"], label="model" if auc is None else f"AUC {auc:.3f}")
    axes.plot([0, 1], [0, 1], linestyle=":", color="grey", label="by chance")
    if facts.threshold is not None:
        _mark_threshold(axes, table[::-1], ("fpr", "tpr"), facts.threshold)
    _name_axes(axes, "fpr", "tpr")
    axes.legend(loc="lower right")


def _mark_threshold(
    axes: Axes, rising: pd.DataFrame, columns: tuple[str, str], threshold: float
) -> None:
    """Mark the point of a curve at a threshold; ``rising`` has its thresholds in that order.

    Scores from the threshold on are positive, so it is the first point at or above it.
    """
    row = min(int(np.searchsorted(rising["threshold"], threshold)), len(rising) - 1)
    place = [rising[column].iloc[row] for column in columns]
    axes.plot(*place, "o", color="black", label=f"threshold {threshold:.4g}")


def _pr(axes: Axes, table: pd.DataFrame, facts: Facts) -> None:
    precision = facts.metrics.get("average_precision")
    label = "model" if precision is None else f"average precision {precision:.3f}"
    axes.plot(table["recall"], table["precision"], label=label)
    # The last point takes every row, so its precision is the rate of positives.
    rate = table["precision"].iloc[-1]
    axes.axhline(rate, linestyle=":", color="grey", label=f"by chance {rate:.3f}")
    if facts.threshold is not None:
        _mark_threshold(axes, table[::-1], ("recall", "precision"), facts.threshold)
    axes.set_ylim(-0.02, 1.02)
    _name_axes(axes, "recall", "precision")
    axes.legend(loc="best")


def _ks(axes: Axes, table: pd.DataFrame, facts: Facts) -> None:
    best = table.iloc[int(table["difference"].argmax())]
    axes.plot(table["score"], table["positives"], label="positives below")
    axes.plot(table["score"], table["negatives"], label="negatives below")
    axes.plot(table["score"], table["difference"], label="difference")
    axes.vlines(
        best["score"], best["positives"], best["negatives"], color="black",
        label=f"KS {best['difference']:.3f} at {best['score']:.3f}",
    )  # fmt: skip
    axes.plot(best["score"], best["difference"], "o", color="black")
    if facts.threshold is not None:
        label = f"threshold {facts.threshold:.4g}"
        axes.axvline(facts.threshold, linestyle="--", color="grey", label=label)
    _name_axes(axes, "score", "share of the class")
    _legend_beside(axes)


def _calibration(axes: Axes, table: pd.DataFrame, facts: Facts) -> None:
    """Draw the observed rate by score, and a calibrated model's line on the score's scale."""
    calibrated = f"{_BEFORE}predicted" in table
    if calibrated:
        before = table[f"{_BEFORE}predicted"], table[f"{_BEFORE}observed"]
        axes.plot(*before, marker=".", color="C1", alpha=0.7, label="before calibration")
    label = "after calibration" if calibrated else "model"
    axes.plot(table["predicted"], table["observed"], marker=".", color="C0", label=label)
    axes.plot([0, 1], [0, 1], linestyle=":", color="grey", label="calibrated probabilities")
    weight = facts.scale.positive_weight
    if weight != 1.0:
        score = np.linspace(0, 1, 101)
        odds = f"odds {weight:.3g} times a probability's"
        label = f"calibrated scores on the {facts.scale.name} scale,\n{odds}"
        axes.plot(score, to_probability(score, weight), "--", color="grey", label=label)
    _name_axes(axes, "predicted", "observed")
    axes.legend(loc="upper left", fontsize=8)


def _folds(axes: Axes, table: pd.DataFrame, _: Facts) -> None:
    """Draw every metric by fold; the legend gives means and spreads, the highest mean first."""
    means = table.drop(columns="fold").mean().sort_values(ascending=False, kind="stable")
    for place, (name, mean) in enumerate(means.items()):
        spread = f" ± {table[name].std():.3g}" if len(table) > 1 else ""
        label = f"{str(name).replace('_', ' ')} {mean:.3g}{spread}"
        marker = "os^vDPX*<>"[place % 10]
        axes.plot(table["fold"], table[name], marker=marker, markersize=5, label=label)
    axes.set_xticks(list(table["fold"]))
    _name_axes(axes, "fold", "value")
    _legend_beside(axes)


def _legend_beside(axes: Axes) -> None:
    axes.legend(loc="upper left", bbox_to_anchor=(1.02, 1), borderaxespad=0, fontsize=8)


def _class_curves(axes: Axes, table: pd.DataFrame, name: str, facts: Facts) -> None:
    """Draw a curve for each class, of many classes for the most frequent ones.

    Of a calibrated model, what was before has the same colour and is dotted.
    """
    x, ys = _AXES[name]
    known = list(dict.fromkeys(table["class"].astype(str)))
    shown = [label for label in facts.frequent if label in known] or known
    for label in shown:
        points = table[table["class"].astype(str) == label]
        (line,) = axes.plot(points[x], points[ys[0]], label=_short(label))
        if f"{_BEFORE}{x}" in points:
            before = points[f"{_BEFORE}{x}"], points[f"{_BEFORE}{ys[0]}"]
            axes.plot(*before, linestyle=":", linewidth=1, color=line.get_color())
    if name in _DIAGONAL:
        axes.plot([0, 1], [0, 1], linestyle=":", color="grey")
    _name_axes(axes, x, ys[0])
    auc = facts.metrics.get("macro_roc_auc")
    notes = [
        f"{len(shown)} of {len(known)} classes" if len(shown) < len(known) else "",
        f"mean AUC {auc:.3f}" if name == "roc" and auc is not None else "",
        "dotted: before calibration" if f"{_BEFORE}{x}" in table else "",
    ]
    axes.legend().set_title("\n".join(filter(None, notes)))


def _class_bars(axes: Axes, table: pd.DataFrame, _: Facts) -> None:
    top = table.sort_values("rows", ascending=False, kind="stable").head(_MOST_BARS)[::-1]
    places = range(len(top))
    for name, marker in zip(_OF_CLASSES, "o^sD", strict=True):
        axes.plot(top[name], places, linestyle="none", marker=marker, label=name.replace("_", " "))
    labels = [f"{_short(c)} ({n:,})" for c, n in zip(top["class"], top["rows"], strict=True)]
    axes.set_yticks(places, labels, fontsize=7)
    axes.set_xlim(-0.02, 1.02)
    axes.legend()


def _short(label: object, longest: int = _LONGEST_LABEL) -> str:
    text = str(label).replace("$", r"\$")
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _dots(axes: Axes, table: pd.DataFrame, ideal_slope: int) -> None:
    """Draw a dot a row, its second column against the first, and a perfect model's line."""
    x, y = (str(column) for column in table.columns[:2])
    axes.scatter(table[x], table[y], s=8, alpha=0.4, linewidths=0)
    start = float(table[x].min())  # a point of the line far from the dots would be shown, too
    axes.axline((start, ideal_slope * start), slope=ideal_slope, linestyle=":", color="grey")
    axes.set_xlabel(x)
    axes.set_ylabel(y)


def _bars(axes: Axes, table: pd.DataFrame, _: Facts) -> None:
    ordered = table.sort_values(["importance", "feature"], ascending=[False, True])
    top = ordered.head(_MOST_BARS)[::-1]
    axes.barh(list(top["feature"].astype(str)), list(top["importance"]))
    axes.tick_params(axis="y", labelsize=7)
    axes.set_xlabel("importance")


def _effects(table: pd.DataFrame, title: str) -> Figure:
    """Draw the mean score by the value of each input, a panel an input, all on one scale.

    ``table`` is that of ``evaluation/effects.py``, its values as text.
    """
    features = list(dict.fromkeys(table["feature"]))
    rows, columns = -(-len(features) // _PANELS_IN_A_ROW), min(len(features), _PANELS_IN_A_ROW)
    width, height = _PANEL_WIDTH * columns, _PANEL_HEIGHT * rows + 0.4
    figure = Figure(figsize=(width, height), dpi=100)
    margins = {
        "left": _PANEL_LEFT / width,
        "right": 1 - _PANEL_RIGHT / width,
        "top": 1 - 0.65 / height,
        "bottom": 0.5 / height,
        "wspace": (_PANEL_LEFT + _PANEL_RIGHT) / (_PANEL_WIDTH - _PANEL_LEFT - _PANEL_RIGHT),
        "hspace": 0.75 / (_PANEL_HEIGHT - 0.75),
    }
    panels = figure.subplots(rows, columns, squeeze=False, gridspec_kw=margins).ravel()
    low, high = table["effect"].min(), table["effect"].max()
    room = 0.05 * (high - low) or 0.05
    for axes, feature in zip(panels, features, strict=False):
        own = table[table["feature"] == feature]
        panel = _number_panel if own["kind"].iloc[0] == "number" else _category_panel
        panel(axes, own, (low - room, high + room))
        axes.set_title(str(feature), fontsize=9, y=1)
        axes.xaxis.set_label_coords(0.5, -0.3 / (_PANEL_HEIGHT - 0.75))
        axes.yaxis.set_label_coords(-0.45 / (_PANEL_WIDTH - _PANEL_LEFT - _PANEL_RIGHT), 0.5)
        axes.tick_params(labelsize=7)
    for unused in panels[len(features) :]:
        unused.set_axis_off()
    if "class" in table:
        panels[0].legend(fontsize=7, title="class")
    figure.suptitle(title)
    return figure


def _by_class(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Return the rows of each class with its label, or all rows with none."""
    if "class" not in table:
        return [("", table)]
    labels = dict.fromkeys(table["class"])
    return [(_short(label), table[table["class"] == label]) for label in labels]


def _number_panel(axes: Axes, table: pd.DataFrame, limits: tuple[float, float]) -> None:
    """Draw a line of means by value; a dotted line has that of missing values."""
    for label, own in _by_class(table):
        known = own[own["value"] != MISSING]
        (line,) = axes.plot(known["value"].astype(float), known["effect"], ".-", label=label)
        for mean in own.loc[own["value"] == MISSING, "effect"]:
            axes.axhline(mean, linestyle=":", color=line.get_color())
            axes.annotate(
                "missing", (1, mean), xycoords=("axes fraction", "data"), ha="right", va="bottom",
                fontsize=7,
            )  # fmt: skip
    axes.set_ylim(limits)
    axes.set_ylabel("mean score", fontsize=7)


def _category_panel(axes: Axes, table: pd.DataFrame, limits: tuple[float, float]) -> None:
    """Draw a dot a category, the first on top."""
    for label, own in _by_class(table):
        axes.plot(own["effect"], range(len(own)), "o", markersize=4, label=label)
    texts = [_short(text or "missing", _LONGEST_CATEGORY) for text in own["value"]]
    axes.set_yticks(range(len(texts)), texts)
    axes.invert_yaxis()
    axes.grid(axis="y", alpha=0.3)
    axes.set_xlim(limits)
    axes.set_xlabel("mean score", fontsize=7)


def _matrix(axes: Axes, table: pd.DataFrame, facts: Facts) -> None:
    """Draw the counts of each pair of classes, coloured by their share of the actual class."""
    places = {label: place for place, label in enumerate(facts.classes)}
    labels = sorted(set(table["actual"]) | set(table["predicted"]))
    labels.sort(key=lambda label: places.get(str(label), len(places)))
    counts = table.pivot(index="actual", columns="predicted", values="rows")
    counts = counts.reindex(index=labels, columns=labels).fillna(0).astype(int)
    share = counts.to_numpy() / np.maximum(counts.to_numpy().sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    axes.set_xlabel("predicted")
    axes.set_ylabel("actual")
    if len(labels) > _MOST_BARS:  # numbers would overlap; the table beside the plot has them
        return
    for row, values in enumerate(counts.to_numpy()):
        for column, value in enumerate(values):
            part = share[row, column]
            text = f"{value:,}\n{part:.1%}" if len(labels) <= _MOST_SHARES else f"{value:,}"
            color = "white" if part > 0.5 else "black"
            axes.text(column, row, text, ha="center", va="center", color=color)
    upright = len(labels) > 3
    axes.set_xticks(range(len(labels)), [_short(label) for label in labels], rotation=20 * upright)
    axes.set_yticks(range(len(labels)), [_short(label) for label in labels])


_OWN = {
    "classes": _class_bars,
    "roc": _roc,
    "pr": _pr,
    "ks": _ks,
    "calibration": _calibration,
    "folds": _folds,
    "confusion_matrix": _matrix,
    "importance": _bars,
}
"""Tables with a drawing of their own."""
