"""Where a problem's models go: experiment and registered name, and whether they get versions."""

from __future__ import annotations

import os

from lockstep.config.settings import Settings
from lockstep.models.naming import registered_name
from lockstep.problems.schema import load_schema

_EXPERIMENT_VARIABLES = ("DVC_EXP_NAME", "DVC_EXP_BASELINE_REV")


def model_name(settings: Settings, problem: str, model_type: str) -> str:
    """Return the registered model's name: the configured or the problem's, mostly with the type."""
    return registered_name(problem, model_type, settings.registered_model_name)


def experiment_name(settings: Settings, problem: str) -> str:
    """Return the experiment of a problem's runs: the configured one or the problem's."""
    return settings.experiment_name or load_schema(problem).experiment


def registers(settings: Settings) -> bool:
    """Return whether models get versions: those of a DVC experiment don't, unless configured."""
    return settings.publish_experiments or dvc_experiment() is None


def dvc_experiment() -> str | None:
    """Return the name of the DVC experiment this call runs in, if any."""
    return next((os.environ[name] for name in _EXPERIMENT_VARIABLES if os.environ.get(name)), None)
