"""From a version's files to a model whose digest, types and golden rows were checked.

Nothing that an artifact ships is imported or unpickled. Nothing here needs MLflow: a prediction
loads its model beside the process that asks the registry.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from lockstep.errors import ArtifactError, ConfigError, DataError
from lockstep.evaluation.intervals import check_interval
from lockstep.io import read_json
from lockstep.models.artifact import read_artifact
from lockstep.models.golden_rows import COUNT, check_golden, golden_from
from lockstep.models.scoring.prediction import Model
from lockstep.problems.schema import Schema, read_schema
from lockstep.registry.artifact.files import CARD, GOLDEN, SCHEMA, SHIPPED_CODE
from lockstep.registry.artifact.integrity import explained, model_file, recorded_digest
from lockstep.registry.artifact.model_cache import Located, refusing
from lockstep.registry.artifact.training_rows import TrainingRows, check_training_rows
from lockstep.registry.store.json_tags import checked_tag
from lockstep.registry.store.versions import Version


def open_version(located: Located) -> Model:
    """Check an artifact and load it: its digest first, then types, then golden rows."""
    with refusing(located.folder):
        return open_folder(located)


def open_folder(located: Located) -> Model:
    """Load an artifact from a user's folder with the same checks; a refused one stays there."""
    version = located.version
    pipeline, schema, _ = load_checked(version, located.folder)
    interval = checked_tag(version, "interval")
    return Model(
        pipeline=pipeline,
        schema=schema,
        threshold=version.threshold,
        name=version.name,
        version=version.version,
        stage=version.stage,
        run_id=version.run_id,
        digest=version.tag("model_digest"),
        type=version.tag("type"),
        interval=None if interval is None else check_interval(interval, version.title),
        costs=costs_of(version),
    )


def card_of(located: Located) -> dict[str, Any]:
    """Return an artifact's card; empty where an older version has none, or a damaged one."""
    try:
        card = read_json(located.folder / CARD)
    except DataError:
        return {}
    return card if isinstance(card, dict) else {}


def golden_of(located: Located) -> tuple[Schema, Any, list[Any]]:
    """Return an artifact's schema, golden rows and their outputs; ArtifactError if damaged."""
    with explained(located.version):
        return check_golden_file(located.version, located.folder)


def schema_of(located: Located) -> Schema:
    """Return the schema of an artifact; ArtifactError if it is missing or not the version's."""
    with explained(located.version):
        return check_schema(located.version, located.folder)


def open_training_rows(located: Located) -> TrainingRows:
    """Return the groups a version was fitted or tuned on; ArtifactError if missing or damaged."""
    with refusing(located.folder), explained(located.version):
        return check_training_rows(located.version, located.folder)


def costs_of(version: Version) -> dict[str, dict[str, float]] | None:
    """Return the costs by which a version decides among several classes."""
    costs = checked_tag(version, "costs")
    if costs is None:
        return None
    return {
        actual: {name: float(cost) for name, cost in row.items()} for actual, row in costs.items()
    }


def check_schema(version: Version, folder: Path) -> Schema:
    """Return the schema in an artifact, compared with the version's digest of it."""
    if not (folder / SCHEMA).is_file():
        raise ArtifactError(f"its {SCHEMA} is missing")
    try:
        schema = read_schema(folder / SCHEMA, strict=False)
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
