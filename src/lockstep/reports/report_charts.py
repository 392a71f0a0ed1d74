"""The charts of the report, from the tables that the stages wrote."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lockstep.reports.look import specs
from lockstep.reports.look.specs import Spec, axis
from lockstep.reports.report_files import (
    MOST_CLASSES,
    ReportFiles,
    TypeFiles,
    frequent_classes,
    records,
)
from lockstep.reports.report_rows import Period

BINS = 40
MOST_BARS = 15
_SHARE: Spec = {"scale": {"domain": [0, 1]}}


def _finite(value: float) -> float | None:
    """Return a number, or nothing for what a chart can't draw."""
    return value if math.isfinite(value) else None


def rows_of(table: pd.DataFrame, name: str, **columns: str) -> list[dict[str, Any]]:
    """Return rows for a chart: its fields from columns, and the name of the line."""
    picked = table[list(columns.values())].set_axis(list(columns), axis=1).dropna()
    return [{**row, "name": name} for row in records(picked)]


def of_types(files: ReportFiles, plot: str, **columns: str) -> list[dict[str, Any]]:
    """Return the rows of a plot for all model types that have it, one line a type."""
    return [
        row
        for one in files.types
        if plot in one.plots and set(columns.values()) <= set(one.plots[plot])
        for row in rows_of(one.plots[plot], one.name, **columns)
    ]


