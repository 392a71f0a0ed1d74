"""The files of a training's run: metrics, plots, lineage, changed inputs, preprocessing."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pandas as pd

from lockstep.io import write_csv, write_json
from lockstep.models.artifact import canonical_bytes
from lockstep.problems.schema import PROBLEMS
from lockstep.registry.publishing.outputs import Outputs
from lockstep.registry.store.names import CLOSURE, INPUTS, KEPT_INPUTS
from lockstep.reports import plots


def write_files(outputs: Outputs, folder: Path, pipeline: Any) -> None:
    """Write the files of a run; plots as tables and pictures."""
    write_json(folder / "metrics.json", outputs.metrics)
    write_json(folder / "model_card.json", outputs.card, digits=None)
    _copy(outputs.layout.label_encoder, folder / "label_encoder.json")
    _write_preprocessing(outputs, folder / "preprocessing", pipeline)
    write_json(folder / CLOSURE, outputs.lineage.closure, digits=None)
    _write_inputs(outputs, folder)
    _write_cv_summary(outputs, folder / "cv_summary.csv")
    (folder / "plots").mkdir()
    facts = plots.Facts.of(outputs.card, outputs.metrics.get("test", {}))
    title = f"{outputs.problem} {outputs.type}"
    for path in outputs.plots:
        shutil.copyfile(path, folder / "plots" / path.name)
        figure = plots.draw(path.stem, read_points(path), title, facts)
        plots.save(figure, folder / "plots" / f"{path.stem}.png")


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


def read_points(path: Path) -> pd.DataFrame:
    """Read the table of a plot; class labels stay text, also None and NA."""
    labels = ("actual", "predicted") if path.stem == "confusion_matrix" else ("class",)
    others = [str(name) for name in pd.read_csv(path, nrows=0) if name not in labels]
    return pd.read_csv(
        path,
        dtype=dict.fromkeys(labels, str),
        keep_default_na=False,
        na_values={name: [""] for name in others},
    )


def _copy(source: Path, target: Path) -> None:
    if source.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
