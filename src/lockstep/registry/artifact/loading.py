"""From a name in the registry to a model that was checked: digest, allowed types, golden rows, and only then use.

Nothing that an artifact ships is imported or unpickled. Downloads are kept below .lockstep/cache by digest
and verified by it at each use. What is refused is noted there too, so that `register`, which does not download
what the registry holds, looks at it closely.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow.artifacts
from mlflow.exceptions import MlflowException
from requests import RequestException

from lockstep.errors import ArtifactError, ConfigError, DataError, RegistryError
from lockstep.evaluation.intervals import check_interval
from lockstep.io import read_json, sha256_file, whole_folder, write_json
from lockstep.models.artifact import digest_of, read_artifact
from lockstep.models.golden_rows import COUNT, check_golden, golden_from
from lockstep.models.scoring.prediction import Model
from lockstep.problems.schema import Schema, read_schema
from lockstep.registry.artifact.mlflow_leftovers import drop_added_on_loading
from lockstep.registry.artifact.packaging import GOLDEN, SCHEMA, SHIPPED_CODE, SKOPS
from lockstep.registry.artifact.training_rows import Seen, read_seen
from lockstep.registry.record.registered_models import get_model, newest_in
from lockstep.registry.store.connection import fluent, one_line, translating_mlflow_errors
from lockstep.registry.store.names import NotRegistered
from lockstep.registry.store.queries import versions_of_run
from lockstep.registry.store.versions import Version, pruned_line

if TYPE_CHECKING:
    import pandas as pd

    from lockstep.registry.store.connection import Client

CACHE = Path(".lockstep") / "cache" / "models"
DOUBTED = Path(".lockstep") / "cache" / "doubted"
SUMS = ".cached.json"
"""What was downloaded, in the cache only; the artifact has a list of its own (packaging.SUMS)."""
PICKLES = (".pkl", ".pickle", ".joblib", ".cloudpickle", ".dill")


@dataclass(frozen=True)
class Located:
    """A version and the folder that holds its artifact, not opened yet."""

    version: Version
    folder: Path


def load_version(
    client: Client,
    root: Path,
    name: str | None = None,
    *,
    version: int | None = None,
    stage: str | None = None,
    run_id: str | None = None,
) -> Model:
    """Load one version by number, stage or run, checked; ArtifactError where anything about it is off."""
    found = find_version(client, name, version=version, stage=stage, run_id=run_id)
    return open_version(locate(client, found, root))


def find_version(
    client: Client,
    name: str | None = None,
    *,
    version: int | None = None,
    stage: str | None = None,
    run_id: str | None = None,
) -> Version:
    """Return the version that is meant: the one of a run, by number, or the newest in a stage (Production)."""
    if run_id is not None:
        return _version_of_run(client, run_id)
    if name is None:
        raise RegistryError("neither a model's name nor a run was given")
    if version is None:
        return newest_in(client, name, stage or "Production")[1]
    return get_model(client, name).version(version)


def locate(client: Client, version: Version, root: Path) -> Located:
    """Return a version's artifact folder from the cache, downloaded where it is not there or was changed."""
    if version.pruned is not None:
        raise ArtifactError(pruned_line(version))
    digest = _digest(version)
    folder = root / CACHE / digest
    with _noted(folder):
        if not _intact(folder):
            shutil.rmtree(folder, ignore_errors=True)
            _download(client, version, folder)
    return Located(version, folder)


def open_version(located: Located) -> Model:
    """Check an artifact against its version and load it: digest first, then types, then golden rows."""
    with _noted(located.folder):
        pipeline, schema = _checked(located)
    return _model(located.version, pipeline, schema)


def open_folder(located: Located) -> Model:
    """Load an artifact that lies in a folder of the user's, checked as any; one that is refused stays where it is."""
    return _model(located.version, *_checked(located))