def names(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the names of the lines, in their order."""
    return list(dict.fromkeys(str(row["name"]) for row in rows))


# ---------------------------------------------------------------- the data


def target_chart(periods: Sequence[Period], title: str, is_share: bool) -> Spec:
    """Return the target by period, a line a class, with 95 % intervals."""
    x = axis("", kind="temporal", field="x")
    y = axis(title, field="y", form=".0%" if is_share else ".3~g", scale={"zero": False})
    rows = [
        {"x": one.start, "y": one.value, "low": _finite(one.low), "high": _finite(one.high),
         "name": one.name, "rows": one.rows}
        for one in periods
    ]  # fmt: skip
    shown = specs.named(names(rows), legend=len(names(rows)) > 1)
    band = {
        "mark": {"type": "area", "opacity": 0.18},
        "encoding": {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"},
                     "color": shown["color"]},
    }  # fmt: skip
    facts = (("x", "from", ""), ("y", title, ".3~g"), ("rows", "rows", ",d"))
    line = {
        "mark": {"type": "line", "point": {"size": 30}},
        "encoding": {"x": x, "y": y, **shown, "tooltip": specs.tooltip(*facts)},
    }
    return specs.spec(rows, 220, layer=[band, line])


# ---------------------------------------------------------------- the types side by side


def metric_chart(files: ReportFiles, label: str) -> Spec:
    """Return the metric of each type with its interval; the best reachable value is a rule."""
    assert files.comparison is not None
    metric, champion = files.metric, files.champion
    rows = [
        {**one, "marked": bool(champion and champion.name == one["name"])}
        for one in _range_rows(files.comparison, metric)
    ]
    reachable = files.reachable.get("test")
    rules = [] if reachable is None else [_level_among(rows, reachable, "best reachable")]
    return specs.ranges(rows, names(rows), axis(label, scale={"zero": False}), rules)


def _range_rows(table: pd.DataFrame, column: str) -> list[dict[str, Any]]:
    """Return each type's value with the ends of its interval; without it, the value alone."""
    known = table[np.isfinite(table[column])]
    ends = {end: known[f"{column}_{end}"].fillna(known[column]) for end in ("low", "high")}
    plain = pd.DataFrame({"name": known["type"], "x": known[column], **ends})
    return records(plain)


def _level_among(rows: Sequence[Mapping[str, Any]], value: float, text: str) -> Spec:
    """Return a rule whose text stands on the side where there is room."""
    low = min((row["low"] for row in rows), default=value)
    high = max((row["high"] for row in rows), default=value)
    return specs.level(value, text, before=value > (low + high) / 2)


def difference_chart(files: ReportFiles, label: str) -> Spec:
    """Return each other type's paired difference to the champion with its interval, beside 0."""
    assert files.comparison is not None
    assert files.champion is not None
    others = files.comparison[files.comparison["type"] != files.champion.name]
    rows = _range_rows(others, "difference")
    return specs.ranges(rows, names(rows), axis(label), [_level_among(rows, 0, "champion")])


# ---------------------------------------------------------------- curves of two classes


def roc_chart(rows: Sequence[Mapping[str, Any]]) -> Spec:
    """Return ROC curves with the line of chance."""
    x, y = axis("false positive rate"), axis("true positive rate", field="y")
    return specs.lines(rows, names(rows), x, y, beside=[specs.diagonal(x, y)])


def pr_chart(rows: Sequence[Mapping[str, Any]], rate: float | None) -> Spec:
    """Return precision-recall curves; the share of positives is what chance gives."""
    x, y = axis("recall"), axis("precision", field="y", **_SHARE)
    rules = [] if rate is None else [specs.level(rate, "by chance", across=True)]
    return specs.lines(rows, names(rows), x, y, beside=rules)


def calibration_chart(rows: Sequence[Mapping[str, Any]], y_title: str) -> Spec:
    """Return the observed share by mean score, with the line of calibrated probabilities."""
    x, y = axis("mean score"), axis(y_title, field="y")
    return specs.lines(
        rows, names(rows), x, y, beside=[specs.diagonal(x, y)], mark={"point": {"size": 30}}
    )


def score_rows(one: TypeFiles) -> list[dict[str, Any]]:
    """Return the share of test rows by score, of one type, from its curve of shares below."""
    return [
        {"x": middle, "y": share, "name": one.name}
        for middle, share in _density(one, _mixed(one)).items()
    ]


def class_score_rows(one: TypeFiles, words: Sequence[str]) -> list[dict[str, Any]]:
    """Return the share of each class's test rows by score; ``words`` name the classes."""
    curve = one.plots["ks"]
    found = []
    for word, column in zip(words, ("negatives", "positives"), strict=True):
        found += [{"x": x, "y": y, "name": word} for x, y in _density(one, curve[column]).items()]
    return found


def _mixed(one: TypeFiles) -> pd.Series:
    """Return the share of all rows below each score, from those of the two classes."""
    counts, curve = class_counts(one), one.plots["ks"]
    positives, negatives = counts["1"], counts["0"]
    below = curve["positives"] * positives + curve["negatives"] * negatives
    return below / max(positives + negatives, 1)


def class_counts(one: TypeFiles) -> dict[str, int]:
    """Return the test rows of each class of two."""
    counts = one.plots["confusion_matrix"].groupby("actual")["rows"].sum()
    return {label: int(counts.get(label, 0)) for label in ("0", "1")}


def _density(one: TypeFiles, below: pd.Series) -> dict[float, float]:
    """Return the share of rows in each of ``BINS`` bins of the score, by the bin's middle."""
    scores, edges = one.plots["ks"]["score"].to_numpy()[::-1], np.linspace(0, 1, BINS + 1)
    # Below an edge lies what lies below the next known score: scores may be tied.
    known = np.append(below.to_numpy()[::-1], 1.0)
    cumulated = known[np.searchsorted(scores, edges[:-1])]
    cumulated = np.append(cumulated, 1.0)
    middles = (edges[:-1] + edges[1:]) / 2
    return dict(zip(middles.tolist(), np.diff(cumulated).tolist(), strict=True))


def score_chart(rows: Sequence[Mapping[str, Any]], threshold: float | None) -> Spec:
    """Return how test rows spread over the scores, a line a name."""
    x, y = axis("score", **_SHARE), axis("share of the rows", field="y", form=".0%")
    rules = [] if threshold is None else [specs.level(threshold, "threshold")]
    return specs.lines(
        rows, names(rows), x, y, beside=rules, mark={"interpolate": "step"}, height=220
    )


# ---------------------------------------------------------------- the threshold


def threshold_rows(one: TypeFiles) -> list[tuple[float, int, int]]:
    """Return thresholds, rising, with the true and the false positives at or above each.

    The counts are the rates of the ROC curve times the rows of each class: exact up to a million
    rows of a class, as rates have six digits. The configured threshold is among them, with the
    counts of the confusion matrix.
    """
    counts, curve = class_counts(one), one.plots["roc"]
    found = {
        float(row["threshold"]): (round(row["tpr"] * counts["1"]), round(row["fpr"] * counts["0"]))
        for row in records(curve)
    }
    if one.threshold is not None:
        cells = one.plots["confusion_matrix"].set_index(["actual", "predicted"])["rows"]
        hits, misses = (int(cells.get((label, "1"), 0)) for label in ("1", "0"))
        found[float(one.threshold)] = (hits, misses)
    return [(threshold, *found[threshold]) for threshold in sorted(found)]


def rates_chart(one: TypeFiles, decided: str) -> Spec:
    """Return recall, precision and the share decided as positive by threshold.

    The page moves the parameter ``threshold``, a rule.
    """
    counts = class_counts(one)
    rows = []
    for threshold, hits, misses in threshold_rows(one):
        taken = hits + misses
        rows.append({"x": threshold, "y": hits / max(counts["1"], 1), "name": "recall"})
        rows.append({"x": threshold, "y": taken / max(sum(counts.values()), 1), "name": decided})
        if taken:
            rows.append({"x": threshold, "y": hits / taken, "name": "precision"})
    chosen = {
        "data": {"values": [{}]},
        "mark": {"type": "rule", "strokeWidth": 2, "color": "var(--ink)"},
        "encoding": {"x": {"datum": {"expr": "threshold"}, "type": "quantitative"}},
    }
    x = axis("threshold", **_SHARE)
    y = axis("share", field="y", form=".0%", **_SHARE)
    drawn = specs.lines(rows, ["recall", "precision", decided], x, y, beside=[chosen], height=220)
    return {
        **drawn,
        "params": [{"name": "threshold", "value": 0.5 if one.threshold is None else one.threshold}],
    }


# ---------------------------------------------------------------- several classes, regression


def class_curves(one: TypeFiles, plot: str, x: str, y: str) -> list[dict[str, Any]]:
    """Return the rows of a curve with a line a class: of the most frequent classes."""
    table = one.plots[plot]
    return [
        row
        for label in frequent_classes(one.plots["classes"])
        for row in rows_of(table[table["class"] == label], label, x=x, y=y)
    ]


def confusion_chart(one: TypeFiles, labels: Sequence[str]) -> Spec:
    """Return the confusion matrix: each cell's share of its actual class, with the count."""
    table = one.plots["confusion_matrix"]
    totals = table.groupby("actual")["rows"].transform("sum")
    rows = [
        {"x": row["predicted"], "y": row["actual"], "rows": row["rows"],
         "share": row["rows"] / size}
        for row, size in zip(records(table), totals, strict=True)
    ]  # fmt: skip
    place = {"type": "nominal", "sort": list(labels)}
    x = {"field": "x", "title": "predicted", "axis": {"labelAngle": -45, "labelLimit": 90}, **place}
    y = {"field": "y", "title": "actual", **place}
    shown = specs.tooltip(
        ("y", "actual", ""), ("x", "predicted", ""), ("rows", "rows", ",d"),
        ("share", "share of the class", ".1%"),
    )  # fmt: skip
    ink = {"condition": {"test": "datum.share > 0.5", "value": "var(--on-accent)"},
           "value": "var(--ink)"}  # fmt: skip
    cell = {
        "mark": {"type": "rect", "color": "var(--accent)"},
        "encoding": {"opacity": {"field": "share", "type": "quantitative", "legend": None,
                                 "scale": {"domain": [0, 1], "range": [0.03, 1]}},
                     "tooltip": shown},
    }  # fmt: skip
    text = {"mark": {"type": "text"},
            "encoding": {"text": {"field": "rows", "format": ",d"}, "color": ink}}  # fmt: skip
    layers = [cell, text] if len(labels) <= MOST_CLASSES + 2 else [cell]
    step = 30 if len(labels) <= MOST_CLASSES + 2 else 14
    return specs.spec(
        rows, specs.stacked(len(labels), step) + 40, encoding={"x": x, "y": y}, layer=layers
    )


def classes_chart(one: TypeFiles) -> Spec:
    """Return F1, precision and recall of each class, the most frequent first."""
    table = one.plots["classes"].sort_values("rows", ascending=False, kind="stable")[:30]
    rows = [
        {"name": metric, "x": row[metric], "y": f"{row['class']} ({row['rows']:,})"}
        for row in records(table)
        for metric in ("f1", "precision", "recall")
    ]
    measures = ["f1", "precision", "recall"]
    shapes = {"domain": measures, "range": specs.SHAPES[:3]}
    told = specs.tooltip(("y", "class", ""), ("name", "metric", ""), ("x", "value", ".4~g"))
    y = {"field": "y", "type": "nominal", "sort": None, "title": None}
    return specs.spec(
        rows,
        specs.stacked(len(table), 24) + 30,
        mark={"type": "point", "filled": True, "size": 80, "opacity": 1},
        encoding={
            "x": axis("value", **_SHARE),
            "y": y,
            "color": specs.named(measures)["color"],
            "shape": {"field": "name", "type": "nominal", "scale": shapes},
            "tooltip": told,
        },
    )


def dots_chart(table: pd.DataFrame, slope: int, x_title: str, y_title: str) -> Spec:
    """Return a dot a row, its second column by its first, with a perfect model's line."""
    x, y = (str(name) for name in table.columns[:2])
    ends = [{"x": float(end), "y": float(end * slope)} for end in (table[x].min(), table[x].max())]
    encoding = {
        "x": axis(x_title, scale={"zero": False}),
        "y": axis(y_title, field="y", scale={"zero": False}),
    }
    mark = {"type": "line", "color": "var(--ink)", "strokeDash": [5, 4], "strokeWidth": 1}
    shown = specs.tooltip(("x", x_title, ".4~g"), ("y", y_title, ".4~g"))
    dot = {"mark": {"type": "point", "size": 18, "opacity": 0.5}, "encoding": {"tooltip": shown}}
    line = {"data": {"values": ends}, "mark": mark}
    return specs.spec(rows_of(table, "", x=x, y=y), 280, encoding=encoding, layer=[dot, line])


def coverage_chart(rows: Sequence[Mapping[str, Any]], declared: float) -> Spec:
    """Return the share of test rows inside the prediction interval, by prediction."""
    x = axis("predicted value", scale={"zero": False})
    y = axis("share inside the interval", field="y", form=".0%", scale={"zero": False})
    return specs.lines(
        rows, names(rows), x, y, mark={"point": {"size": 30}}, height=220,
        beside=[specs.level(declared, "declared", across=True)],
    )  # fmt: skip


# ---------------------------------------------------------------- what the model uses


def importance_chart(one: TypeFiles) -> Spec:
    """Return the largest shares of the importance."""
    table = one.plots["importance"][:MOST_BARS]
    rows = [{"name": str(row["feature"]), "x": row["importance"]} for row in records(table)]
    return specs.bars(rows, axis("share of the importance", form=".0%"))


def effect_charts(one: TypeFiles, title: str) -> list[tuple[str, Spec]]:
    """Return the average prediction by value of each of the strongest features, by its name."""
    table = one.plots.get("effects")
    if table is None or table.empty:
        return []
    return [
        (str(name), _effect_chart(part, title))
        for name, part in table.groupby("feature", sort=False)
    ]


def _effect_chart(table: pd.DataFrame, title: str) -> Spec:
    labels = table["class"] if "class" in table else pd.Series("", index=table.index)
    rows = [
        {"x": value or "missing", "y": effect, "rows": count, "name": label}
        for value, effect, count, label in zip(
            table["value"], table["effect"], table["rows"], labels, strict=True
        )
    ]
    shown = specs.named(names(rows), legend=len(names(rows)) > 1)
    draw = _number_effect if table["kind"].iloc[0] == "number" else _category_effect
    return draw(rows, axis(title, field="y", scale={"zero": False}), shown)


def _number_effect(rows: list[dict[str, Any]], y: Spec, shown: Spec) -> Spec:
    """Return a line by value; what a missing value gives is a rule, of one line only."""
    known = [{**row, "x": float(row["x"])} for row in rows if row["x"] != "missing"]
    missing = [row for row in rows if row["x"] == "missing"]
    told = specs.tooltip(("name", "", ""), ("x", "value", ".4~g"), ("y", "mean", ".4~g"))
    x = axis("", scale={"zero": False})
    line = {
        "mark": {"type": "line", "point": {"size": 30}},
        "encoding": {"x": x, "y": y, **shown, "tooltip": told},
    }
    rules = [specs.level(row["y"], "missing", across=True) for row in missing if len(missing) == 1]
    height = specs.with_legend(150, names(rows))
    return specs.spec(known, height, layer=[*rules, line])


def _category_effect(rows: list[dict[str, Any]], y: Spec, shown: Spec) -> Spec:
    """Return a dot a category, which are below each other."""
    order = list(dict.fromkeys(row["x"] for row in rows))
    names_of = {"field": "x", "type": "nominal", "sort": order, "title": None}
    told = specs.tooltip(
        ("name", "", ""), ("x", "value", ""), ("y", "mean", ".4~g"), ("rows", "rows", ",d")
    )
    return specs.spec(
        rows,
        specs.with_legend(specs.stacked(len(order), 16), names(rows)),
        mark={"type": "point", "opacity": 1},
        encoding={
            "y": {**names_of, "axis": {"labelLimit": 130, "ticks": False, "grid": True}},
            "x": {**y, "field": "y"},
            "color": shown["color"],
            "tooltip": told,
        },
    )


# ---------------------------------------------------------------- learning


def history_charts(files: ReportFiles) -> list[tuple[str, Spec]]:
    """Return the losses by iteration of each type that has them, by its name."""
    found = []
    for one in files.types:
        if "history" not in one.plots:
            continue
        table = one.plots["history"]
        first, *losses = (str(column) for column in table.columns)
        rows = [r for c in losses for r in rows_of(table, c.replace("_", " "), x=first, y=c)]
        x, y = axis("iteration"), axis("loss", field="y", scale={"zero": False})
        best = one.metrics.get("best_iteration")
        rules = [specs.level(best, "best")] if best else []
        found.append((one.name, specs.lines(rows, names(rows), x, y, height=180, beside=rules)))
    return found
