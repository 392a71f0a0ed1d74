"""Deleting the files of versions that an event names."""

from __future__ import annotations

from collections.abc import Iterable

from lockstep.errors import ArtifactError, RegistryError
from lockstep.registry.record.events import Event
from lockstep.registry.record.journal import Journal
from lockstep.registry.record.registered_models import list_models
from lockstep.registry.store.artifact_store import address_of, delete_files, sizes
from lockstep.registry.store.connection import Client, translating_mlflow_errors
from lockstep.registry.store.names import PRUNED_TAG
from lockstep.registry.store.versions import Version

LOGGED_MODEL = "models:/m-"
"""How the source of a version begins whose files are just those of a logged model."""


def carry_out(journal: Journal, event: Event, mended_by: str = "") -> Event:
    """Delete the files of an event's versions and end it; ``mended_by`` continues it after a crash.

    If the store refuses, the event ends as dropped: an error, unless a crash is being repaired.
    """
    there = {version.version: version for version in journal.model.versions}
    for number in sorted(map(int, event.details)):
        version = there.get(number)
        if version is None:  # deleted in MLflow's own pages since
            continue
        if mended_by and _in_use(journal, version):  # by another tool, since the prune began
            continue
        try:
            _delete(journal, version, event)
        except ArtifactError as error:
            whole = journal.end(event, "dropped", mended_by=mended_by)
            if mended_by:
                return whole
            keeps = "it keeps its files, as do the versions after it"
            fix = "delete them where the store is, or let its server allow it"
            raise RegistryError(f"{error}; {keeps}; {fix}") from error
    done = journal.end(event, mended_by=mended_by)
    journal.settle()
    return done


def _in_use(journal: Journal, version: Version) -> bool:
    named = version.version in journal.model.aliases.values()
    return named or version.stage != "Archived" or bool(shared_files(journal.client, [version]))


def shared_files(client: Client, versions: Iterable[Version]) -> dict[int, str]:
    """Return the versions of a model whose files another version has too, each with that reason.

    A source may name a logged model, a version that was copied, or a folder, so the addresses are
    compared. Only those of other versions that name a logged model need not be asked for.
    """
    owners: dict[str, list[str]] = {}
    for one in (version for model in list_models(client) for version in model.versions):
        logged = one.source.startswith(LOGGED_MODEL)
        owners.setdefault(one.source if logged else address_of(client, one), []).append(one.title)
    found: dict[int, str] = {}
    for version in versions:
        places = (version.source, address_of(client, version))
        same = (title for place in places for title in owners.get(place, ()))
        if other := next((title for title in same if title != version.title), ""):
            found[version.version] = f"its files are those of {other} too"
    return found


def _delete(journal: Journal, version: Version, event: Event) -> None:
    """Mark a version, then delete its files: unmarked, missing files would count as damage."""
    before = sizes(journal.client, version)
    mark = (version.name, str(version.version), PRUNED_TAG)
    with translating_mlflow_errors():
        journal.checked_client().set_model_version_tag(*mark, str(event.number))
        try:
            delete_files(journal.checked_client(), version)
        except ArtifactError:
            if sizes(journal.client, version) == before:
                journal.checked_client().delete_model_version_tag(*mark)
            raise
