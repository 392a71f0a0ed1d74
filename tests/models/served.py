"""Small fitted pipelines of every type, task and calibration over every kind of column."""

from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from lockstep.config.params import Features
from lockstep.features.encoder import encoder_of
from lockstep.features.matrix_columns import CLASSES
from lockstep.models import training
from lockstep.models.calibration import calibrated
from lockstep.models.golden_rows import golden_rows
from lockstep.models.matrices import Matrix, columns_of
from lockstep.models.model_type import Recipe
from lockstep.models.types import model_type
from lockstep.problems.schema import Schema

NUMBER = {"kind": "numeric", "missing": True}
COLUMNS: dict[str, dict[str, Any]] = {
    "amount": {**NUMBER, "low": 0, "high": 1000, "description": "loan amount", "unit": "EUR"},
    "income": {**NUMBER, "low": 0, "high": 5000, "description": "monthly income"},
    "age": {
        "kind": "numeric",
        "low": 18,
        "high": 90,
        "integer": True,
        "description": "Age of the applicant",
    },
    "grade": {
        "kind": "ordered",
        "codes": {"A": "best", "B": "good", "C": "fair", "D": "poor"},
        "missing": True,
        "description": "grade",
    },
    "purpose": {
        "kind": "categorical",
        "codes": {"car": "a car", "home": "a home", "other": ""},
        "missing": True,
        "description": "purpose of the loan",
    },
    "employer": {"kind": "categorical", "missing": True},
    "region": {
        "kind": "categorical",
        "codes": {1: "north", 2: "south", 3: "east"},
        "missing": True,
    },
    "rooms": {
        "kind": "ordered",
        "codes": {1: "one", 2: "two", 3: "three or more"},
        "missing": True,
    },
    "town": {"kind": "categorical", "integer": True, "missing": True},
    "hour": {**NUMBER, "low": 0, "high": 23, "integer": True},
    "lat": {**NUMBER, "low": 43, "high": 48},
    "lon": {**NUMBER, "low": 20, "high": 30},
    "year": {**NUMBER, "low": 2000, "high": 2020, "integer": True, "encode": False},
    "month": {**NUMBER, "low": 1, "high": 12, "integer": True, "encode": False},
    "day": {**NUMBER, "low": 1, "high": 28, "integer": True, "encode": False},
}
DERIVED: list[dict[str, Any]] = [
    {"name": "income_part", "kind": "bin", "of": ["income"], "options": {"quantiles": 5}},
    {"name": "grade_purpose", "kind": "cross", "of": ["grade", "purpose"]},
    {"name": "town_part", "kind": "cross", "of": ["town", "income_part"]},
    {"name": "burden", "kind": "ratio", "of": ["amount", "income"]},
    {"name": "left", "kind": "difference", "of": ["income", "amount"]},
    {"name": "kept", "kind": "clip", "of": ["burden"], "options": {"low": 0.1, "high": 0.9}},
    {"name": "weekday", "kind": "weekday", "of": ["year", "month", "day"]},
    {"name": "part_of_day", "kind": "part_of_day", "of": ["hour"]},
    {"name": "clock", "kind": "cyclic", "of": ["hour"]},
    {"name": "town_rows", "kind": "frequency", "of": ["town"]},
    {"name": "turned", "kind": "rotate", "of": ["lat", "lon"], "options": {"degrees": [30, 60]}},
    {"name": "age_line", "kind": "spline", "of": ["age"], "options": {"knots": 4}},
    {"name": "employer_rate", "kind": "target_encoded", "of": ["employer", "region"]},
    {
        "name": "near_rate",
        "kind": "neighbour_rate",
        "of": ["lat", "lon"],
        "options": {"neighbours": 7, "metric": "sphere"},
    },
    {
        "name": "near_km",
        "kind": "neighbour_rate",
        "of": ["lat", "lon"],
        "options": {"neighbours": 3, "metric": "sphere", "value": "distance"},
    },
]
PARAMS: dict[str, dict[str, Any]] = {
    "logistic_regression": {"C": 0.5, "bins": 5},
    "ridge": {"alpha": 1.0, "bins": 5},
    "random_forest": {"n_estimators": 15, "min_samples_leaf": 4},
    "xgboost": {"n_estimators": 20, "learning_rate": 0.3, "max_depth": 3},
    "lightgbm": {"n_estimators": 20, "learning_rate": 0.2, "num_leaves": 7, "min_child_samples": 5},
    "extra_trees": {"n_estimators": 15, "min_samples_leaf": 4},
    "hist_gradient_boosting": {"max_iter": 20, "learning_rate": 0.2, "max_leaf_nodes": 7},
}
LINEAR = ("logistic_regression", "ridge")
BLEND = {
    task: {
        "members": {
            name: PARAMS[name]
            for name in PARAMS
            if task in model_type(name).tasks and (name in LINEAR or task != "multiclass")
        }
        | {name: PARAMS[name] for name in ("random_forest", "xgboost", "lightgbm")}
    }
    for task in ("binary", "multiclass", "regression")
}
"""Blends of two classes and of values have every type as a member."""
PARAMS["blend"] = {}
CLASSIFIERS = tuple(name for name in PARAMS if "binary" in model_type(name).tasks)
REGRESSORS = tuple(name for name in PARAMS if "regression" in model_type(name).tasks)
KINDS = [
    *(
        ("binary", name, method)
        for name in CLASSIFIERS
        for method in ("none", "sigmoid", "isotonic")
    ),
    *(
        ("multiclass", name, how)
        for name in CLASSIFIERS
        for how in ("none", "sigmoid", "isotonic", "temperature")
    ),
    *(("regression", name, "none") for name in REGRESSORS),
]
"""Every task, type and calibration there is."""
LABELS = [3, 5, 8, 13]
"""The labels of the classes where there are several."""