def _checked(located: Located) -> tuple[Any, Schema]:
    version, folder = located.version, located.folder
    where = f"{version.name} version {version.version}"
    pipeline = read_artifact(_skops_file(folder, where), _digest(version), folder / SHIPPED_CODE)
    schema, rows, outputs = declared(located, where)
    check_golden(pipeline, rows, outputs, where)
    return pipeline, schema


def _model(version: Version, pipeline: Any, schema: Schema) -> Model:
    where = f"{version.name} version {version.version}"
    return Model(
        pipeline=pipeline,
        schema=schema,
        threshold=version.threshold,
        name=version.name,
        version=version.version,
        stage=version.stage,
        run_id=version.run_id,
        digest=_digest(version),
        type=version.tag("type"),
        interval=_interval(version, where),
        costs=costs_of(version, where),
    )


def open_seen(located: Located) -> Seen:
    """Return the groups a version was fitted or tuned on, checked by its tag; ArtifactError without tag or groups."""
    version, folder = located.version, located.folder
    where = f"{version.name} version {version.version}"
    with _noted(folder):
        try:
            return read_seen(folder, version.tag("seen_digest") or "none")
        except DataError as error:
            raise ArtifactError(
                f"{where}: {error}; register it again with `dvc repro register`"
            ) from error


def _interval(version: Version, where: str) -> dict[str, Any] | None:
    """Return the prediction interval that a version of a regression carries."""
    told = version.tag("interval")
    if told is None:
        return None
    try:
        content = json.loads(told)
    except json.JSONDecodeError:
        content = None
    return check_interval(content, where)


def costs_of(version: Version, where: str) -> dict[str, dict[str, float]] | None:
    """Return the costs by which a version decides among several classes."""
    told = version.tag("costs")
    if told is None:
        return None
    try:
        return {
            actual: {name: float(cost) for name, cost in row.items()}
            for actual, row in json.loads(told).items()
        }
    except (ValueError, AttributeError, TypeError) as error:
        raise ArtifactError(
            f"{where}: its tag lockstep.costs holds no costs by class; register it again with `dvc repro register`"
        ) from error


def declared(located: Located, where: str) -> tuple[Schema, pd.DataFrame, list[Any]]:
    """Return schema, golden rows and their outputs as an artifact holds them; ArtifactError where one is off."""
    schema = schema_of(located.folder, located.version, where)
    rows, outputs = golden_from(_content(located.folder / GOLDEN, where), schema)
    if len(rows) < COUNT:
        raise ArtifactError(
            f"{where} has {len(rows)} golden rows in place of {COUNT}; register it again"
        )
    return schema, rows, outputs


@contextmanager
def _noted(folder: Path) -> Iterator[None]:
    """Note the digest of an artifact that is refused within the block, and keep no download of it.

    The same model registered anew has the same digest, and so the same place in the cache.
    """
    try:
        yield
    except ArtifactError:
        shutil.rmtree(folder, ignore_errors=True)
        note = folder.parents[1] / DOUBTED.name / folder.name
        with suppress(OSError):  # a read-only folder: the refusal itself is what matters
            note.parent.mkdir(parents=True, exist_ok=True)
            note.touch()
        raise


def doubted_fault(client: Client, version: Version, root: Path) -> str:
    """Return why an artifact that was refused in this workspace is damaged in the registry too; empty if it isn't.

    It is downloaded for that. Golden outputs are not compared: other package versions may differ in them.
    """
    note = root / DOUBTED / (version.tag("model_digest") or "none")
    if not note.is_file():
        return ""
    where = f"{version.name} version {version.version}"
    try:
        with _noted(root / CACHE / note.name):
            located = locate(client, version, root)
            declared(located, where)
            if version.tag("seen_digest"):
                open_seen(located)
    except ArtifactError as error:
        return str(error).partition("; register it again")[0].removeprefix(f"{where}: ")
    note.unlink()
    return ""


def _version_of_run(client: Client, run_id: str) -> Version:
    """Return the newest version that a run made; a run without one is an error that says what it is."""
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


