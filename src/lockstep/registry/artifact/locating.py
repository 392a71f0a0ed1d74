"""From a name in the registry to the files of a version, in the cache of this workspace.

Downloads are cached below .lockstep/cache by digest and verified at each use.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import mlflow.artifacts
from mlflow.exceptions import MlflowException
from requests import RequestException

from lockstep.errors import ArtifactError, RegistryError
from lockstep.io import sha256_file, whole_folder, write_json
from lockstep.registry.artifact.files import drop_added_on_loading, files_below
from lockstep.registry.artifact.integrity import check_digest, explained, recorded_digest
from lockstep.registry.artifact.model_cache import CACHE, SUMS, Located, is_intact, refusing
from lockstep.registry.record.registered_models import get_model, newest_in
from lockstep.registry.store.connection import Client, fluent, one_line, translating_mlflow_errors
from lockstep.registry.store.names import NotRegistered
from lockstep.registry.store.queries import versions_of_run
from lockstep.registry.store.versions import Version, pruned_line


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
        return fetched(client, version, root)


def fetched(client: Client, version: Version, root: Path) -> Located:
    """Return a version's folder in the cache; what ``locate`` adds is the words of an error."""
    folder = root / CACHE / recorded_digest(version)
    with refusing(folder):
        if not is_intact(folder):
            shutil.rmtree(folder, ignore_errors=True)
            _download(client, version, folder)
    return Located(version, folder)


def _download(client: Client, version: Version, folder: Path) -> None:
    """Fetch a version's whole artifact and note each file's sum; a damaged one is not kept."""
    uri, store = f"models:/{version.name}/{version.version}", client.tracking_uri
    with whole_folder(folder) as part:
        try:
            # MLflow resolves models:/ by its global store, whatever tracking URI it is given.
            with translating_mlflow_errors(), fluent(store):
                mlflow.artifacts.download_artifacts(uri, dst_path=str(part), tracking_uri=store)
        except RequestException as error:
            fault = f"the files of {version.title} cannot be fetched ({one_line(error)})"
            fix = "run the command again when the server answers"
            raise RegistryError(f"{fault}; {fix}") from error
        except OSError as error:
            raise ArtifactError(f"its files cannot be read ({error})") from error
        drop_added_on_loading(part)
        check_digest(version, part)
        sums = {name: sha256_file(path) for name, path in files_below(part).items()}
        write_json(part / SUMS, sums)


def _version_of_run(client: Client, run_id: str) -> Version:
    if found := versions_of_run(client, run_id):
        return max(found, key=lambda v: (v.version, v.name))
    try:
        kind = client.get_run(run_id).data.tags.get("mlflow.runName", "this run")
    except MlflowException:
        fix = "list-versions shows the runs of a model"
        raise NotRegistered(f"no run '{run_id}' here; {fix}") from None
    fix = "give one list-versions shows"
    raise NotRegistered(f"run {run_id} ({kind}) made no registered version; {fix}")
