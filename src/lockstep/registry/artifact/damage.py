"""What is wrong with the artifact of a version that the registry holds, for publishing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lockstep.errors import ArtifactError
from lockstep.registry.artifact.files import GOLDEN, ROWS_FILE, SCHEMA, SKOPS
from lockstep.registry.artifact.integrity import check_digest
from lockstep.registry.artifact.locating import fetched
from lockstep.registry.artifact.model_cache import CACHE, SUSPECT, cached_name, refusing
from lockstep.registry.artifact.training_rows import check_training_rows
from lockstep.registry.store.names import BYTES_TAG, ROWS_TAG
from lockstep.registry.store.uris import is_elsewhere, is_http, local_folder
from lockstep.registry.store.versions import Version

if TYPE_CHECKING:
    from lockstep.registry.store.connection import Client


def is_suspect(version: Version, root: Path) -> bool:
    """Tell whether this workspace refused a version's artifact and nobody has looked since."""
    return version.pruned is None and _note(version, root).is_file()


def _note(version: Version, root: Path) -> Path:
    return root / SUSPECT / cached_name(version)


def kept_model(version: Version) -> str | None:
    """Return the id of the logged model that holds a version's artifact; None if none does."""
    return version.logged_model if version.pruned is None else None


def suspect_damage(client: Client, version: Version, root: Path) -> str:
    """Return what is wrong in the registry with an artifact that this workspace refused.

    It downloads the artifact. Golden outputs are not compared: they may differ with other package
    versions.
    """
    if not is_suspect(version, root):
        return ""
    note = _note(version, root)
    # Golden rows need scikit-learn, and a suspect is rare.
    from lockstep.registry.artifact.loading import check_golden_file

    try:
        with refusing(root / CACHE / note.name):
            folder = fetched(client, version, root).folder
            check_golden_file(version, folder)
            if ROWS_TAG in version.tags:
                check_training_rows(version, folder)
    except ArtifactError as error:
        return str(error)
    note.unlink(missing_ok=True)  # another process may have found the same
    return ""


def stored_damage(client: Client, version: Version) -> str:
    """Return what is wrong with a version's artifact without a download; empty if nothing is found.

    Files on this machine are read. Of a server's store, files and sizes are listed. A version whose
    run or logged model was deleted is damaged too: the run holds its lineage and its verdicts.
    """
    model_id = kept_model(version)
    if model_id is None:
        return ""
    # `known` imports this module, and does without MLflow.
    from lockstep.registry.store.queries import active_model, active_run

    if version.run_id and active_run(client, version.run_id) is None:
        return f"its run {version.run_id} is deleted"
    model = active_model(client, model_id)
    if model is None:
        return f"its logged model {model_id} is deleted"
    folder = local_folder(model.artifact_location)
    if folder is not None and not is_http(client.tracking_uri):
        return local_damage(version, folder)
    return listed_damage(client, model)


def local_damage(version: Version, folder: Path) -> str:
    """Return what is wrong with a version's files in a folder of this machine."""
    try:
        check_digest(version, folder)
        if ROWS_TAG in version.tags:
            check_training_rows(version, folder)
    except ArtifactError as error:
        return f"{error} (in {folder})"
    return ""


def listed_damage(client: Client, model: Any) -> str:
    """Return what is wrong with a logged model by its files' names and sizes."""
    if is_elsewhere(model.artifact_location, client.tracking_uri):
        return ""
    items = client.list_logged_model_artifacts(model.model_id)
    listed = {item.path: item.file_size for item in items}
    needed = (SKOPS, GOLDEN, SCHEMA, *([ROWS_FILE] if ROWS_TAG in model.tags else []))
    if missing := next((name for name in needed if name not in listed), None):
        return f"its {missing} is missing from {model.artifact_location}"
    size, recorded = listed[SKOPS], model.tags.get(BYTES_TAG)
    if None in (size, recorded) or str(size) == recorded:
        return ""
    return f"its {SKOPS} in {model.artifact_location} has {size} bytes in place of {recorded}"
