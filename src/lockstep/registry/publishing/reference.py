"""The monitoring reference of a version: made where it is packed, from this workspace's tables."""

from __future__ import annotations

from typing import Any

from lockstep.errors import DataError
from lockstep.features.matrix_columns import GROUP
from lockstep.features.split import group_codes
from lockstep.io import read_parquet
from lockstep.monitoring.reference import reference_of
from lockstep.registry.publishing.outputs import Outputs
from lockstep.registry.publishing.rolling import has_rows


def reference_content(outputs: Outputs) -> dict[str, Any] | str:
    """Return the reference of a training as JSON values, or why there is none."""
    layout, schema = outputs.layout, outputs.schema
    scored = outputs.read_scores()
    if scored is None or not layout.tidy.exists():
        return "its scores or its rows are not in this workspace; `dvc pull` brings them"
    more = [name for name in (schema.date, schema.group) if name]
    try:
        table = read_parquet(layout.tidy, [*schema.feature_names, *more])
    except DataError:
        return f"{layout.tidy.name} can't be read by the schema; run `dvc repro`"
    test, rows = scored.part("test"), scored.rows("test")
    if not has_rows(table, test, schema):
        return f"{layout.tidy.name} is not the table it was trained on; run `dvc repro`"
    groups = group_codes(table, schema)
    found = reference_of(schema, table, groups, rows, test[GROUP].to_numpy())
    return found.content
