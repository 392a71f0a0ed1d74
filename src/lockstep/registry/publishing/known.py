"""What the registry already has of a workspace's models, and whether that is all there is to have.

A local registry is asked by its tables and files: where nothing is to be published, MLflow, whose
import takes longer than everything else, is not needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING

from lockstep.config.params import Problem
from lockstep.config.settings import Settings
from lockstep.io import sha256_json
from lockstep.registry.artifact.damage import is_suspect, kept_model, local_damage
from lockstep.registry.publishing.destinations import experiment_name, model_name, registers
from lockstep.registry.publishing.outputs import Outputs
from lockstep.registry.store.names import CLOSURE_TAG, COMMITTED_TAG, PARENT_TAG, RETRAIN_TAG
from lockstep.registry.store.sql_tables import Tables
from lockstep.registry.store.versions import Version

if TYPE_CHECKING:
    from lockstep.registry.store.queries import Queries

PARENT_KEY = "lockstep.parent_of"
"""On a parent run: the key of the models whose runs it is above."""
Known = dict[tuple[str, str], Version]
"""Versions by model name and digest."""


@dataclass(frozen=True)
class Published:
    """A model's place in the registry; ``refused`` says why the policy gave it no version."""

    name: str
    run_id: str
    digest: str
    new: bool
    version: int | None = None
    stage: str = "None"
    refused: str = ""

    @classmethod
    def of(cls, found: Version, new: bool) -> Published:
        """Return the place of a model that has a version."""
        digest = found.tag("model_digest") or ""
        return cls(found.name, found.run_id or "", digest, new, found.version, found.stage)

    @property
    def line(self) -> str:
        """One line for people: name, version, stage, new or known."""
        if self.refused:
            return f"{self.name}  not registered: {self.refused}  run {self.run_id}"
        what = "new" if self.new else "known"
        if self.version is None:
            return f"{self.name}  not registered  run {self.run_id}  {what}"
        return f"{self.name}  version {self.version}  {self.stage}  {what}"


@dataclass(frozen=True)
class Trained:
    """The trained models of a problem that are to be registered."""

    outputs: Sequence[Outputs]
    section: Problem
    asked_for: bool
    """Whether they are all that was asked for, and several."""

    @property
    def problem(self) -> str:
        """The problem's name."""
        return self.outputs[0].problem

    @property
    def whole(self) -> bool:
        """Whether they are all types of the problem."""
        return {one.type for one in self.outputs} == set(self.section.model_types)


def known_versions(
    source: Tables | Queries, settings: Settings, outputs: Iterable[Outputs]
) -> Known:
    """Return the newest version of each of these models that the registry has."""
    found: Known = {}
    for one in outputs:
        key = model_name(settings, one.problem, one.type), one.digest
        if same := source.with_digest(*key):
            found[key] = max(same, key=attrgetter("version"))
    return found


def commit_is_new(version: Version, outputs: Outputs) -> bool:
    """Tell whether a version was made with uncommitted inputs, and a commit has them now."""
    if not version.dirty or COMMITTED_TAG in version.tags:
        return False
    here = outputs.lineage
    return here.dirty == "false" and here.closure_digest == version.tags.get(CLOSURE_TAG)


def own_models(published: Iterable[Published], known: Known) -> list[Published]:
    """Return the models whose runs get a parent run; those of a retrain stay below its own."""
    retrained = {key for key, version in known.items() if RETRAIN_TAG in version.tags}
    return [one for one in published if one.new or (one.name, one.digest) not in retrained]


def parent_key(outputs: Iterable[Outputs]) -> str:
    """Return the key of the parent run of just these models."""
    return sha256_json(sorted(one.digest for one in outputs))


def all_registered(tables: Tables, settings: Settings, trained: Trained) -> list[Published] | None:
    """Return the models' places if there is nothing to write; None if there may be something.

    Every model has an undamaged version, no commit is to be noted, and their parent run exists.
    """
    known = known_versions(tables, settings, trained.outputs)
    keys = [(model_name(settings, one.problem, one.type), one.digest) for one in trained.outputs]
    if not known.keys() >= {*keys}:
        return None
    done = [Published.of(known[key], new=False) for key in keys]
    own = own_models(done, known)
    if registers(settings) and own and _lacks_parent(tables, settings, trained, own):
        return None
    # Last, as it reads the models' files: after a training, the parent run is missing.
    found = zip(keys, trained.outputs, strict=True)
    return (
        None if any(_needs_work(tables, settings, known[key], one) for key, one in found) else done
    )


def _needs_work(tables: Tables, settings: Settings, version: Version, outputs: Outputs) -> bool:
    if commit_is_new(version, outputs):
        return True
    model_id = kept_model(version)
    if not settings.log_model or model_id is None:
        return False
    if version.run_id and not tables.has_active(version.run_id, model_id):
        return True
    folder = None if is_suspect(version, outputs.root) else tables.folder_of(version)
    return folder is None or bool(local_damage(version, folder))


def _lacks_parent(
    tables: Tables, settings: Settings, trained: Trained, own: Sequence[Published]
) -> bool:
    if trained.whole:
        name = experiment_name(settings, trained.problem)
        return not tables.has_run(name, PARENT_KEY, parent_key(trained.outputs))
    return trained.asked_for and not all(tables.run_tag(one.run_id, PARENT_TAG) for one in own)
