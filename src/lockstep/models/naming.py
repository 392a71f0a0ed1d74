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


SHORT_NAMES = {
    "logistic_regression": "lr",
    "random_forest": "rf",
    "xgboost": "xgb",
    "lightgbm": "lgb",
}
"""Model types as they begin the runs of problems whose types share one registered name."""


def registered_name(problem: str, model_type: str, base: str | None = None) -> str:
    """Return the registered model's name of a problem's type, as in ``Accident_Prediction_XGBoost``.

    ``base`` takes the place of the schema's own; the type follows it unless all of the problem's have one name.
    """
    if model_type not in TYPE_NAMES:
        raise UsageError(unknown("model type", model_type, TYPE_NAMES))
    schema = load_schema(problem)
    name = base or schema.registered_name
    return name if schema.one_name else f"{name}_{TYPE_NAMES[model_type]}"


def run_name(problem: str, model_type: str) -> str:
    """Return what a training's run is called: its type, or ``lgb_credit_risk`` where all types share one name."""
    if not load_schema(problem).one_name:
        return model_type
    return f"{SHORT_NAMES.get(model_type, model_type)}_{problem}"
