"""What ``mlflow.sklearn.autolog()`` logs of a fit, for the run that a training has anyway.

Autologging itself would have to patch the fit, which is over when a run is logged, and which DVC's
cache may have answered. MLflow's own functions give the same names and figures from the model and
the training rows, so there is neither a second run nor a second model. Its drawing of the pipeline
is left out: it holds addresses in memory, and so is never the same twice.
"""

from __future__ import annotations

import sys
import warnings
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from mlflow.sklearn.utils import (
    _get_classifier_metrics,
    _get_estimator_info_tags,
    _get_regressor_metrics,
)
from mlflow.utils.validation import MAX_PARAM_VAL_LENGTH

from lockstep.errors import DataError
from lockstep.models.matrices import Matrix, read_matrix
from lockstep.registry.publishing.outputs import Outputs
from lockstep.registry.publishing.runs import Record

PREFIX = "training_"


def with_autolog(content: Record, outputs: Outputs, pipeline: Any) -> Record:
    """Return what a run logs with what autologging adds: parameters, tags, training metrics.

    The parameters are those of the fitted model behind the encoder, calibration included; one that
    the run logs anyway keeps its value. Without the training rows in this workspace, a line says
    that their metrics are left out.
    """
    model, rows = pipeline[-1], training_rows(outputs)
    if rows is None:
        what = f"{outputs.problem} {outputs.type}"
        print(f"{what}: no {PREFIX} metrics: no training rows in this workspace", file=sys.stderr)
    params = {k: str(v)[:MAX_PARAM_VAL_LENGTH] for k, v in model.get_params(deep=True).items()}
    found = training_metrics(model, rows, outputs.schema.task) if rows else {}
    measured = {**content.metrics, "train": {**content.metrics.get("train", {}), **found}}
    return replace(
        content,
        tags={**content.tags, **_get_estimator_info_tags(model)},
        params={**params, **content.params},
        metrics=measured,
    )


def training_rows(outputs: Outputs) -> Matrix | None:
    """Read the encoded training rows; None if they are missing, or those of another training."""
    try:
        matrix = read_matrix(outputs.layout, "train")
    except DataError:  # a copy of the models alone
        return None
    described = outputs.card["rows"]["train"], outputs.card["encoded_names"]
    return matrix if (len(matrix), list(matrix.features)) == described else None


def training_metrics(model: Any, rows: Matrix, task: str) -> dict[str, float]:
    """Return MLflow's metrics of a fitted model on its training rows, as training_f1_score."""
    features = rows.features
    if task == "regression":
        predicted = model.predict(features)
        once = SimpleNamespace(predict=lambda _: predicted)
        found = _get_regressor_metrics(once, PREFIX, features, rows.target, None)
        score = "r2_score"
    else:
        chances = model.predict_proba(features)
        decided = model.classes_[chances.argmax(axis=1)]
        # Autologging predicts three times; a forest takes a second each time.
        once = SimpleNamespace(predict=lambda _: decided, predict_proba=lambda _: chances)
        with warnings.catch_warnings():  # of an argument that scikit-learn renamed
            warnings.filterwarnings("ignore", "`y_pred` was renamed", FutureWarning)
            found = _get_classifier_metrics(once, PREFIX, features, rows.target, None, None)
        score = "accuracy_score"
    named = {name: float(value) for name, value in found.items()}
    return {**named, f"{PREFIX}score": named[f"{PREFIX}{score}"]}
