"""From a name in the registry to the files of a version, in the cache of this workspace.

Downloads are cached below .lockstep/cache by digest and verified at each use.
"""

from __future__ import annotations

import errno
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from lockstep.errors import ArtifactError, RegistryError, UnusableHere, UsageError
from lockstep.io import sha256_file, whole_folder, write_json
from lockstep.registry.artifact.files import drop_added_on_loading, files_below
from lockstep.registry.artifact.integrity import (
    check_digest,
    check_sums,
    explained,
    recorded_digest,
)
from lockstep.registry.artifact.model_cache import (
    CACHE,
    SUMS,
    Located,
    cached_name,
    drop_unused,
    is_intact,
    locked,
    note_use,
    refusing,
)
from lockstep.registry.record.registered_models import get_version, newest_in
from lockstep.registry.store.names import NotRegistered
from lockstep.registry.store.opening import source_of
from lockstep.registry.store.sql_tables import Tables
from lockstep.registry.store.versions import Version, pruned_line

if TYPE_CHECKING:
    from lockstep.registry.store.opening import Registry


_DAMAGE = (None, errno.ENOENT, errno.ENOTDIR, errno.EIO)
"""Faults of the registry's files; others (a full disk, no permission) say nothing about them.

MLflow raises an OSError without a number for a missing file.
"""


def find_version(
    client: Registry,
    name: str | None = None,
    *,
    version: int | None = None,
    stage: str | None = None,
    run_id: str | None = None,
) -> Version:
    """Return a version by its run, by its number, or the newest in a stage (default Production)."""
    if run_id is not None:
        return _version_of_run(client, run_id)
    if name is None:
        raise RegistryError("neither a model's name nor a run was given")
    if version is None:
        return newest_in(client, name, stage or "Production")[1]
    return get_version(client, name, version)


def locate(client: Registry, version: Version, root: Path) -> Located:
    """Return a version's artifact folder in the cache, downloaded if missing or changed there."""
    if version.pruned is not None:
        raise ArtifactError(pruned_line(version))
    with explained(version):
        return fetched(client, version, root)


def fetched(client: Registry, version: Version, root: Path) -> Located:
    """Return a version's folder in the cache; what ``locate`` adds is the words of an error."""
    recorded_digest(version)
    folder = root / CACHE / cached_name(version)
    note_use(folder)  # before the sums are taken: nobody removes what was just used
    if is_intact(folder):
        return Located(version, folder)
    try:
        with refusing(folder), locked(folder):
            if not is_intact(folder):
                shutil.rmtree(folder, ignore_errors=True)
                _download(client, version, folder)
        drop_unused(folder.parent)
    except OSError as error:
        fault = f"the files of {version.title} cannot be copied into {folder.parent}"
        raise RegistryError(f"{fault}: {error}") from error
    return Located(version, folder)


def _download(client: Registry, version: Version, folder: Path) -> None:
    """Fetch a version's whole artifact and note each file's sum; a damaged one is not kept."""
    with whole_folder(folder) as part:
        try:
            _fetch(client, version, part)
        except PermissionError as error:
            if str(error.filename).startswith(str(part)):
                raise
            fault = f"{version.title}: this user may not read {error.filename}"
            raise UnusableHere(f"{fault}; ask its owner for the permission") from error
        except OSError as error:
            if error.errno not in _DAMAGE:
                raise
            raise ArtifactError(f"its files cannot be read ({error})") from error
        drop_added_on_loading(part)
        check_digest(version, part)
        check_sums(version, part)
        sums = {name: sha256_file(path) for name, path in files_below(part).items()}
        write_json(part / SUMS, sums)


def _fetch(client: Registry, version: Version, target: Path) -> None:
    if isinstance(client, Tables) and (folder := client.folder_of(version)):
        for name, path in files_below(folder).items():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target / name)
        return
    # Files of this machine, and those in the cache, need no MLflow.
    from lockstep.registry.artifact.downloading import download

    download(client.tracking_uri, version, target)


def _version_of_run(client: Registry, run_id: str) -> Version:
    if not run_id.isalnum():
        raise UsageError(f"'{run_id}' is no run's id; list-versions shows the runs of a model")
    source = source_of(client)
    if found := source.versions_of_run(run_id):
        return max(found, key=lambda v: (v.version, v.name))
    fix = "list-versions shows the runs of a model"
    if (kind := source.run_name(run_id)) is None:
        raise NotRegistered(f"no run '{run_id}' here; {fix}")
    fix = "give one list-versions shows"
    raise NotRegistered(f"run {run_id} ({kind}) made no registered version; {fix}")
