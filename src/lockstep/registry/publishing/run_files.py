"""The files of a training's run: metrics, plots, lineage, changed inputs, preprocessing."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pandas as pd

from lockstep.evaluation.classification_report import classification_report
from lockstep.io import write_csv, write_json
from lockstep.models.artifact import canonical_bytes
from lockstep.problems.schema import PROBLEMS
from lockstep.registry.publishing.outputs import Outputs
from lockstep.registry.publishing.rolling import FILE as ROLLING
from lockstep.registry.store.names import CLOSURE, INPUTS, KEPT_INPUTS, METRICS
from lockstep.reports import plots
from lockstep.reports.report_files import frequent_classes, read_points

USUAL_NAMES = {
    "confusion_matrix": "confusion_matrix.png",
    "roc": "roc_curve.png",
    "pr": "pr_curve.png",
    "calibration": "calibration_curve.png",
}
"""Pictures that stand at the top of a run's artifacts too, where many look for them."""


def write_files(
    outputs: Outputs, folder: Path, pipeline: Any, rolled: pd.DataFrame | None = None
) -> None:
    """Write the files of a run; plots as tables and pictures; the rolling metrics if given."""
    write_json(folder / METRICS, outputs.metrics)
    write_json(folder / "model_card.json", outputs.card, digits=None)
    _copy(outputs.layout.label_encoder, folder / "label_encoder.json")
    _write_preprocessing(outputs, folder / "preprocessing", pipeline)
    write_json(folder / CLOSURE, outputs.lineage.closure, digits=None)
    _write_inputs(outputs, folder)
    _write_cv_summary(outputs, folder / "cv_summary.csv")
    if rolled is not None:
        write_csv(folder / ROLLING, rolled)
    _write_plots(outputs, folder)


def _write_plots(outputs: Outputs, folder: Path) -> None:
    """Write the tables of the plots and their pictures, some also under their usual names."""
    (folder / "plots").mkdir()
    by_class = next((path for path in outputs.plots if path.stem == "classes"), None)
    frequent = frequent_classes(read_points(by_class)) if by_class else []
    facts = plots.Facts.of(outputs.card, outputs.metrics.get("test", {}), frequent)
    title = f"{outputs.problem} {outputs.type}"
    for path in outputs.plots:
        shutil.copyfile(path, folder / "plots" / path.name)
        figure = plots.draw(path.stem, read_points(path), title, facts)
        picture = folder / "plots" / f"{path.stem}.png"
        plots.save(figure, picture)
        if path.stem in USUAL_NAMES:
            _copy(picture, folder / USUAL_NAMES[path.stem])
        if path.stem == "confusion_matrix":
            classes = [str(label) for label in outputs.card.get("classes", (0, 1))]
            report = classification_report(read_points(path), classes)
            write_csv(folder / "classification_report.csv", report)


def _write_cv_summary(outputs: Outputs, path: Path) -> None:
    """Write mean, spread and extremes over the folds, if any, a row a metric."""
    folds = next((table for table in outputs.plots if table.stem == "folds"), None)
    if folds is None:
        return
    summary = pd.read_csv(folds).drop(columns="fold").agg(["mean", "std", "min", "max"]).T
    write_csv(path, summary.rename_axis("metric").reset_index())


def _write_inputs(outputs: Outputs, folder: Path) -> None:
    if not outputs.changed_inputs:
        return
    write_json(folder / INPUTS, outputs.changed_inputs)
    for name in outputs.changed_inputs:
        _copy(outputs.root / name, folder / KEPT_INPUTS / name)


def _write_preprocessing(outputs: Outputs, folder: Path, pipeline: Any) -> None:
    folder.mkdir()
    (folder / "encoder.skops").write_bytes(canonical_bytes(pipeline.named_steps["encoder"]))
    shutil.copyfile(PROBLEMS / outputs.problem / "schema.yaml", folder / "schema.yaml")


def _copy(source: Path, target: Path) -> None:
    if source.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
