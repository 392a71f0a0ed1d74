"""The checks of an artifact, for loading, publishing and the audit.

Each takes a version and the folder of its files, returns what it read, and raises ArtifactError
with what is wrong; ``explained`` adds which version it is and how to repair it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lockstep.errors import ArtifactError, ConfigError, DataError
from lockstep.io import read_json
from lockstep.models.artifact import digest_of, read_artifact
from lockstep.models.golden_rows import COUNT, check_golden, golden_from
from lockstep.problems.schema import Schema, read_schema
from lockstep.registry.artifact.files import (
    GOLDEN,
    PICKLES,
    ROWS_FILE,
    SCHEMA,
    SHIPPED_CODE,
    SKOPS,
    files_below,
)
from lockstep.registry.artifact.training_rows import TrainingRows, read_training_rows
from lockstep.registry.store.connection import Client
from lockstep.registry.store.names import BYTES_TAG, ROWS_TAG
from lockstep.registry.store.uris import is_http
from lockstep.registry.store.versions import Version

if TYPE_CHECKING:
    import pandas as pd

REGISTER_AGAIN = "register it again with `dvc repro register`"


@contextmanager
def explained(version: Version) -> Iterator[None]:
    """Add the version and the fix to the message of a check that fails within the block."""
    try:
        yield
    except ArtifactError as error:
        raise ArtifactError(f"{version.title}: {error}; {REGISTER_AGAIN}") from error


def recorded_digest(version: Version) -> str:
    """Return the model digest that a version carries."""
    digest = version.tag("model_digest") or ""
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise ArtifactError(
            "it carries no valid digest (tag lockstep.model_digest), as it was not registered by"
            " this project; not loaded"
        )
    return digest


def model_file(folder: Path) -> Path:
    """Return the model's file; a folder with a pickle in its place is named as such."""
    if (folder / SKOPS).is_file():
        return folder / SKOPS
    pickles = [name for name, path in files_below(folder).items() if path.suffix in PICKLES]
    if pickles:
        raise ArtifactError(
            f"it holds a pickle ({pickles[0]}) in place of {SKOPS}; pickles are never loaded from a"
            " registry"
        )
    raise ArtifactError(f"its {SKOPS} is missing")


def check_digest(version: Version, folder: Path) -> str:
    """Compare the model and its shipped code with the version's digest; return the digest."""
    recorded = recorded_digest(version)
    found = digest_of(model_file(folder).read_bytes(), folder / SHIPPED_CODE)
    if found != recorded:
        raise ArtifactError(
            f"its artifact has digest {found[:12]}…, the version says {recorded[:12]}…: changed or"
            " swapped after it was registered; not loaded"
        )
    return found


def check_no_pickles(folder: Path) -> None:
    """Look for a pickle among all files of an artifact, by its name and by its first bytes."""
    pickles = [name for name, path in files_below(folder).items() if _is_pickle(path)]
    if pickles:
        raise ArtifactError(f"{', '.join(pickles[:5])}: a pickle, which is never loaded")


def _is_pickle(path: Path) -> bool:
    with path.open("rb") as stream:
        return path.suffix in PICKLES or stream.read(2) in (
            b"\x80\2",
            b"\x80\3",
            b"\x80\4",
            b"\x80\5",
        )


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


def check_training_rows(version: Version, folder: Path) -> TrainingRows:
    """Return the groups that a version was fitted or tuned on, compared with its tag."""
    try:
        return read_training_rows(folder, version.tags.get(ROWS_TAG, "none"))
    except DataError as error:
        raise ArtifactError(str(error)) from error


def stored_damage(client: Client, version: Version) -> str:
    """Return what is wrong with a version's artifact without a download; empty if nothing is found.

    Files on this machine are read. Of a server's store, files and sizes are listed.
    """
    model_id = version.source.removeprefix("models:/")
    if not model_id.startswith("m-") or version.pruned is not None:
        return ""
    model = client.get_logged_model(model_id)
    folder = Path(model.artifact_location.removeprefix("file://"))
    if not folder.is_absolute():
        return _listed_damage(client, model)
    if is_http(client.tracking_uri):  # a folder of the server's machine
        return ""
    try:
        check_digest(version, folder)
        if ROWS_TAG in version.tags:
            check_training_rows(version, folder)
    except ArtifactError as error:
        return f"{error} (in {folder})"
    return ""


def _listed_damage(client: Client, model: Any) -> str:
    """Return what a listing of a logged model's files shows: a missing file, or a model cut off."""
    listed = {
        item.path: item.file_size for item in client.list_logged_model_artifacts(model.model_id)
    }
    needed = (SKOPS, GOLDEN, SCHEMA, *([ROWS_FILE] if ROWS_TAG in model.tags else []))
    if missing := next((name for name in needed if name not in listed), None):
        return f"its {missing} is missing from {model.artifact_location}"
    size, recorded = listed[SKOPS], model.tags.get(BYTES_TAG)
    if None in (size, recorded) or str(size) == recorded:
        return ""
    return f"its {SKOPS} in {model.artifact_location} has {size} bytes in place of {recorded}"
