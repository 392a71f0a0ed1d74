"""Checks of locks, of the record of moves, and of the tags and aliases beside it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence

from lockstep.checks import FAILED, CheckResult
from lockstep.errors import listed
from lockstep.registry.record.descriptions import outdated
from lockstep.registry.record.locking import Lock
from lockstep.registry.record.registered_models import ALIASES, Model, aliases_of
from lockstep.registry.store.json_tags import damaged_tags
from lockstep.registry.store.names import STAGE_TAG
from lockstep.registry.store.versions import Version

ABANDONED = 600.0
"""Seconds after which a lock counts as abandoned: far more than any move takes."""
FIXED_BY = "run `doctor --fix`"
OR_NEXT_MOVE = f"{FIXED_BY}, or make the next move"


def problem(name: str, subject: str, message: str, fix: str = "", repair: str = "") -> CheckResult:
    """Return one thing that is wrong: what, where, why, how to correct it, and what --fix does."""
    return CheckResult(name, FAILED, message, subject, fix=fix, repair=repair)


def abandoned(lock: Lock) -> bool:
    """Tell whether a lock's owner is gone, or has it for longer than any move takes."""
    return lock.dead or time.time() - lock.created / 1000 > ABANDONED


def of_locks(locks: Iterable[Lock]) -> Iterator[CheckResult]:
    """Yield the locks that nobody will release."""
    for lock in filter(abandoned, locks):
        why = "which has ended" if lock.dead else f"for more than {ABANDONED / 60:g} minutes"
        fix = f"{FIXED_BY}; the next move waits for it and breaks it too"
        message = f"it is held by {lock.owner_text}, {why}"
        yield problem("abandoned lock", lock.name, message, fix, "took the lock away")


def of_model(model: Model, moving: bool = False) -> Iterator[CheckResult]:
    """Yield what is wrong with a model's record, tags and aliases, else with its descriptions.

    They follow from the others, so whoever repairs those writes them too.
    """
    for version in model.versions:
        for fault, fix in damaged_tags(version):
            yield problem("damaged tag", version.title, fault, fix)
    found = list(_of_record(model, moving))
    yield from found
    if not found and not moving and (old := outdated(model)):
        message = f"the descriptions of {' and '.join(old)} are missing or outdated"
        yield problem("description", model.name, message, OR_NEXT_MOVE, "wrote them")


def _of_record(model: Model, moving: bool) -> Iterator[CheckResult]:
    """Yield where a model's record is damaged or half done, and where tags or aliases differ.

    During a move (``moving``) half of it is written, which says nothing.
    """
    name, record = model.name, model.record
    for fault in record.faults:
        fix = f"look at `history --model-name {name}`, then {FIXED_BY} to go on from what stands"
        repair = "took the tags' stages over into the record, on record"
        yield problem("damaged record", name, fault, fix, repair)
    if moving:
        return
    for event in record.open:
        begun = f"event {event.number} ({event.action}) by {event.who.actor} of {event.time}"
        message = f"{begun} has begun and not ended"
        yield problem("half-done move", name, message, OR_NEXT_MOVE, "ended it")
    if unknown := [v.version for v in model.versions if v.recorded is None]:
        message = f"{_versions(unknown)} not on record: registered without it, or by another tool"
        yield problem("no record", name, message, OR_NEXT_MOVE, "took over")
    for message in disagreements(model):
        yield problem("disagreement", name, message, OR_NEXT_MOVE, "wrote what the record says")
    if len(twice := [v.version for v in model.in_stage("Production")]) > 1:
        message = f"{_versions(twice)} in Production at once"
        yield problem("two Productions", name, message, FIXED_BY, "archived all but the alias's")


def disagreements(model: Model) -> list[str]:
    """Return where tags, MLflow's own stages and aliases are not what the record says."""
    recorded = [version for version in model.versions if version.recorded is not None]
    stages = [f"version {v.version}: {fault}" for v in recorded for fault in stage_faults(v)]
    return [*stages, *alias_faults(model)]


def stage_faults(version: Version) -> list[str]:
    """Return which of a version's two stages in the store are not the one on record."""
    tag, right = version.tags.get(STAGE_TAG), version.stage
    stored = {f"tag {STAGE_TAG}": tag, "MLflow's own stage": version.mirrored}
    wrong = {place: stage for place, stage in stored.items() if stage != right}
    return [f"{place} is {wrong[place]}, the record says {right}" for place in wrong]


def alias_faults(model: Model) -> list[str]:
    """Return which aliases do not name the version that the stages give."""
    found, right = model.aliases, aliases_of(model)
    wrong = [alias for alias in ALIASES if found.get(alias) != right.get(alias)]
    return [
        f"alias {alias} names {_numbered(found.get(alias))}, "
        f"the stages say {_numbered(right.get(alias))}"
        for alias in wrong
    ]


def _numbered(version: int | None) -> str:
    return "no version" if version is None else f"version {version}"


def _versions(numbers: Sequence[int]) -> str:
    some = listed(numbers)
    return f"version {some} is" if len(numbers) == 1 else f"versions {some} are"
