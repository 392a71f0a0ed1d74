"""The words of the registry: stages, tags, and the names and numbers that a person may give."""

from __future__ import annotations

import re

from lockstep.console import check_plain, visible
from lockstep.errors import RegistryError, UsageError, unknown

STAGES = ("None", "Staging", "Production", "Archived")
"""Where a version can stand; its stage IS the tag of this name, MLflow's own stages are never read."""


STAGE_TAG = "lockstep.stage"


TAG_PREFIX = "lockstep."


PRUNED_TAG = "lockstep.pruned"
"""A version's tag with the number of the event that deleted its files (prune.py)."""


LOCK_PREFIX = "lockstep.lock."
"""Registered models of this name are locks on others (locking.py)."""


LONGEST_NAME = 200
"""Characters of a registered model's name: a database column of MLflow's takes 256, and its lock's name is longer."""


LONGEST_SHOWN = 60


SCRIPT = "python scripts/manage_model_registry.py"


class NotRegistered(RegistryError):
    """The registry answers, and holds no such model, version or run."""


def check_stage(stage: str) -> str:
    """Return ``stage`` when it is one; else say which was meant (stages are case-sensitive)."""
    if stage not in STAGES:
        raise UsageError(unknown("stage", shortened(stage), STAGES))
    return stage


def check_version(text: str | int) -> int:
    """Return a version's number; ``latest``, 0 and text are errors that name the fix."""
    if not re.fullmatch(r"0*[1-9][0-9]{0,17}", str(text)):
        raise UsageError(
            f"version '{shortened(str(text))}' is no version number; give a whole number from 1 up, see list-versions"
        )
    return int(text)


def check_name(name: str) -> str:
    """Return ``name`` when a registered model can have it; else say what is wrong with it."""
    check_plain("the model name", name)
    if (
        not name.strip()
        or set("/:") & set(name)
        or len(name) > LONGEST_NAME
        or name.startswith(LOCK_PREFIX)
    ):
        raise UsageError(
            f"'{shortened(name)}' is no registered model's name: those are of 1 to {LONGEST_NAME} characters without "
            "'/' and ':'; list-models shows all there are"
        )
    return name


def shortened(text: str) -> str:
    """Return text as an error's line can show it: control characters spelt out, cut off where it is long."""
    return visible(text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…")
