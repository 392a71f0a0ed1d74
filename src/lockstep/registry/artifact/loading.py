"""From a version's files to a model whose digest, types and golden rows were checked.

Nothing that an artifact ships is imported or unpickled. Nothing here needs MLflow: a prediction
loads its model beside the process that asks the registry.
"""

from __future__ import annotations

import json
from typing import Any

from lockstep.errors import ArtifactError
from lockstep.evaluation.intervals import check_interval
from lockstep.models.scoring.prediction import Model
from lockstep.problems.schema import Schema
from lockstep.registry.artifact.content import check_golden_file, check_schema, load_checked
from lockstep.registry.artifact.integrity import explained
from lockstep.registry.artifact.model_cache import Located, refusing
from lockstep.registry.artifact.training_rows import TrainingRows, check_training_rows
from lockstep.registry.store.names import REGISTER_AGAIN
from lockstep.registry.store.versions import Version


def open_version(located: Located) -> Model:
    """Check an artifact and load it: its digest first, then types, then golden rows."""
    with refusing(located.folder):
        return open_folder(located)


def open_folder(located: Located) -> Model:
    """Load an artifact from a user's folder with the same checks; a refused one stays there."""
    version = located.version
    pipeline, schema, _ = load_checked(version, located.folder)
    interval = version.tag("interval")
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
        interval=None if interval is None else check_interval(_parsed(interval), version.title),
        costs=costs_of(version),
    )


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
    text = version.tag("costs")
    if text is None:
        return None
    try:
        return {
            actual: {name: float(cost) for name, cost in row.items()}
            for actual, row in json.loads(text).items()
        }
    except (ValueError, AttributeError, TypeError) as error:
        raise ArtifactError(
            f"{version.title}: its tag lockstep.costs holds no costs by class; {REGISTER_AGAIN}"
        ) from error


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return None
