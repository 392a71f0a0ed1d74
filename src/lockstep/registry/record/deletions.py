"""Deleting the files of versions that an event names."""

from __future__ import annotations

from lockstep.errors import ArtifactError, RegistryError
from lockstep.registry.record.events import Event
from lockstep.registry.record.journal import Journal
from lockstep.registry.record.registered_models import Model
from lockstep.registry.store.artifact_store import delete_files, sizes
from lockstep.registry.store.connection import translating_mlflow_errors
from lockstep.registry.store.names import PRUNED_TAG
from lockstep.registry.store.versions import Version


def carry_out(book: Journal, event: Event, mended_by: str = "") -> Event:
    """Delete what an event says, or the rest of it after a crash (``mended_by`` then says who goes on), and end it.

    Where the store refuses, the event ends as dropped; that hinders no move that only mends, and is an error else.
    """
    there = {version.version: version for version in book.model.versions}
    for number in sorted(map(int, event.details)):
        if number not in there:  # deleted in MLflow's own pages since
            continue
        version = there[number]
        if book.lock:
            book.lock.check()
        if mended_by and _taken_up(book.model, version):
            continue
        try:
            _delete_one(book, version, event)
        except ArtifactError as error:
            whole = book.end(event, "dropped", mended_by=mended_by)
            if mended_by:
                return whole
            raise RegistryError(
                f"{error}; it keeps its files, as do the versions after it; delete them where the store is, or let "
                "its server allow it"
            ) from error
    return book.end(event, mended_by=mended_by)


def _taken_up(model: Model, version: Version) -> bool:
    """Tell whether another tool has taken a version into use since its prune began."""
    return version.stage != "Archived" or version.version in model.aliases.values()


def _delete_one(book: Journal, version: Version, event: Event) -> None:
    """Mark a version, then delete its files: files that are gone unmarked would be taken for damage.

    The mark goes again where the store refused and nothing is gone.
    """
    there = sizes(book.client, version)
    with translating_mlflow_errors():
        book.client.set_model_version_tag(
            version.name, str(version.version), PRUNED_TAG, str(event.number)
        )
    try:
        delete_files(book.client, version)
    except ArtifactError:
        if sizes(book.client, version) == there:
            with translating_mlflow_errors():
                book.client.delete_model_version_tag(version.name, str(version.version), PRUNED_TAG)
        raise
