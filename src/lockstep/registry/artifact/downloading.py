"""The download of a version's files from the store that MLflow keeps them in."""

from __future__ import annotations

from pathlib import Path

import mlflow.artifacts
from requests import RequestException

from lockstep.errors import RegistryError
from lockstep.registry.store.connection import fluent, one_line, translating_mlflow_errors
from lockstep.registry.store.versions import Version


def download(store: str, version: Version, target: Path) -> None:
    """Fetch a version's whole artifact into a folder; RegistryError if the store is out of reach.

    OSError if its files can't be read or written.
    """
    uri = f"models:/{version.name}/{version.version}"
    try:
        # MLflow resolves models:/ by its global store, whatever tracking URI it is given.
        with translating_mlflow_errors(), fluent(store):
            mlflow.artifacts.download_artifacts(uri, dst_path=str(target), tracking_uri=store)
    except RequestException as error:
        fault = f"the files of {version.title} cannot be fetched ({one_line(error)})"
        fix = "run the command again when the server answers"
        raise RegistryError(f"{fault}; {fix}") from error
