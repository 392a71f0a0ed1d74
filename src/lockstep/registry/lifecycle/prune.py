"""Delete the files of old Archived versions, on record; versions, tags and lineage stay.

Files stay if anything refers to them: an alias, a stage other than Archived, a possible rollback,
another version with the same files, or a run that names the version's run as its parent. They also
stay if the version's run is deleted, without which nothing can rebuild them.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime

from lockstep.errors import ArtifactError, RegistryError, UsageError
from lockstep.registry.record.deletions import carry_out, shared_files
from lockstep.registry.record.events import Event, Record, Who, changes, to_undo
from lockstep.registry.record.journal import Journal, check_intact
from lockstep.registry.record.recovery import open_journal
from lockstep.registry.record.registered_models import Model, get_model
from lockstep.registry.store.artifact_store import sizes
from lockstep.registry.store.connection import Client, translating_mlflow_errors
from lockstep.registry.store.names import PARENT_TAG
from lockstep.registry.store.queries import active_run
from lockstep.registry.store.versions import Version

ACTION = "prune"
KEPT = 3
"""Archived versions that keep their files by default."""
AT_ONCE = 8
"""Versions of one event and one lock: a lock that is held for long is broken."""
_DAY = 86400.0


@dataclass(frozen=True)
class Choice:
    """One Archived version: why it keeps its files, or how many will be deleted (no reason)."""

    version: Version
    reason: str
    files: int = 0
    bytes: int = 0

    @property
    def goes(self) -> bool:
        """Whether its files are to be deleted."""
        return not self.reason


@dataclass(frozen=True)
class Pruned:
    """What a prune found and did; ``done`` is False for a dry run."""

    name: str
    choices: tuple[Choice, ...]
    done: bool
    events: tuple[int, ...] = ()

    @property
    def going(self) -> tuple[Choice, ...]:
        """The versions whose files are or were to be deleted."""
        return tuple(choice for choice in self.choices if choice.goes)


def prune(
    client: Client,
    name: str,
    keep: int = KEPT,
    older_than: float = 0.0,
    yes: bool = False,
    who: Who | None = None,
) -> Pruned:
    """Choose the Archived versions whose files nothing needs; with ``yes`` delete these files.

    ``keep`` of the newest Archived versions keep theirs, and those archived less than
    ``older_than`` days ago.
    """
    if keep < 0 or older_than < 0:
        raise UsageError("--keep and --older-than take no negative number")
    model = get_model(client, name)
    check_intact(model)
    choices = tuple(choose(client, model, keep, older_than))
    if not yes:
        return Pruned(name, choices, done=False)
    going = [choice for choice in choices if choice.goes]
    events: list[int] = []
    for start in range(0, len(going), AT_ONCE):
        with open_journal(client, name, who) as journal:
            events.append(_delete(journal, going[start : start + AT_ONCE]).number)
    return Pruned(name, choices, done=True, events=tuple(events))


def choose(client: Client, model: Model, keep: int, older_than: float) -> list[Choice]:
    """Return every Archived version with files, the newest first, with the reason to keep them."""
    archived = [v for v in model.in_stage("Archived")[::-1] if v.pruned is None]
    before = time.time() - older_than * _DAY
    times = archive_times(model.record) if older_than else {}
    # A version that another tool archived has no time on record but that of its registration.
    ages = {v.version: times.get(v.version, v.created / 1000) for v in archived}
    young = {number for number, time in ages.items() if older_than and time > before}
    reasons = {
        **references(model),
        **dict.fromkeys(young, "archived too recently"),
        **{v.version: "among the newest that are kept" for v in archived[:keep]},
    }
    reasons |= shared_files(client, [v for v in archived if v.version not in reasons])
    return [_choice(client, v, reasons.get(v.version, "")) for v in archived]


def _choice(client: Client, version: Version, reason: str) -> Choice:
    reason = reason or own_files(version) or _by_run(client, version)
    if reason:
        return Choice(version, reason)
    try:
        found = sizes(client, version)
    except ArtifactError as error:
        return Choice(version, str(error))
    reason = "" if found else "no files of it can be seen from here"
    return Choice(version, reason, len(found), sum(found.values()))


def references(model: Model) -> dict[int, str]:
    """Return the versions that an alias or a possible rollback refers to, each with which."""
    found: dict[int, str] = {}
    for stage in ("Staging", "Production"):
        turn = to_undo(model.record, stage)
        reason = f"what a rollback of {stage} brings back"
        found |= dict.fromkeys(turn.before if turn else (), reason)
    return found | {number: f"alias {alias} names it" for alias, number in model.aliases.items()}


def own_files(version: Version) -> str:
    """Return why a version's files may be more than its model; empty if they are not."""
    if version.tag("model_digest") is None:
        return "not registered by this project"
    return "" if version.logged_model else "its files may be more than the model's"


def _by_run(client: Client, version: Version) -> str:
    """Return why a version's run keeps its files: one made from it, or no way to rebuild them."""
    if version.run_id is None:
        return ""
    run = active_run(client, version.run_id)
    if run is None:
        return f"its run {version.run_id} is deleted, so nothing could rebuild them"
    condition = f"tags.`{PARENT_TAG}` = '{version.run_id}'"
    with translating_mlflow_errors():
        children = client.search_runs([run.info.experiment_id], condition, max_results=1)
    return f"run {children[0].info.run_id} was made from it" if children else ""


def archive_times(record: Record) -> dict[int, float]:
    """Return when each version was archived last, in seconds since 1970."""
    times = {n: e.time for e in record.events for n, now in changes(e).items() if now == "Archived"}
    return {number: datetime.fromisoformat(time).timestamp() for number, time in times.items()}


def _delete(journal: Journal, choices: list[Choice]) -> Event:
    """Delete the files of some versions, on record; RegistryError if one came into use since."""
    model, numbers = journal.model, [choice.version.version for choice in choices]
    chosen = [model.version(number) for number in numbers]
    needed = references(model) | shared_files(journal.client, chosen)
    for version in chosen:
        if version.version in needed or version.stage != "Archived":
            title = f"version {version.version} of {journal.name}"
            raise RegistryError(f"{title} was taken into use meanwhile; run the command again")
    details = {str(c.version.version): c.version.tag("model_digest") or "" for c in choices}
    return carry_out(journal, journal.begin(ACTION, details=details))
