"""What model types are called, in the registry and for people."""

from __future__ import annotations

from lockstep.models.types import model_type
from lockstep.problems.schema import load_schema


def registered_name(problem: str, type_name: str, base: str | None = None) -> str:
    """Return a model type's registered name in a problem, as in ``Accident_Prediction_XGBoost``.

    ``base`` replaces the schema's own. The type follows it unless all types share one name.
    """
    schema, kind = load_schema(problem), model_type(type_name)
    name = base or schema.registered_name
    return name if schema.one_name else f"{name}_{kind.registered_part}"


def run_name(problem: str, type_name: str) -> str:
    """Return a training run's name: the type, or ``lgb_credit_risk`` if types share one name."""
    if not load_schema(problem).one_name:
        return type_name
    return f"{model_type(type_name).short_name}_{problem}"
