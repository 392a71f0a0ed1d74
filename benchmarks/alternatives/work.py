"""The work that all alternatives share: data, features and fits, by this package's own functions.

Each alternative calls these functions and adds its own orchestration and tracking, so the fits cost
the same everywhere. What the stages of this project do beyond them (plots, effects, bootstrap
intervals, model cards) no alternative does.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from lockstep.config.layout import PARTS
from lockstep.config.params import Problem, Training
from lockstep.problems.schema import load_schema

if TYPE_CHECKING:
    import pandas as pd

PROBLEM = "accidents"


def read_params(file: Path) -> dict[str, Any]:
    """Return the parameters: `data` holds those of the table, `train` a section for each type."""
    return yaml.safe_load(file.read_text(encoding="utf-8"))


def import_raw(data: dict[str, Any], folder: Path) -> None:
    """Write the sample's raw files."""
    from lockstep.problems.accidents.sample import write_sample

    folder.mkdir(parents=True, exist_ok=True)
    write_sample(_problem(data).source.sample, folder)


def preprocess(data: dict[str, Any], folder: Path) -> pd.DataFrame:
    """Return the tidy table of the raw files."""
    from lockstep.data.preprocess import tidy

    return tidy(folder, "sample", load_schema(PROBLEM), _problem(data).preprocess)[0]


def features(data: dict[str, Any], table: pd.DataFrame) -> tuple[dict[str, pd.DataFrame], Any]:
    """Return the encoded rows of each part, and the fitted encoder."""
    from lockstep.features.encoder import encoder_of
    from lockstep.features.matrices import classes_of, encode_parts
    from lockstep.features.split import split_rows

    schema, settings = load_schema(PROBLEM), _problem(data)
    parts = split_rows(table, schema, settings.split)
    encoder = encoder_of(schema, settings.features)
    classes = classes_of(table, schema)
    return encode_parts(table, parts, schema, classes, encoder), encoder


def fit(training: dict[str, Any], matrices: dict[str, pd.DataFrame], encoder: Any) -> Any:
    """Return a fitted, calibrated pipeline of encoder and model."""
    from lockstep.models.calibration import calibrated
    from lockstep.models.matrices import columns_of, matrix_of
    from lockstep.models.model_type import Recipe
    from lockstep.models.training import cores, pipeline_of
    from lockstep.models.training import fit as fit_type

    settings, schema = Training(**training), load_schema(PROBLEM)
    columns = columns_of(encoder, schema)
    recipe = Recipe(schema.task, columns, settings.params, settings.seed, cores())
    parts = {part: matrix_of(matrices[part]) for part in PARTS}
    rounds = settings.early_stopping_rounds
    fitted = fit_type(settings.type, recipe, parts["train"], parts["stop"], rounds).estimator
    stop = parts["stop"]
    model = calibrated(settings.calibration, fitted, stop.features, stop.target, schema.task)
    return pipeline_of(encoder, model)


def metrics(
    training: dict[str, Any], pipeline: Any, matrices: dict[str, pd.DataFrame]
) -> dict[str, float]:
    """Return the usual metrics of the rows that choose the champion, and of the test rows."""
    from sklearn.metrics import average_precision_score, log_loss, roc_auc_score

    from lockstep.models.matrices import matrix_of
    from lockstep.models.training import scores
    from lockstep.models.types import model_type

    found, model = {}, pipeline.named_steps["model"]
    for part, label in (("choose", "validation"), ("test", "test")):
        rows = matrix_of(matrices[part])
        score = scores(model, rows.features, "binary", model_type(training["type"]))
        found[f"{label}_roc_auc"] = float(roc_auc_score(rows.target, score))
        found[f"{label}_average_precision"] = float(average_precision_score(rows.target, score))
        found[f"{label}_log_loss"] = float(log_loss(rows.target, score))
    return found


def champion(by_type: dict[str, dict[str, float]]) -> str:
    """Return the type with the best validation ROC AUC."""
    return max(by_type, key=lambda name: by_type[name]["validation_roc_auc"])


def _problem(data: dict[str, Any]) -> Problem:
    return Problem(model_types=["lightgbm"], **data)
