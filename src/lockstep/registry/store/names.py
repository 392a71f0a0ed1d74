"""The words of the registry: stages, tags, and the names and numbers that a person may give."""

from __future__ import annotations

import re
from pathlib import Path

from lockstep.console import check_plain, visible
from lockstep.errors import RegistryError, UsageError, unknown

STAGES = ("None", "Staging", "Production", "Archived")
TAG_PREFIX = "lockstep."
STAGE_TAG = "lockstep.stage"
"""A version's stage; MLflow's own stages are never read."""
DIGEST_TAG, TYPE_TAG, PROBLEM_TAG = "lockstep.model_digest", "lockstep.type", "lockstep.problem"
EXPERIMENT_TAG = "lockstep.experiment"
CLOSURE_TAG, INPUTS_TAG = "lockstep.closure_digest", "lockstep.inputs_digest"
SAME_RUN = (DIGEST_TAG, TYPE_TAG, EXPERIMENT_TAG, CLOSURE_TAG, INPUTS_TAG)
"""Tags that identify a training's run: the same model may come of other inputs."""
RETRAIN_TAG = "lockstep.retrain"
"""On a version that a retrain made, and on its run: the id of the retrain's own run."""
REGISTRATION_TAG = "lockstep.registration"
"""On a run under the policy if_better: whether its model got a version, and what was compared."""
COMMITTED_TAG = "lockstep.committed_as"
"""On a dirty version: the commit in which its inputs were found later."""
ROWS_TAG = "lockstep.seen_digest"
"""The digest of the training rows."""
SUMS_TAG = "lockstep.sums_digest"
"""On a logged model and its versions: the digest of the list of its files' sums."""
BYTES_TAG = "lockstep.artifact_bytes"
"""On a logged model: the size of its model.skops, as a listing shows a file that was cut off."""
INTERVALS_TAG = "lockstep.test_intervals"
"""On a version: the 95 % intervals of its test metrics, as JSON."""
PRUNED_TAG = "lockstep.pruned"
"""On a version: the number of the event that deleted its files."""
SPARK_MODEL_TAG = "lockstep.spark_model"
"""On a version: the address of its second form, which `mlflow.spark` loads."""
MONITORED_TAG = "lockstep.monitored"
"""On a run of monitoring: the version that it watched, as NAME/NUMBER."""
MONTH_TAG = "lockstep.month"
"""On a run of monitoring: the newest month that says something, as 2026-03."""
MONITORING_SUFFIX = "_monitoring"
"""What follows the problem's experiment in the name of that of its analyses."""
NAME_TAG, UNNAMED = "mlflow.runName", "this run"
"""The tag of a run's name, and what a run without one is called."""
PARENT_TAG = "mlflow.parentRunId"
PROCESS_TAG = "mlflow.source.process"
"""On a run: the process that logs it, as JSON. MLflow's pages hide tags with its own prefix."""
LOCK_PREFIX = "lockstep.lock."
"""Registered models with this prefix are locks on other models."""
LONGEST_NAME = 200
"""MLflow's database column takes 256 characters, and the name of a model's lock is longer."""
LONGEST_SHOWN = 60
LISTED = 100
"""Versions and events that a listing shows, unless another number is asked for."""
LINEAGE = "lineage"
"""The folder of a run that holds what its model was made from."""
CLOSURE = Path(LINEAGE) / "closure.json"
METRICS = "metrics.json"
"""A file of every run that keeps files."""
INPUTS = Path(LINEAGE) / "changed.json"
"""The sums of a dirty version's changed inputs; its digest is the tag lockstep.inputs_digest."""
KEPT_INPUTS = Path(LINEAGE) / "inputs"
"""The changed inputs themselves."""
SCRIPT = "python scripts/manage_model_registry.py"
REGISTER_AGAIN = "register it again with `dvc repro -s register`"


class NotRegistered(RegistryError):
    """The registry answers, but has no such model, version or run."""


class EmptyStage(RegistryError):
    """The registry answers, but a model has no version in the stage."""


def check_stage(stage: str) -> str:
    """Return ``stage`` if it is one; UsageError with the nearest stage otherwise (case matters)."""
    if stage not in STAGES:
        raise UsageError(unknown("stage", shortened(stage), STAGES))
    return stage


def check_version(text: str | int) -> int:
    """Return a version's number; UsageError for ``latest``, 0 and text."""
    if not re.fullmatch(r"0*[1-9][0-9]{0,17}", str(text)):
        fix = "give a whole number from 1 up, see list-versions"
        raise UsageError(f"version '{shortened(str(text))}' is no version number; {fix}")
    return int(text)


def check_limit(text: str) -> int:
    """Return how many lines a listing may have, 0 for all; UsageError for anything else."""
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise UsageError(f"--limit takes a whole number from 0 up, not '{shortened(text)}'")
    return int(text)


def check_name(name: str) -> str:
    """Return ``name`` if a registered model can have it; UsageError otherwise."""
    check_plain("the model name", name)
    forbidden = set("/:") & set(name) or name.startswith(LOCK_PREFIX)
    if not name.strip() or forbidden or len(name) > LONGEST_NAME:
        form = f"those are of 1 to {LONGEST_NAME} characters without '/' and ':'"
        fault = f"'{shortened(name)}' is no registered model's name: {form}"
        raise UsageError(f"{fault}; list-models shows all there are")
    return name


def shortened(text: str) -> str:
    """Return text for one line of an error: control characters spelt out, long text cut off."""
    return visible(text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…")
