"""Deleting the files of versions that an event names."""

from __future__ import annotations

from collections.abc import Collection

from lockstep.errors import ArtifactError, RegistryError
from lockstep.registry.record.events import Event
from lockstep.registry.record.journal import Journal
from lockstep.registry.record.registered_models import list_models
from lockstep.registry.store.artifact_store import address_of, delete_files, sizes
from lockstep.registry.store.connection import Client, translating_mlflow_errors
from lockstep.registry.store.names import PRUNED_TAG
from lockstep.registry.store.versions import Version


def carry_out(journal: Journal, event: Event, mended_by: str = "") -> Event:
    """Delete the files of an event's versions and end it; ``mended_by`` continues it after a crash.

    If the store refuses, the event ends as dropped: an error, unless a crash is being repaired.
    """
    numbers = set(map(int, event.details))  # without those deleted in MLflow's own pages since
    named = [version for version in journal.model.versions if version.version in numbers]
    shared = shared_files(journal.client, named) if mended_by else {}
    for version in sorted(named, key=lambda version: version.version):
        is_shared = version.version in shared
        if mended_by and (is_shared or _in_use(journal, version)):  # since the prune began
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
    return named or version.stage != "Archived"


def shared_files(client: Client, versions: Collection[Version]) -> dict[int, str]:
    """Return the versions of a model whose files another version has too, each with that reason.

    A source may name a logged model, a version that was copied, or a folder, so the addresses are
    compared. Those of copies alone must be asked for, each by a request.
    """
    if not versions:
        return {}
    owners: dict[str, list[str]] = {}
    for one in (version for model in list_models(client) for version in model.versions):
        is_copy = one.source.startswith("models:/") and not one.logged_model
        place = address_of(client, one) if is_copy else one.source.removeprefix("file://")
        owners.setdefault(place.rstrip("/"), []).append(one.title)
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
