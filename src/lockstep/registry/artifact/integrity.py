"""What is wrong with the artifact of a version that the registry has, as far as can be seen without a download."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lockstep.errors import DataError
from lockstep.models.artifact import digest_of
from lockstep.registry.artifact.loading import doubted_fault
from lockstep.registry.artifact.packaging import GOLDEN, SCHEMA, SHIPPED_CODE, SKOPS
from lockstep.registry.artifact.training_rows import SEEN, SEEN_DIGEST, read_seen
from lockstep.registry.publishing.runs import ARTIFACT_BYTES
from lockstep.registry.publishing.tags import DIGEST
from lockstep.registry.store import uris
from lockstep.registry.store.names import PRUNED_TAG
from lockstep.registry.store.versions import version_from

if TYPE_CHECKING:
    from lockstep.registry.store.connection import Client


def lost_artifact(client: Client, version: Any, root: Path) -> str:
    """Return what is wrong with a version's artifact; empty where nothing is, as far as can be seen.

    A file on this machine is read. In a server's store files and sizes are listed; whole ones are downloaded only
    after this workspace refused to load them, since all of them at every repro would be too much.
    """
    if PRUNED_TAG in version.tags:  # deleted on purpose
        return ""
    if fault := doubted_fault(client, version_from(version), root):
        return fault
    model_id = str(version.source or "").removeprefix("models:/")
    if not model_id.startswith("m-"):
        return ""
    model = client.get_logged_model(model_id)
    folder = Path(model.artifact_location.removeprefix("file://"))
    if not folder.is_absolute():
        return _lost_in_store(client, model)
    # A server may name a folder of another machine: it says nothing that this one has none such.
    return "" if uris.is_http(client.tracking_uri) else _lost_here(folder, version)


def _lost_in_store(client: Client, model: Any) -> str:
    """Return what a listing of a logged model's files shows to be wrong: one that is gone, or the model cut off."""
    listed = {
        item.path: item.file_size for item in client.list_logged_model_artifacts(model.model_id)
    }
    needed = (SKOPS, GOLDEN, SCHEMA, *([SEEN] if SEEN_DIGEST in model.tags else []))
    if gone := next((name for name in needed if name not in listed), None):
        return f"its file {gone} is gone from {model.artifact_location}"
    told = model.tags.get(ARTIFACT_BYTES, str(listed[SKOPS]))
    if listed[SKOPS] is not None and str(listed[SKOPS]) != told:
        return (
            f"its {SKOPS} in {model.artifact_location} has {listed[SKOPS]} bytes in place of {told}"
        )
    return ""


def _lost_here(folder: Path, version: Any) -> str:
    """Return what is wrong with an artifact in a folder of this machine."""
    if not (folder / SKOPS).is_file():
        return f"its artifact {folder / SKOPS} is gone"
    if digest_of((folder / SKOPS).read_bytes(), folder / SHIPPED_CODE) != version.tags.get(DIGEST):
        return f"its artifact {folder / SKOPS} was changed or damaged"
    try:
        if SEEN_DIGEST in version.tags:
            read_seen(folder, version.tags[SEEN_DIGEST])
    except DataError as error:
        return str(error)
    return ""
