"""The transformer that a schema declares."""

from __future__ import annotations

from typing import Any

from lockstep.config.params import Features
from lockstep.features.columns_v1 import ColumnEncoder
from lockstep.problems.schema import Column, Schema


def encoder_of(schema: Schema, settings: Features) -> ColumnEncoder:
    """Return the unfitted transformer of a schema's features and derived columns."""
    columns = [_column(schema.columns[name]) for name in input_columns(schema)]
    keys = {"name", "kind", "of", "options"}
    derived = [_json_like(item.model_dump(include=keys)) for item in schema.derived]
    return ColumnEncoder(
        columns, derived, folds=settings.folds, seed=settings.seed, task=schema.task
    )


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