def _digest(version: Version) -> str:
    digest = version.tag("model_digest") or ""
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise ArtifactError(
            f"{version.name} version {version.version} carries no valid digest (tag lockstep.model_digest):"
            " it was not registered by this project and is not loaded; register it with `dvc repro register`"
        )
    return digest


def _download(client: Client, version: Version, folder: Path) -> None:
    """Fetch a version's whole artifact and write down each file's sum; a wrong one is not kept."""
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    where = f"{version.name} version {version.version}"
    uri = f"models:/{version.name}/{version.version}"
    with whole_folder(folder) as part:
        try:
            # MLflow resolves models:/ by its global store, whatever tracking URI it is given
            with translating_mlflow_errors(), fluent(client.tracking_uri):
                mlflow.artifacts.download_artifacts(
                    uri, dst_path=str(part), tracking_uri=client.tracking_uri
                )
        except RequestException as error:
            raise RegistryError(
                f"the files of {where} cannot be fetched ({one_line(error)}); run the command again when the server "
                "answers"
            ) from error
        except OSError as error:
            raise ArtifactError(
                f"the files of {where} cannot be read ({error}); register it again with `dvc repro register`"
            ) from error
        drop_added_on_loading(part)
        _check_digest(part, version, where)
        write_json(part / SUMS, {str(f.relative_to(part)): sha256_file(f) for f in _files(part)})


def _check_digest(folder: Path, version: Version, where: str) -> None:
    content = _skops_file(folder, where).read_bytes()
    found, told = digest_of(content, folder / SHIPPED_CODE), _digest(version)
    if found != told:
        raise ArtifactError(
            f"{where}: its artifact has digest {found[:12]}…, its version says {told[:12]}…: changed or swapped"
            " after it was registered; not loaded; register it again with `dvc repro register`"
        )


def _intact(folder: Path) -> bool:
    """Tell whether a cached artifact holds exactly the files it was downloaded with."""
    if not (folder / SUMS).is_file():
        return False
    try:
        sums = read_json(folder / SUMS)
    except DataError:
        return False
    files = {str(f.relative_to(folder)): f for f in _files(folder) if f.name != SUMS}
    return bool(
        sums.keys() == files.keys() and all(sha256_file(files[name]) == sums[name] for name in sums)
    )


def _files(folder: Path) -> list[Path]:
    return sorted(f for f in folder.rglob("*") if f.is_file())


def _skops_file(folder: Path, where: str) -> Path:
    file = folder / SKOPS
    if file.is_file():
        return file
    pickles = [f.name for f in _files(folder) if f.suffix in PICKLES]
    if pickles:
        raise ArtifactError(
            f"{where} holds a pickle ({pickles[0]}) in place of {SKOPS}; pickles are never loaded from a"
            " registry; register it again with `dvc repro register`"
        )
    raise ArtifactError(f"{where} holds no {SKOPS}; register it again with `dvc repro register`")


def schema_of(folder: Path, version: Version, where: str) -> Schema:
    """Return the schema in an artifact; ArtifactError where it is missing or not the version's."""
    if not (folder / SCHEMA).is_file():
        raise ArtifactError(
            f"{where} holds no {SCHEMA}; register it again with `dvc repro register`"
        )
    try:
        schema = read_schema(folder / SCHEMA)
    except ConfigError as error:
        raise ArtifactError(f"{where}: {error}") from error
    told = version.tag("schema_digest")
    if told and told != schema.digest:
        raise ArtifactError(
            f"{where}: its {SCHEMA} is not the one it was registered with; register it again"
        )
    return schema


def _content(file: Path, where: str) -> dict[str, Any]:
    try:
        content: dict[str, Any] = read_json(file)
    except DataError as error:
        raise ArtifactError(
            f"{where}: its {file.name} cannot be read, so it cannot be checked; register it again with "
            "`dvc repro register`"
        ) from error
    return content
