"""The figures of the report by task, and what its threshold slider needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lockstep.decision.score_scale import PROBABILITY
from lockstep.problems.words import class_words, decision_words
from lockstep.reports import report_charts as charts
from lockstep.reports.look.specs import Spec
from lockstep.reports.report_files import ReportFiles, TypeFiles

_OF_BINARY = frozenset({"roc", "pr", "ks", "calibration", "confusion_matrix"})
_OFF_SCALE = "The scores are no probabilities, so the curve leaves the diagonal."


@dataclass(frozen=True)
class Figure:
    """One chart of the page: its name there, its title, and in words what it shows."""

    name: str
    title: str
    spec: Spec
    text: str


def figures_of(files: ReportFiles) -> list[Figure]:
    """Return the figures of the test rows; none for plots that are not there."""
    kinds = {"binary": _binary, "multiclass": _multiclass, "regression": _regression}
    return kinds[files.schema.task](files)


def slider_of(files: ReportFiles) -> dict[str, Any] | None:
    """Return what the threshold's slider needs of each type; None if there is no threshold."""
    drawable = _drawable(files)
    if not drawable:
        return None
    decided = f"decided: {decision_words(files.schema)[1]}"
    names = [one.name for one in drawable]
    return {
        "types": {one.name: _stops(one) for one in drawable},
        "shown": files.shown.name if files.shown.name in names else names[0],
        "rates": {one.name: charts.rates_chart(one, decided) for one in drawable},
    }


def _drawable(files: ReportFiles) -> list[TypeFiles]:
    """Return the types of two classes with all their plots."""
    is_binary = files.schema.task == "binary"
    return [one for one in files.types if is_binary and set(one.plots) >= _OF_BINARY]


def _stops(one: TypeFiles) -> dict[str, Any]:
    counts, rows = charts.class_counts(one), charts.threshold_rows(one)
    configured = [place for place, row in enumerate(rows) if row[0] == one.threshold]
    return {
        "positives": counts["1"],
        "negatives": counts["0"],
        "points": rows,
        "configured": configured[0] if configured else None,
    }


def _binary(files: ReportFiles) -> list[Figure]:
    drawable = _drawable(files)
    if not drawable:
        return []
    shown = files.shown if files.shown in drawable else drawable[0]
    counts = charts.class_counts(shown)
    rate = counts["1"] / max(sum(counts.values()), 1)
    roc = charts.of_types(files, "roc", x="fpr", y="tpr")
    pr = charts.of_types(files, "pr", x="recall", y="precision")
    calibration = charts.of_types(files, "calibration", x="predicted", y="observed")
    by_class = charts.class_score_rows(shown, class_words(files.schema))
    is_probability = shown.card.get("score_scale", PROBABILITY) == PROBABILITY
    groups = "Observed share of positives in groups of equal size by score."
    calibrated = charts.calibration_chart(calibration, "observed share of positives")
    scores = charts.score_chart([row for one in drawable for row in charts.score_rows(one)], None)
    own = charts.score_chart(by_class, shown.threshold)
    texts = "Share of the test rows by score, in 40 bins.", "Share of each class's test rows."
    note = groups if is_probability else f"{groups} {_OFF_SCALE}"
    return [
        Figure("roc", "ROC", charts.roc_chart(roc), "True against false positive rate."),
        Figure("pr", "Precision and recall", charts.pr_chart(pr, rate), "All thresholds."),
        Figure("calibration", "Calibration", calibrated, note),
        Figure("scores", "Scores of all types", scores, texts[0]),
        Figure("class-scores", f"Scores of {shown.name} by class", own, texts[1]),
    ]


def _multiclass(files: ReportFiles) -> list[Figure]:
    one = files.shown
    if not {"classes", "confusion_matrix", "roc", "pr", "calibration"} <= set(one.plots):
        return []
    labels = files.classes or [str(label) for label in one.plots["classes"]["class"]]
    roc = charts.roc_chart(charts.class_curves(one, "roc", "fpr", "tpr"))
    pr = charts.pr_chart(charts.class_curves(one, "pr", "recall", "precision"), None)
    curves = charts.class_curves(one, "calibration", "predicted", "observed")
    calibrated = charts.calibration_chart(curves, "observed share")
    confusion, others = charts.confusion_chart(one, labels), "Each class against all others"
    shares = "Rows of each actual class by decision; dark: a large share of the class."
    brackets = "F1, precision and recall of each class; in brackets its test rows."
    groups = "Observed share of each class in groups of equal size by its probability."
    most = f"{others}; the {charts.MOST_CLASSES} most frequent classes."
    return [
        Figure("classes", f"Classes of {one.name}", charts.classes_chart(one), brackets),
        Figure("confusion", f"Confusion matrix of {one.name}", confusion, shares),
        Figure("roc", f"ROC of {one.name}", roc, most),
        Figure("pr", f"Precision and recall of {one.name}", pr, most),
        Figure("calibration", f"Calibration of {one.name}", calibrated, groups),
    ]


def _regression(files: ReportFiles) -> list[Figure]:
    one, target = files.shown, files.schema.columns[files.schema.target]
    if not {"predicted_actual", "residuals", "coverage"} <= set(one.plots):
        return []
    predicted = f"predicted ({target.unit})" if target.unit else "predicted"
    actual = charts.dots_chart(one.plots["predicted_actual"], 1, predicted, "actual")
    residual = charts.dots_chart(one.plots["residuals"], 0, predicted, "actual minus predicted")
    rows = charts.of_types(files, "coverage", x="predicted", y="coverage")
    coverage = charts.coverage_chart(rows, float(one.plots["coverage"]["declared"].iloc[0]))
    dots = "A dot a test row; at most 500, evenly spaced by prediction."
    inside = "Share of test rows with their value inside the interval, in groups by prediction."
    return [
        Figure("predicted-actual", f"Predicted and actual, {one.name}", actual, dots),
        Figure("residuals", f"Residuals, {one.name}", residual, dots),
        Figure("coverage", "Prediction intervals", coverage, inside),
    ]
