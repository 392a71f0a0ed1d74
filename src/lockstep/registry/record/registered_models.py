"""Registered models as plain values, each with its versions and its record."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from lockstep.console import visible
from lockstep.errors import RegistryError, nearest
from lockstep.registry.record.events import Record, read_record, to_undo, turns
from lockstep.registry.store.names import LOCK_PREFIX, SCRIPT, EmptyStage, NotRegistered, shortened
from lockstep.registry.store.opening import source_of
from lockstep.registry.store.versions import Version

if TYPE_CHECKING:
    from lockstep.registry.store.opening import Registry


ALIASES = ("production", "staging")
"""The aliases that follow from the stages."""
IN_USE = ("Production", "Staging")
"""The stages that models are loaded from."""
MOST_UNKNOWN = 50
"""With more versions that the record lacks, a model is read as a whole."""


@dataclass(frozen=True)
class Model:
    """One registered model with all its versions, or those asked for, the oldest first."""

    name: str
    versions: tuple[Version, ...]
    aliases: dict[str, int]
    record: Record = field(default_factory=Record)
    description: str = ""
    whole: bool = True
    """Whether ``versions`` are all that there are."""

    @property
    def numbers(self) -> set[int]:
        """The numbers of its versions."""
        return {version.version for version in self.versions}

    @property
    def newest(self) -> Version:
        """The version with the highest number."""
        if not self.versions:
            raise RegistryError(f"{self.name} has no version yet; run `make run-train` to make one")
        return self.versions[-1]

    def in_stage(self, stage: str) -> tuple[Version, ...]:
        """Return the versions in a stage, the oldest first."""
        return tuple(v for v in self.versions if v.stage == stage)

    def version(self, number: int) -> Version:
        """Return one version; NotRegistered with the known numbers if there is none."""
        if found := [v for v in self.versions if v.version == number]:
            return found[0]
        there = ", ".join(str(v.version) for v in self.versions[-10:]) or "none"
        more = "…, " if len(self.versions) > 10 or not self.whole else ""
        raise NotRegistered(f"{self.name} has no version {number}; there are: {more}{there}")

    def newest_in(self, stage: str) -> Version:
        """Return the newest version in a stage; EmptyStage with the fix if there is none."""
        if found := self.in_stage(stage):
            return found[-1]
        stands = ", ".join(f"{v.version} ({v.stage})" for v in self.versions[-10:]) or "none"
        command = f"{SCRIPT} transition --model-name {self.name} --version N --stage {stage}"
        raise EmptyStage(
            f"{self.name} has no version in {stage}; versions: {stands}; move one: {command}"
        )


def aliases_of(model: Model) -> dict[str, int]:
    """Return the aliases that follow from the stages; ``staging`` is the newest there."""
    pointed = {"production": model.in_stage("Production"), "staging": model.in_stage("Staging")}
    return {alias: versions[-1].version for alias, versions in pointed.items() if versions}


def brought_back(model: Model, stage: str) -> list[int]:
    """Return the versions that a rollback of a stage brings back, of Production one at most.

    Versions that were deleted in MLflow are left out.
    """
    turn = to_undo(model.record, stage)
    found = sorted(turn.before & model.numbers) if turn else []
    return found[-1:] if stage == "Production" else found


def model_names(client: Registry) -> list[str]:
    """Return the names of all registered models, sorted."""
    return sorted(entry.name for entry in _entries(client))


def list_models(client: Registry) -> list[Model]:
    """Return every registered model with its versions, by name, in two queries."""
    entries = _entries(client)
    versions: dict[str, list[Version]] = {entry.name: [] for entry in entries}
    for version in source_of(client).versions():
        versions.setdefault(version.name, []).append(version)
    models = (_model(entry, read_record(entry.tags), versions[entry.name]) for entry in entries)
    return sorted(models, key=lambda m: m.name)


def get_model(client: Registry, name: str, stage: str | None = None) -> Model:
    """Return one registered model; NotRegistered with the nearest name if there is none.

    With ``stage``, which is much faster for a model with many versions, only the versions in it: by
    the record, or by their tag if the record does not know them.
    """
    entry, source = _entry(client, name), source_of(client)
    record = read_record(entry.tags)
    found = source.versions(name, stage)
    if stage is not None:
        there = {version.version for version in found}
        lacking = [n for n, at in record.stages.items() if at == stage and n not in there]
        found += source.numbered(name, lacking)
    model = _model(entry, record, found)
    if stage is None:
        return model
    return replace(model, versions=model.in_stage(stage), whole=False)


def get_in_use(client: Registry, name: str, numbers: Collection[int] = ()) -> Model:
    """Return a model with the versions that a move concerns, in as many queries however many.

    Those are ``numbers``, the newest, all in Production or Staging by record, tag or alias, what a
    rollback brings back, the last that was in Production, and those that the record lacks. A model
    whose record has open events or faults is read as a whole.
    """
    entry, source = _entry(client, name), source_of(client)
    record = read_record(entry.tags)
    newest, stages = source.newest(name), record.stages
    wanted = {*numbers, *map(int, entry.aliases.values()), *_needed(record)}
    wanted |= {number for number, at in stages.items() if at in IN_USE}
    unknown = set(range(1, newest[0].version if newest else 0)) - stages.keys()
    if record.open or record.faults or len(unknown) > MOST_UNKNOWN:
        return _model(entry, record, source.versions(name))
    tagged = (version for stage in IN_USE for version in source.versions(name, stage))
    found = {version.version: version for version in (*newest, *tagged)}

    def add(some: Collection[int]) -> None:
        lacking = sorted({*some} - found.keys())
        found.update((one.version, one) for one in source.numbered(name, lacking))

    add(wanted | unknown)
    for turn in reversed(turns(record, "Production")):
        add(turn.after)
        if turn.after & found.keys():  # the champion, unless another tool deleted it
            break
    if not found.keys() >= {*numbers}:  # whoever asks names those that there are
        return _model(entry, record, source.versions(name))
    return replace(_model(entry, record, list(found.values())), whole=False)


def _needed(record: Record) -> Iterator[int]:
    """Yield the versions that a rollback brings back."""
    for stage in IN_USE:
        turn = to_undo(record, stage)
        yield from turn.before if turn else ()


def get_version(client: Registry, name: str, number: int) -> Version:
    """Return one version with its stage on record; NotRegistered with the known ones if missing."""
    entry = _entry(client, name)
    if found := source_of(client).numbered(name, [number]):
        return _model(entry, read_record(entry.tags), found).versions[0]
    return get_model(client, name).version(number)  # which names those that there are


def get_same(client: Registry, name: str, digest: str) -> Model:
    """Return a model with those of its versions that have a digest; NotRegistered as get_model."""
    entry = _entry(client, name)
    found = source_of(client).with_digest(name, digest)
    return replace(_model(entry, read_record(entry.tags), found), whole=False)


def list_in_stage(client: Registry, stage: str) -> list[Model]:
    """Return the registered models with versions in a stage, with these alone, by name."""
    names = {version.name for version in source_of(client).versions(None, stage)}
    for entry in _entries(client):
        if stage in read_record(entry.tags).stages.values():
            names.add(entry.name)
    models = (get_model(client, name, stage) for name in sorted(names))
    return [model for model in models if model.versions]


def newest_versions(client: Registry, name: str, most: int) -> Model:
    """Return a model with at most so many of its versions, the newest."""
    entry, source = _entry(client, name), source_of(client)
    found = source.newest(name, most + 1)
    model = _model(entry, read_record(entry.tags), found[:most])
    return replace(model, whole=len(found) <= most)


def newest_in(client: Registry, name: str, stage: str) -> tuple[Model, Version]:
    """Return a model and its newest version in a stage, reading no more versions than needed."""
    few = get_model(client, name, stage) if stage != "None" else None
    model = few if few and few.versions else get_model(client, name)
    return model, model.newest_in(stage)


def get_record(client: Registry, name: str) -> Record:
    """Return the record of one registered model, without its versions."""
    return read_record(_entry(client, name).tags)


def marks_of(client: Registry, name: str) -> tuple[dict[str, str], dict[str, int]]:
    """Return the tags of a model's lock, and its aliases; while both stay, no version was moved.

    A move sets the aliases before its event ends. The lock, read after them, is what tells a
    reader in between that the move is under way.
    """
    source = source_of(client)
    aliases = source.pointed(name, ALIASES)
    lock = source.entries(f"{LOCK_PREFIX}{name}")
    return (dict(lock[0].tags) if lock else {}), aliases


def _entry(client: Registry, name: str) -> Any:
    if found := source_of(client).entries(name):
        return found[0]
    fault = f"the registry holds no model yet, so no '{name}'; run `make run-train` to make some"
    if known := [visible(one) for one in model_names(client)]:
        fault = f"unknown model '{shortened(name)}'{nearest(name, known)}"
        fault += f"; registered: {', '.join(known)}"
    raise NotRegistered(fault)


def _entries(client: Registry) -> list[Any]:
    entries = source_of(client).entries()
    return [entry for entry in entries if not entry.name.startswith(LOCK_PREFIX)]


def _model(entry: Any, record: Record, versions: list[Version]) -> Model:
    aliases = {str(alias): int(number) for alias, number in sorted(entry.aliases.items())}
    stages = record.stages
    recorded = (replace(v, recorded=stages.get(v.version)) for v in versions)
    ordered = tuple(sorted(recorded, key=lambda v: v.version))
    return Model(entry.name, ordered, aliases, record, entry.description or "")
