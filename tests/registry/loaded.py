"""A version of a registry, found, fetched, checked and loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlflow import MlflowClient

from lockstep.models.scoring.prediction import Model
from lockstep.registry.artifact.loading import open_version
from lockstep.registry.artifact.locating import find_version, locate


def load_version(client: MlflowClient, root: Path, name: str | None = None, **which: Any) -> Model:
    """Load the version of a number, stage or run."""
    return open_version(locate(client, find_version(client, name, **which), root))
