"""The MLflow experiment that a problem's runs go to."""

from __future__ import annotations

from pathlib import Path

from lockstep.config.settings import Settings
from lockstep.registry.publishing.destinations import experiment_name
from lockstep.registry.store.connection import Client, experiment_id


def experiment_of(client: Client, settings: Settings, root: Path, problem: str) -> str:
    """Return the id of the experiment a problem's runs go to."""
    return experiment_id(client, root, experiment_name(settings, problem))