@cache
def schema_of(task: str) -> Schema:
    """Return the schema, for one of the three tasks."""
    target = (
        {"kind": "target"}
        if task == "regression"
        else {"kind": "target", "codes": {0: "no", 1: "yes"}}
    )
    told = {"name": "lending", "title": "t", "task": task, "unit": "row", "registered_name": "L"}
    return Schema.model_validate(
        {**told, "experiment": "l", "columns": {"y": target, **COLUMNS}, "derived": DERIVED}
    )


def rows_of(task: str, count: int, seed: int) -> pd.DataFrame:
    """Return golden rows of the schema."""
    return golden_rows(schema_of(task), count, seed)


def _target(rows: pd.DataFrame, task: str, seed: int) -> np.ndarray:
    rng = np.random.Generator(np.random.PCG64(seed))
    value = (
        rows["amount"].fillna(500) / 400
        - rows["income"].fillna(2500) / 2500
        + (rows["grade"] == "D")
    )
    value = value.to_numpy() + rng.normal(0, 0.5, len(rows))
    if task == "regression":
        return 100 * value
    edges = np.quantile(value, [0.6] if task == "binary" else [0.3, 0.6, 0.9])
    return np.searchsorted(edges, value).astype(np.int64)


@cache
def _encoded(task: str) -> tuple[Any, dict[str, Matrix]]:
    encoder = encoder_of(schema_of(task), Features())
    parts = {}
    for seed, part in enumerate(("train", "stop", "calibrate")):
        raw = rows_of(task, 500, seed + 10)
        target = _target(raw, task, seed)
        encoded = encoder.fit_transform(raw, target) if part == "train" else encoder.transform(raw)
        row = np.arange(len(raw))
        parts[part] = Matrix(encoded.reset_index(drop=True), target, row, row)
    if task == "multiclass":
        setattr(encoder, CLASSES, LABELS)
    return encoder, parts


@cache
def _fitted(task: str, name: str) -> Any:
    encoder, parts = _encoded(task)
    params = BLEND[task] if name == "blend" else PARAMS[name]
    recipe = Recipe(task, columns_of(encoder, schema_of(task)), params)
    return training.fit(name, recipe, parts["train"], parts["stop"]).estimator


@cache
def pipeline_of(task: str, name: str, method: str) -> Any:
    """Return a fitted pipeline."""
    encoder, parts = _encoded(task)
    rows = parts["calibrate"]
    model = calibrated(method, _fitted(task, name), rows.features, rows.target, task)
    return training.pipeline_of(encoder, model)
