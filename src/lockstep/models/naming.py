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


def registered_name(problem: str, model_type: str, base: str | None = None) -> str:
    """Return the registered model's name of a problem's type, as in ``Accident_Prediction_XGBoost``.

    ``base`` takes the place of the schema's own; the type follows it unless all of the problem's have one name.
    """
    if model_type not in TYPE_NAMES:
        raise UsageError(unknown("model type", model_type, TYPE_NAMES))
    schema = load_schema(problem)
    name = base or schema.registered_name
    return name if schema.one_name else f"{name}_{TYPE_NAMES[model_type]}"
