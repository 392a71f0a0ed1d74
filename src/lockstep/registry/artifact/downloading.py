"""The download of a version's files from the store that MLflow keeps them in."""

from __future__ import annotations

from pathlib import Path

from requests import RequestException

from lockstep.errors import RegistryError
from lockstep.registry.store.artifact_store import fetch_files
from lockstep.registry.store.connection import Client, one_line, translating_mlflow_errors
from lockstep.registry.store.versions import Version


def download(store: str, version: Version, target: Path) -> None:
    """Fetch a version's whole artifact into a folder; RegistryError if the store is out of reach.

    OSError if its files can't be read or written.
    """
    try:
        with translating_mlflow_errors():
            fetch_files(Client(tracking_uri=store), version, target)
    except RequestException as error:
        fault = f"the files of {version.title} cannot be fetched ({one_line(error)})"
        fix = "run the command again when the server answers"
        raise RegistryError(f"{fault}; {fix}") from error
