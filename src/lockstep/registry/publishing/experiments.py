"""The MLflow experiment that a problem's runs go to."""

from __future__ import annotations

from pathlib import Path

from lockstep.config.settings import Settings
from lockstep.problems.schema import load_schema
from lockstep.registry.store.connection import Client, experiment_id


def experiment_of(client: Client, settings: Settings, root: Path, problem: str) -> str:
    """Return the id of the experiment a problem's runs go to."""
    return experiment_id(client, root, settings.experiment_name or load_schema(problem).experiment)
