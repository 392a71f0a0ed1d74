"""The checks of what an artifact's files hold, up to the loaded model and its golden rows.

Like those of ``integrity`` they return what they read, and raise ArtifactError.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lockstep.errors import ArtifactError, ConfigError, DataError
from lockstep.io import read_json
from lockstep.models.artifact import read_artifact
from lockstep.models.golden_rows import COUNT, check_golden, golden_from
from lockstep.problems.schema import Schema, read_schema
from lockstep.registry.artifact.files import GOLDEN, SCHEMA, SHIPPED_CODE
from lockstep.registry.artifact.integrity import explained, model_file, recorded_digest
from lockstep.registry.store.versions import Version

if TYPE_CHECKING:
    import pandas as pd


def check_schema(version: Version, folder: Path) -> Schema:
    """Return the schema in an artifact, compared with the version's digest of it."""
    if not (folder / SCHEMA).is_file():
        raise ArtifactError(f"its {SCHEMA} is missing")
    try:
        schema = read_schema(folder / SCHEMA)
    except ConfigError as error:
        raise ArtifactError(str(error)) from error
    if version.tag("schema_digest") not in (None, "", schema.digest):
        raise ArtifactError(f"its {SCHEMA} is not the one it was registered with")
    return schema


def check_golden_file(version: Version, folder: Path) -> tuple[Schema, pd.DataFrame, list[Any]]:
    """Return the schema, the golden rows and their outputs as an artifact holds them."""
    schema = check_schema(version, folder)
    try:
        content = read_json(folder / GOLDEN)
    except DataError as error:
        raise ArtifactError(f"its {GOLDEN} cannot be read, so it cannot be checked") from error
    rows, outputs = golden_from(content, schema)
    if len(rows) < COUNT:
        raise ArtifactError(f"it has {len(rows)} golden rows in place of {COUNT}")
    return schema, rows, outputs


def load_checked(version: Version, folder: Path) -> tuple[Any, Schema, pd.DataFrame]:
    """Check digest, types, schema, golden rows; return pipeline, schema, golden rows."""
    with explained(version):
        file, digest = model_file(folder), recorded_digest(version)
    pipeline = read_artifact(file, digest, folder / SHIPPED_CODE)
    with explained(version):
        schema, rows, outputs = check_golden_file(version, folder)
    check_golden(pipeline, rows, outputs, version.title, schema)
    return pipeline, schema, rows
