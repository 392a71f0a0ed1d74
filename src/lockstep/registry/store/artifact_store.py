"""Where a version's files lie in the store itself: fetched, listed and deleted there, past every cache."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflow.artifacts import download_artifacts
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from lockstep.errors import ArtifactError
from lockstep.registry.store.connection import fluent, one_line

if TYPE_CHECKING:
    from lockstep.registry.store.connection import Client
    from lockstep.registry.store.versions import Version

FILES_FAULTS = (OSError, ValueError)
"""What a store raises over files besides MLflow's own error; requests' errors are OSErrors."""


def fetch_version(client: Client, version: Version, folder: Path) -> None:
    """Copy all files of a version's artifact from the store into ``folder``; ArtifactError where there are none."""
    where = f"{version.name} version {version.version}"
    with _files_speak(f"the files of {where} cannot be read"), repository(client, version) as repo:
        repo.download_artifacts("", dst_path=str(folder))
    if not any(path.is_file() for path in folder.rglob("*")):
        raise ArtifactError(
            f"{where} has no files in the store; register it again with `dvc repro register`"
        )


def fetch_run_folder(client: Client, run_id: str, path: str, folder: Path) -> bool:
    """Copy a folder of a run's artifacts into ``folder``; false where the run has none of that name."""
    _quiet()
    with _files_speak(f"the files of run {run_id} cannot be read"), fluent(client.tracking_uri):
        if not any(item.path == path for item in client.list_artifacts(run_id)):
            return False
        download_artifacts(
            run_id=run_id,
            artifact_path=path,
            dst_path=str(folder),
            tracking_uri=client.tracking_uri,
        )
    return True


def sizes(client: Client, version: Version) -> dict[str, int]:
    """Return the bytes of every file of a version's artifact by path; ArtifactError where they can't be listed."""
    where = f"{version.name} version {version.version}"
    with (
        _files_speak(f"the files of {where} cannot be listed"),
        repository(client, version) as repo,
    ):
        return {item.path: int(item.file_size or 0) for item in _walked(repo, "")}


def delete_files(client: Client, version: Version) -> None:
    """Delete the files of a version's artifact, where there are any; ArtifactError where the store refuses.

    A store that answers and deletes nothing is found out by asking it again.
    """
    where = f"{version.name} version {version.version}"
    if not sizes(client, version):
        return
    with (
        _files_speak(f"the store does not delete the files of {where}"),
        repository(client, version) as repo,
    ):
        repo.delete_artifacts()
    if sizes(client, version):
        raise ArtifactError(
            f"the store kept files of {where} that it was told to delete; look at its log"
        )


@contextmanager
def repository(client: Client, version: Version) -> Iterator[Any]:
    """Yield MLflow's access to the folder of a version's artifact."""
    _quiet()
    with fluent(client.tracking_uri):
        uri = client.get_model_version_download_uri(version.name, str(version.version))
        yield get_artifact_repository(uri, tracking_uri=client.tracking_uri)


def _walked(repo: Any, folder: str) -> Iterator[Any]:
    """Yield every file of an artifact folder."""
    for item in repo.list_artifacts(folder or None):
        if item.is_dir:
            yield from _walked(repo, item.path)
        else:
            yield item


@contextmanager
def _files_speak(what: str) -> Iterator[None]:
    """Turn whatever a store raises over files into one line."""
    try:
        yield
    except (MlflowException, *FILES_FAULTS) as error:
        raise ArtifactError(f"{what} ({one_line(error)})") from error


def _quiet() -> None:
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
