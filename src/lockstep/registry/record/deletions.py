"""Deleting the files of versions that an event names."""

from __future__ import annotations

from lockstep.errors import ArtifactError, RegistryError
from lockstep.registry.record.events import Event
from lockstep.registry.record.journal import Journal
from lockstep.registry.store.artifact_store import delete_files, sizes
from lockstep.registry.store.connection import translating_mlflow_errors
from lockstep.registry.store.names import PRUNED_TAG
from lockstep.registry.store.versions import Version


def carry_out(journal: Journal, event: Event, mended_by: str = "") -> Event:
    """Delete the files of an event's versions and end it; ``mended_by`` continues it after a crash.

    If the store refuses, the event ends as dropped: an error, unless a crash is being repaired.
    """
    there = {version.version: version for version in journal.model.versions}
    for number in sorted(map(int, event.details)):
        version = there.get(number)
        if version is None:  # deleted in MLflow's own pages since
            continue
        in_use = version.stage != "Archived" or number in journal.model.aliases.values()
        if mended_by and in_use:  # by another tool, since the prune began
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
