"""What model types are called, in the registry and for people."""

from __future__ import annotations

from lockstep.errors import UsageError, unknown
from lockstep.problems.schema import load_schema

TYPE_NAMES = {
    "logistic_regression": "Logistic_Regression",
    "ridge": "Ridge",
    "random_forest": "Random_Forest",
    "xgboost": "XGBoost",
    "lightgbm": "LightGBM",
}
"""Model types and the second half of their registered models' names."""


def registered_name(problem: str, model_type: str) -> str:
    """Return the registered model's name of a problem's type, as in ``Accident_Prediction_XGBoost``."""
    if model_type not in TYPE_NAMES:
        raise UsageError(unknown("model type", model_type, TYPE_NAMES))
    return f"{load_schema(problem).registered_name}_{TYPE_NAMES[model_type]}"
