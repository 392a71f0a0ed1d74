"""The entries of dvc.yaml that name one problem's files: artifacts and plots."""

from __future__ import annotations

from collections.abc import Iterable

_CURVES = {
    "binary": (
        ("ROC", "fpr", "roc.csv", "tpr", "false positive rate", "true positive rate"),
        ("precision and recall", "recall", "pr.csv", "precision", "recall", "precision"),
        (
            "calibration",
            "predicted",
            "calibration.csv",
            "observed",
            "mean predicted probability",
            "observed rate",
        ),
    ),
    "multiclass": (),
    "regression": (),
}
"""Curves drawn with a line a model type: title, x, file, y, labels."""


def artifacts(problem: str, what: str, types: Iterable[str]) -> str:
    """Return the section ``artifacts:`` of a problem's model types."""
    lines = ["artifacts:"]
    for name in types:
        lines += [
            f"  {problem}-{name}:",
            f"    path: models/{problem}/{name}_model.joblib",
            "    type: model",
            f"    desc: {what}, {name.replace('_', ' ')}; development copy, production loads from the registry",
        ]
    return "\n".join(lines) + "\n"


def plots(problem: str, task: str, types: Iterable[str]) -> str:
    """Return the section ``plots:`` of a problem: curves with a line a type, then bars and matrices a type."""
    known = list(types)
    lines = ["plots:"]
    for title, x, file, y, x_label, y_label in _CURVES[task]:
        lines += _entry(
            f"{problem} {title}", "simple", x, {_path(problem, t, file): y for t in known}, x_label, y_label
        )
    loss = "rmse" if task == "regression" else "log_loss"
    grown = {
        _path(problem, t, "history.csv"): f"stop_{loss}"
        for t in known
        if t not in ("logistic_regression", "ridge")
    }
    title = f"{problem} loss by iteration"
    lines += _entry(title, "simple", "iteration", grown, "iteration", f"{_spelt(loss)} of the stop part")
    for name in known:
        lines += _of_type(problem, task, name)
    return "\n".join(lines) + "\n"


def _spelt(loss: str) -> str:
    return "RMSE" if loss == "rmse" else loss.replace("_", " ")


def _of_type(problem: str, task: str, name: str) -> list[str]:
    lines = []
    if task != "regression":
        matrix = {_path(problem, name, "confusion_matrix.csv"): "predicted"}
        lines += _entry(f"{problem} confusion {name}", "confusion", "actual", matrix, "actual", "predicted")
    bars = {_path(problem, name, "importance.csv"): "feature"}
    title = f"{problem} importance {name}"
    return lines + _entry(
        title, "bar_horizontal_sorted", "importance", bars, "share of the importance", "column"
    )


def _path(problem: str, name: str, file: str) -> str:
    return f"metrics/{problem}/types/{name}/plots/{file}"


def _entry(title: str, template: str, x: str, ys: dict[str, str], x_label: str, y_label: str) -> list[str]:
    return [
        f"  - {title}:",
        f"      template: {template}",
        f"      x: {x}",
        "      y:",
        *(f"        {path}: {column}" for path, column in ys.items()),
        f"      title: {title}",
        f"      x_label: {x_label}",
        f"      y_label: {y_label}",
    ]


def with_plots(text: str, section: str) -> str:
    """Return dvc.yaml's text with more entries at the end of its ``plots:``, all else as it is."""
    from lockstep.config.params_file import with_block

    return with_block(text, "plots", section.splitlines()[1:])
