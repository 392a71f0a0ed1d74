"""Moves of versions between stages: one move, in one place, that a crash can't leave half-wrong.

A version's stage is its tag ``lockstep.stage``. Many versions may be in Staging or Archived, one at
most in Production. The aliases ``production`` and ``staging`` (the newest in Staging) follow from the
tags, and so do MLflow's own stages as long as it has them. Every move starts by reading the tags and
ends by bringing aliases and mirror in line with them, so the command after a crash mends.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lockstep.errors import UsageError
from lockstep.registry.catalog import (
    STAGE_TAG,
    Model,
    Version,
    check_stage,
    check_version,
    get_model,
    registry_speaks,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient


@dataclass(frozen=True)
class Step:
    """One version's change of stage."""

    version: int
    was: str
    now: str


@dataclass(frozen=True)
class Move:
    """What a command changed: the version asked for, and those that made way."""

    name: str
    step: Step
    made_way: tuple[Step, ...]
    aliases: dict[str, int]

    @property
    def changed(self) -> bool:
        """Whether any stage changed; false where everything stood as asked."""
        return bool(self.made_way) or self.step.was != self.step.now


def transition(client: MlflowClient, name: str, version: int | str, stage: str) -> Move:
    """Put a version into a stage; a version that stands there already stays."""
    check_stage(stage)
    number = check_version(version)
    return move(client, get_model(client, name), number, stage)


def promote(
    client: MlflowClient, name: str, version: int | str | None = None, stage: str = "Production"
) -> Move:
    """Put a version (unnamed: the newest) into Production or Staging; the previous Production is archived."""
    if check_stage(stage) not in ("Staging", "Production"):
        raise UsageError(f"promote goes to Staging or Production; for {stage} use transition")
    number = None if version is None else check_version(version)
    model = get_model(client, name)
    return move(client, model, model.newest.version if number is None else number, stage)


def archive(client: MlflowClient, name: str, version: int | str) -> Move:
    """Put a version into Archived; archiving what is archived succeeds."""
    return transition(client, name, version, "Archived")


def move(client: MlflowClient, model: Model, number: int, stage: str) -> Move:
    """Write one move: who stands in Production steps down first, then the version moves, pointers last.

    At no moment are two versions in Production; stopped half-way, the next move of this model mends.
    """
    moved = model.version(number)
    steps = [Step(v.version, v.stage, "Archived") for v in leaving(model, number, stage)]
    steps.append(Step(number, moved.stage, stage))
    with registry_speaks():
        for step in steps:
            if step.was != step.now:
                client.set_model_version_tag(model.name, str(step.version), STAGE_TAG, step.now)
        after = _after(model, steps)
        settle(client, after)
    return Move(model.name, steps[-1], tuple(steps[:-1]), aliases_of(after))


def leaving(model: Model, number: int, stage: str) -> list[Version]:
    """Return the versions that must leave Production when ``number`` goes to ``stage``.

    Where two ever stood there (written by another tool), any move leaves the one the alias names.
    """
    others = [v for v in model.in_stage("Production") if v.version != number]
    if stage == "Production":
        return others
    kept = model.aliases.get("production")
    keep = next((v for v in others if v.version == kept), others[-1] if others else None)
    return [v for v in others if v is not keep]


def aliases_of(model: Model) -> dict[str, int]:
    """Return the aliases that follow from the stages: ``production``, and ``staging``, the newest there."""
    pointed = {"production": model.in_stage("Production"), "staging": model.in_stage("Staging")}
    return {alias: versions[-1].version for alias, versions in pointed.items() if versions}


def settle(client: MlflowClient, model: Model) -> None:
    """Bring MLflow's own stages and the aliases in line with the tags; writes only what differs."""
    for version in model.versions:
        if version.mirrored != version.stage:
            _mirror(client, version)
    wanted = aliases_of(model)
    for alias in ("production", "staging"):
        if alias not in wanted and alias in model.aliases:
            client.delete_registered_model_alias(model.name, alias)
        elif alias in wanted and model.aliases.get(alias) != wanted[alias]:
            # An upsert: never deleted first, so there is always one to load.
            client.set_registered_model_alias(model.name, alias, str(wanted[alias]))


def _mirror(client: MlflowClient, version: Version) -> None:
    if not hasattr(client, "transition_model_version_stage"):
        return
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r".*transition_model_version_stage`` is deprecated", FutureWarning)
        client.transition_model_version_stage(version.name, str(version.version), version.stage)


def _after(model: Model, steps: list[Step]) -> Model:
    now = {step.version: step.now for step in steps}
    moved = (replace(v, tags={**v.tags, STAGE_TAG: now.get(v.version, v.stage)}) for v in model.versions)
    return replace(model, versions=tuple(moved))
