"""A problem's sections in DVC's files: artifacts in dvc.yaml, plots in metrics/dvc.yaml."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

PLOTS = "metrics/dvc.yaml"
"""Where the plots are declared, beside the files that they show."""


@dataclass(frozen=True)
class Curve:
    """One drawing: its title after the problem's name, and which columns of which file it shows."""

    title: str
    x: str
    file: str
    y: str
    x_label: str
    y_label: str
    template: str = "lines_by_model"


_CURVES = {
    "binary": (
        Curve("ROC", "fpr", "roc.csv", "tpr", "false positive rate", "true positive rate"),
        Curve(
            "KS", "score", "ks.csv", "difference", "score",
            "share of negatives below it less that of positives",
        ),
        Curve("precision and recall", "recall", "pr.csv", "precision", "recall", "precision"),
        Curve(
            "calibration", "predicted", "calibration.csv", "observed",
            "mean predicted probability", "observed rate",
        ),
    ),
    "multiclass": (),
    "regression": (
        Curve(
            "predicted and actual", "predicted", "predicted_actual.csv", "actual",
            "predicted value", "actual value", "dots_by_model",
        ),
        Curve(
            "residuals", "predicted", "residuals.csv", "residual",
            "predicted value", "actual minus predicted", "dots_by_model",
        ),
        Curve(
            "interval coverage", "predicted", "coverage.csv", "coverage", "predicted value",
            "share inside the prediction interval",
        ),
    ),
}  # fmt: skip
"""Drawings with a line (or dots) a model type."""
_CONFUSION = Curve(
    "confusion", "actual", "confusion_matrix.csv", "predicted", "actual", "predicted",
    "counted_confusion",
)  # fmt: skip
_CLASSES = Curve("F1 by class", "f1", "classes.csv", "class", "F1", "class", "sorted_bars")
_IMPORTANCE = Curve(
    "importance", "importance", "importance.csv", "feature", "share of the importance", "column",
    "sorted_bars",
)  # fmt: skip
_OF_TYPE = {
    "binary": (_CONFUSION, _IMPORTANCE),
    "multiclass": (_CONFUSION, _CLASSES, _IMPORTANCE),
    "regression": (_IMPORTANCE,),
}
"""Drawings of one model type."""
_COPY = "development copy, production loads from the registry"


def artifacts(problem: str, what: str, types: Iterable[str]) -> str:
    """Return the section ``artifacts:`` of a problem's model types."""
    lines = ["artifacts:"]
    for name in types:
        lines += [
            f"  {problem}-{name}:",
            f"    path: models/{problem}/{name}_model.joblib",
            "    type: model",
            f"    desc: {what}, {name.replace('_', ' ')}; {_COPY}",
        ]
    return "\n".join(lines) + "\n"


def plots(problem: str, task: str, types: Iterable[str], curved: Iterable[str]) -> str:
    """Return the section ``plots:`` of a problem; its paths start in metrics/.

    First come curves with a line per model type, then bars and matrices of each type. ``curved``
    are the types with a learning curve.
    """
    known = list(types)
    lines = ["plots:"]
    for curve in _CURVES[task]:
        lines += _entry(problem, curve, known)
    lines += _entry(problem, _history(task), list(curved))
    for name in known:
        for curve in _OF_TYPE[task]:
            lines += _entry(problem, curve, [name], suffix=f" {name}")
    return "\n".join(lines) + "\n"


def _history(task: str) -> Curve:
    column, loss = ("stop_rmse", "RMSE") if task == "regression" else ("stop_log_loss", "log loss")
    label = f"{loss} of the early stopping rows"
    return Curve("loss by iteration", "iteration", "history.csv", column, "iteration", label)


def _entry(problem: str, curve: Curve, types: list[str], suffix: str = "") -> list[str]:
    title = f"{problem} {curve.title}{suffix}"
    return [
        f"  - {title}:",
        f"      template: {curve.template}",
        f"      x: {curve.x}",
        "      y:",
        *(f"        {problem}/types/{name}/plots/{curve.file}: {curve.y}" for name in types),
        f"      title: {title}",
        f"      x_label: {curve.x_label}",
        f"      y_label: {curve.y_label}",
    ]
