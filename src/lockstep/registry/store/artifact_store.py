"""The files of a version in the store itself: fetch, list and delete them, past every cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from lockstep.console import without_password
from lockstep.errors import ArtifactError, RegistryError, UnusableHere
from lockstep.registry.store import uris
from lockstep.registry.store.connection import (
    Client,
    disk_fault,
    fluent,
    one_line,
    store_errors,
    tolerating,
)
from lockstep.registry.store.names import REGISTER_AGAIN
from lockstep.registry.store.versions import Version


def fetch_version(client: Client, version: Version, folder: Path) -> None:
    """Copy all files of a version from the store into ``folder``; ArtifactError if it has none."""
    with _fetching(f"the files of {version.title} cannot be read"):
        fetch_files(client, version, folder)
    if not any(path.is_file() for path in folder.rglob("*")):
        raise ArtifactError(f"{version.title} has no files in the store; {REGISTER_AGAIN}")


def fetch_files(client: Client, version: Version, folder: Path) -> None:
    """Copy all files of a version from the store, with the store's own errors.

    UnusableHere if a server's own disk has them, which it does not serve.
    """
    if place := on_a_server(client, version):
        where = f"the files of {version.title} are on the server's own disk, in {place}"
        raise UnusableHere(f"{where}; start the server with --serve-artifacts, or run this there")
    with fluent(client.tracking_uri):
        repository = get_artifact_repository(
            _download_uri(client, version), tracking_uri=client.tracking_uri
        )
        repository.download_artifacts("", dst_path=str(folder))


def on_a_server(client: Client, version: Version) -> str:
    """Return the folder of a version's files if it is on a server's disk; empty if it is not."""
    with tolerating("RESOURCE_DOES_NOT_EXIST"):
        place = _download_uri(client, version)
        return place if uris.is_elsewhere(place, client.tracking_uri) else ""
    return ""  # deleted since it was read


def fetch_run_folder(client: Client, run_id: str, path: str, folder: Path) -> bool:
    """Copy a folder of a run's artifacts into ``folder``; return False if the run has none."""
    with _fetching(f"the files of run {run_id} cannot be read"), fluent(client.tracking_uri):
        if not any(item.path == path for item in client.list_artifacts(run_id)):
            return False
        # By its address: through runs:/ID, MLflow hides why a download failed.
        uri = client.get_run(run_id).info.artifact_uri
        repository = get_artifact_repository(uri, tracking_uri=client.tracking_uri)
        repository.download_artifacts(path, dst_path=str(folder))
    return True


def fetched_text(uri: str, path: str, tracking_uri: str | None, read: Callable[[Path], str]) -> str:
    """Return a file below an artifact's address; MLflow's global store stays as it is."""
    failure = f"{path} below {without_password(uri)} cannot be read"
    with TemporaryDirectory() as folder, _translating(failure):
        repository = get_artifact_repository(uri, tracking_uri=tracking_uri)
        return read(Path(repository.download_artifacts(path, dst_path=folder)))


def sizes(client: Client, version: Version) -> dict[str, int]:
    """Return the bytes of a version's files by path; ArtifactError if they can't be listed."""
    with _repository(client, version, "the files of {} cannot be listed") as repository:
        return {item.path: int(item.file_size or 0) for item in _items(repository, "")}


def delete_files(client: Client, version: Version) -> None:
    """Delete the files of a version, if there are any; ArtifactError if the store refuses."""
    if not sizes(client, version):
        return
    with _repository(client, version, "the store does not delete the files of {}") as repository:
        repository.delete_artifacts()
    if sizes(client, version):  # some stores answer and delete nothing
        kept = f"the store kept files of {version.title} that it was told to delete"
        raise ArtifactError(f"{kept}; look at its log")


def address_of(client: Client, version: Version) -> str:
    """Return where a version's files are; a copy by MLflow has the address of its original."""
    with tolerating("RESOURCE_DOES_NOT_EXIST"):
        return _download_uri(client, version).removeprefix("file://").rstrip("/")
    return version.source  # deleted since it was read


def _download_uri(client: Client, version: Version) -> str:
    return str(client.get_model_version_download_uri(version.name, str(version.version)))


@contextmanager
def _repository(client: Client, version: Version, failure: str) -> Iterator[Any]:
    with _translating(failure.format(version.title)), fluent(client.tracking_uri):
        uri = _download_uri(client, version)
        yield get_artifact_repository(uri, tracking_uri=client.tracking_uri)


def _items(repository: Any, folder: str) -> Iterator[Any]:
    for item in repository.list_artifacts(folder or None):
        if item.is_dir:
            yield from _items(repository, item.path)
        else:
            yield item


@contextmanager
def _fetching(failure: str) -> Iterator[None]:
    """Raise ArtifactError for what a store raises over files; RegistryError for a full disk."""
    with _translating(failure):
        try:
            yield
        except store_errors(OSError) as error:
            if fault := disk_fault(error):
                raise RegistryError(f"{failure}: {fault}") from error
            raise


@contextmanager
def _translating(failure: str) -> Iterator[None]:
    """Raise ArtifactError for whatever a store raises over files."""
    try:
        yield
    except store_errors(OSError, ValueError) as error:
        raise ArtifactError(f"{failure} ({one_line(error)})") from error
