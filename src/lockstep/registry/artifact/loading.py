"""From a name in the registry to a model whose digest, types and golden rows were checked.

Nothing that an artifact ships is imported or unpickled. Downloads are cached below .lockstep/cache
by digest and verified at each use. A refused artifact is noted there as suspect, so that
`register`, which downloads nothing that the registry holds, checks it closely.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow.artifacts
from mlflow.exceptions import MlflowException
from requests import RequestException

from lockstep.errors import ArtifactError, DataError, RegistryError
from lockstep.evaluation.intervals import check_interval
from lockstep.io import read_json, sha256_file, whole_folder, write_json
from lockstep.models.scoring.prediction import Model
from lockstep.problems.schema import Schema
from lockstep.registry.artifact.files import files_below
from lockstep.registry.artifact.integrity import (
    REGISTER_AGAIN,
    check_digest,
    check_golden_file,
    check_schema,
    check_training_rows,
    explained,
    load_checked,
    recorded_digest,
)
from lockstep.registry.artifact.mlflow_leftovers import drop_added_on_loading
from lockstep.registry.artifact.training_rows import TrainingRows
from lockstep.registry.record.registered_models import get_model, newest_in
from lockstep.registry.store.connection import Client, fluent, one_line, translating_mlflow_errors
from lockstep.registry.store.names import ROWS_TAG, NotRegistered
from lockstep.registry.store.queries import versions_of_run
from lockstep.registry.store.versions import Version, pruned_line

CACHE = Path(".lockstep") / "cache" / "models"
SUSPECT = Path(".lockstep") / "cache" / "doubted"
SUMS = ".cached.json"
"""What was downloaded, in the cache only; the artifact has a list of its own (files.SUMS)."""


@dataclass(frozen=True)
class Located:
    """A version and the folder that holds its artifact, not opened yet."""

    version: Version
    folder: Path


def find_version(
    client: Client,
    name: str | None = None,
    *,
    version: int | None = None,
    stage: str | None = None,
    run_id: str | None = None,
) -> Version:
    """Return a version by its run, by its number, or the newest in a stage (default Production)."""
    if run_id is not None:
        return _version_of_run(client, run_id)
    if name is None:
        raise RegistryError("neither a model's name nor a run was given")
    if version is None:
        return newest_in(client, name, stage or "Production")[1]
    return get_model(client, name).version(version)


def locate(client: Client, version: Version, root: Path) -> Located:
    """Return a version's artifact folder in the cache, downloaded if missing or changed there."""
    if version.pruned is not None:
        raise ArtifactError(pruned_line(version))
    with explained(version):
        return _locate(client, version, root)


def open_version(located: Located) -> Model:
    """Check an artifact and load it: its digest first, then types, then golden rows."""
    with _refusing(located.folder):
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
    with _refusing(located.folder), explained(located.version):
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


def suspect_damage(client: Client, version: Version, root: Path) -> str:
    """Return what is wrong in the registry with an artifact that this workspace refused.

    It downloads the artifact. Golden outputs are not compared: they may differ with other package
    versions.
    """
    note = root / SUSPECT / (version.tag("model_digest") or "none")
    if version.pruned is not None or not note.is_file():
        return ""
    try:
        with _refusing(root / CACHE / note.name):
            folder = _locate(client, version, root).folder
            check_golden_file(version, folder)
            if ROWS_TAG in version.tags:
                check_training_rows(version, folder)
    except ArtifactError as error:
        return str(error)
    note.unlink()
    return ""


@contextmanager
def _refusing(folder: Path) -> Iterator[None]:
    """Note an artifact that a check refuses within the block as suspect, and drop its download.

    The same model registered anew has the same digest, and so the same place in the cache.
    """
    try:
        yield
    except ArtifactError:
        shutil.rmtree(folder, ignore_errors=True)
        note = folder.parents[1] / SUSPECT.name / folder.name
        with suppress(OSError):  # a read-only folder: the refusal matters, the note does not
            note.parent.mkdir(parents=True, exist_ok=True)
            note.touch()
        raise


def _locate(client: Client, version: Version, root: Path) -> Located:
    folder = root / CACHE / recorded_digest(version)
    with _refusing(folder):
        if not _intact(folder):
            shutil.rmtree(folder, ignore_errors=True)
            _download(client, version, folder)
    return Located(version, folder)


def _download(client: Client, version: Version, folder: Path) -> None:
    """Fetch a version's whole artifact and note each file's sum; a damaged one is not kept."""
    uri = f"models:/{version.name}/{version.version}"
    with whole_folder(folder) as part:
        try:
            # MLflow resolves models:/ by its global store, whatever tracking URI it is given.
            with translating_mlflow_errors(), fluent(client.tracking_uri):
                mlflow.artifacts.download_artifacts(
                    uri, dst_path=str(part), tracking_uri=client.tracking_uri
                )
        except RequestException as error:
            raise RegistryError(
                f"the files of {version.title} cannot be fetched ({one_line(error)}); run the"
                " command again when the server answers"
            ) from error
        except OSError as error:
            raise ArtifactError(f"its files cannot be read ({error})") from error
        drop_added_on_loading(part)
        check_digest(version, part)
        sums = {name: sha256_file(path) for name, path in files_below(part).items()}
        write_json(part / SUMS, sums)


def _intact(folder: Path) -> bool:
    """Return whether a cached artifact holds exactly the files it was downloaded with."""
    try:
        sums = read_json(folder / SUMS)
    except DataError:
        return False
    files = files_below(folder)
    del files[SUMS]
    unchanged = (sha256_file(files[name]) == sums[name] for name in sums)
    return sums.keys() == files.keys() and all(unchanged)


def _version_of_run(client: Client, run_id: str) -> Version:
    """Return the newest version that a run made; an error names a run that made none."""
    found = versions_of_run(client, run_id)
    if found:
        return max(found, key=lambda v: (v.version, v.name))
    try:
        run = client.get_run(run_id)
    except MlflowException:
        raise NotRegistered(
            f"no run '{run_id}' here; list-versions shows the runs of a model"
        ) from None
    kind = run.data.tags.get("mlflow.runName", "this run")
    raise NotRegistered(
        f"run {run_id} ({kind}) made no registered version; give one list-versions shows"
    )


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return None
