"""The transformer that a schema declares."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from lockstep.config.params import Features
from lockstep.errors import ConfigError
from lockstep.features import columns_v1
from lockstep.features.columns_v1 import ColumnEncoder
from lockstep.problems.schema import Column, Schema

_Number = Annotated[float, Field(allow_inf_nan=False)]
_Numbers = Annotated[list[_Number], Field(min_length=1)]
_KINDS: dict[str, Any] = {
    "encode": bool,
    "low": _Number | None,
    "high": _Number | None,
    "edges": _Numbers | None,
    "quantiles": Annotated[int, Field(ge=2)],
    "period": Annotated[float, Field(gt=0, allow_inf_nan=False)],
    "degrees": _Numbers,
    "knots": Annotated[int, Field(ge=2)],
    "degree": Annotated[int, Field(ge=1)],
    "smooth": Literal["auto"] | Annotated[float, Field(ge=0, allow_inf_nan=False)],
    "neighbours": Annotated[int, Field(ge=1)],
    "metric": Literal["euclidean", "sphere"],
    "value": Literal["rate", "distance"],
}
OPTIONS = {name: TypeAdapter(kind) for name, kind in _KINDS.items()}
"""What each option of a derived column may be."""


def encoder_of(schema: Schema, settings: Features) -> ColumnEncoder:
    """Return the unfitted transformer of a schema's features and derived columns.

    ConfigError for a derived column with wrong options, or a wrong number of columns.
    """
    columns = [_column(schema.columns[name]) for name in input_columns(schema)]
    keys = {"name", "kind", "of", "options"}
    derived = [_json_like(item.model_dump(include=keys)) for item in schema.derived]
    for one in derived:
        _check(one, f"schema.yaml of {schema.name}")
    return ColumnEncoder(
        columns, derived, folds=settings.folds, seed=settings.seed, task=schema.task
    )


def _check(derived: dict[str, Any], where: str) -> None:
    try:
        columns_v1._complete(derived)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from None
    for name, value in derived["options"].items():
        try:
            OPTIONS[name].validate_python(value, strict=True)
        except ValidationError as error:
            told = f"option {name} is {value!r}: {error.errors()[0]['msg'].lower()}"
            raise ConfigError(f"{where}: derived column '{derived['name']}': {told}") from None


def input_columns(schema: Schema) -> list[str]:
    """Return the transformer's columns: features, and a date if a derived column uses it."""
    used = {name for item in schema.derived for name in item.of}
    dates = [c.name for c in schema.columns.values() if c.kind == "date" and c.name in used]
    return schema.feature_names + dates


def _column(column: Column) -> dict[str, Any]:
    """Return the properties of a column that the transformer uses."""
    return {
        "name": column.name,
        "kind": column.kind,
        "codes": list(column.codes),
        "text": column.kind in ("categorical", "ordered") and not column.holds_numbers,
        "encode": column.encode,
    }


def _json_like(value: Any) -> Any:
    """Return JSON-like values only, tuples as lists."""
    if isinstance(value, dict):
        return {str(key): _json_like(item) for key, item in value.items()}
    return [_json_like(item) for item in value] if isinstance(value, list | tuple) else value
