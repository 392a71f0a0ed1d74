"""The parameters, metrics, series and data sets that a training's run logs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.entities import Dataset, DatasetInput, InputTag

from lockstep.config.params import training_key
from lockstep.dvc.lineage import used_params
from lockstep.io import sha256_json
from lockstep.models.naming import run_name
from lockstep.registry.publishing.outputs import Outputs
from lockstep.registry.publishing.rolling import rolling_series
from lockstep.registry.publishing.runs import Record, flattened
from lockstep.registry.publishing.spans import seconds_of, span_of
from lockstep.registry.publishing.tags import model_tags, run_tags
from lockstep.reports.report_files import read_points

PARTS = {
    "train": ("training", "train"),
    "validation": ("validation", "choose"),
    "test": ("test", "test"),
}
"""What each part of the data is used for, and its matrix."""
_OF_CLASS = ("precision", "recall", "f1", "roc_auc")
_UNNAMEABLE = re.compile(r"[^\w .\-]|^[. ]+|[. ]+$")
"""Parts of a label that MLflow allows in no metric's name."""
_CARD_PARAMS = (
    "seed", "score_scale", "positive_weight", "calibration", "monotone", "best_iteration",
    "threshold", "decision",
)  # fmt: skip
_ALONE = ("threshold", "best_f1_threshold", "best_iteration")
"""Figures of no part of the data."""
_SHORT = {"val_auc": "roc_auc", "val_ks": "ks"}
"""Short names of validation metrics that many look for."""


def record(outputs: Outputs, rolled: pd.DataFrame | None = None) -> Record:
    """Return what a training's run logs besides its files and its model."""
    card, metrics = outputs.card, outputs.metrics
    by_part = part_metrics(metrics)
    by_part["test"] |= interval_metrics(metrics) | class_metrics(outputs)
    validation = metrics.get("validation", {})
    by_part["validation"] |= {
        short: float(validation[name]) for short, name in _SHORT.items() if name in validation
    }
    for part, figures in calibration_metrics(metrics).items():
        by_part[part] |= figures
    known = {**metrics, **card}
    alone = {key: float(known[key]) for key in _ALONE if known.get(key) is not None}
    more = flattened({key: card[key] for key in _CARD_PARAMS if key in card})
    return Record(
        name=run_name(outputs.problem, outputs.type),
        tags=run_tags(outputs),
        model_tags=model_tags(outputs),
        params={**yaml_params(outputs), **card["params"], **dict(more)},
        metrics={**by_part, "": {**fold_metrics(metrics), **alone, **seconds_of(outputs)}},
        series=_series(outputs.plots) | ({} if rolled is None else rolling_series(rolled)),
        parts=data_parts(outputs),
        span=span_of(outputs),
    )


def yaml_params(outputs: Outputs) -> dict[str, Any]:
    """Return all that the training and the stages before it read of params.yaml.

    The sections of the problem have their own names, as split.kind; the training's is train.
    """
    used = used_params(outputs.lineage.closure)
    names = {
        f"problems.{outputs.problem}.": "",
        **{
            f"{section}.{training_key(outputs.problem, outputs.type)}": "train"
            for section in ("train", "train_spark")
        },
    }
    found: dict[str, Any] = {}
    for key, value in used.items():
        start = next((start for start in names if key.startswith(start)), "")
        found |= flattened({names.get(start, "") + key.removeprefix(start): value})
    return found


def calibration_metrics(metrics: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Return a calibrated model's figures by part, as test_brier_before_calibration."""
    return {
        part: {
            f"{part}_{name}_{when}_calibration": float(value)
            for when, by_part in metrics.get("calibration", {}).items()
            for name, value in by_part[part].items()
        }
        for part in ("validation", "test")
    }


def prefixed_metrics(outputs: Iterable[Outputs]) -> dict[str, float]:
    """Return several models' metrics, each under its type, as their parent run logs them."""
    found: dict[str, float] = {}
    for one in outputs:
        for named in (*part_metrics(one.metrics).values(), fold_metrics(one.metrics)):
            found |= {f"{one.type}.{name}": value for name, value in named.items()}
    return found


def part_metrics(metrics: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Return the metrics and decision rates by part, with its prefix, as test_roc_auc."""
    decided = metrics.get("decided", {})
    found = {part: metrics.get(part, {}) | decided.get(part, {}) for part in PARTS}
    return {
        part: {f"{part}_{name}": float(value) for name, value in found[part].items()}
        for part in found
    }


def fold_metrics(metrics: dict[str, Any]) -> dict[str, float]:
    """Return cross-validation's metrics, as cv_roc_auc and cv_roc_auc_std; empty without folds."""
    means, spreads = metrics.get("cv", {}), metrics.get("cv_std", {})
    found = {f"cv_{name}": float(value) for name, value in means.items()}
    return found | {f"cv_{name}_std": float(value) for name, value in spreads.items()}


def interval_metrics(metrics: dict[str, Any]) -> dict[str, float]:
    """Return coverage and width of a regression's prediction intervals on the test part."""
    interval = metrics.get("interval", {})
    named = {"coverage": "test_interval_coverage", "mean_width": "test_interval_width"}
    return {name: float(interval[key]) for key, name in named.items() if key in interval}


def class_metrics(outputs: Outputs) -> dict[str, float]:
    """Return each class's metrics on the test part, as test_f1/LABEL, of a multiclass model."""
    path = outputs.layout.type_folder(outputs.type) / "plots" / "classes.csv"
    if not path.is_file():
        return {}
    found: dict[str, float] = {}
    for place, row in read_points(path).iterrows():
        label = _UNNAMEABLE.sub("_", row["class"])[:100]
        # Two labels may differ only in characters that MLflow's names don't allow.
        label = f"{label}-{place}" if f"test_f1/{label}" in found else label
        measured = (name for name in _OF_CLASS if row[name] == row[name])
        found |= {f"test_{name}/{label}": float(row[name]) for name in measured}
    return found


def _series(tables: Iterable[Path]) -> dict[str, list[tuple[int, float]]]:
    series: dict[str, list[tuple[int, float]]] = {}
    for path in tables:
        if path.stem not in ("history", "folds"):
            continue
        table = pd.read_csv(path)
        step, *names = (str(column) for column in table.columns)
        for name in names:
            points = table[[step, name]].dropna().itertuples(index=False)
            series[f"{path.stem}_{name}"] = [(int(at), float(value)) for at, value in points]
    return series


def data_parts(outputs: Outputs) -> dict[str, DatasetInput]:
    """Return the problem's data sets by their part, each with its digest."""
    lineage, rows = outputs.lineage, outputs.card.get("rows", {})
    features = outputs.layout.features.relative_to(outputs.root).as_posix()
    tags = {"dvc": features, "kind": lineage.source, "raw_dvc_hash": lineage.raw_hash}
    found = {}
    for part, (context, file) in PARTS.items():
        data = Dataset(
            name=f"{outputs.problem}-{part}",
            digest=sha256_json([lineage.data_digest, part])[:32],  # MLflow takes no more
            source_type="code",
            source=json.dumps({"tags": tags}, sort_keys=True),
            profile=json.dumps({"rows": rows.get(file)}),
        )
        found[part] = DatasetInput(data, tags=[InputTag("mlflow.data.context", context)])
    return found
