"""The downloaded artifacts of this workspace, and a note of each that a check refused.

`register` downloads nothing that the registry holds; what is noted as suspect, it checks closely.
"""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from lockstep.errors import ArtifactError, DataError
from lockstep.io import read_json, sha256_file
from lockstep.registry.artifact.files import files_below
from lockstep.registry.store.versions import Version

CACHE = Path(".lockstep") / "cache" / "models"
SUSPECT = Path(".lockstep") / "cache" / "doubted"
SUMS = ".cached.json"
"""What was downloaded, in the cache only; the artifact has a list of its own (files.SUMS)."""


@dataclass(frozen=True)
class Located:
    """A version and the folder that holds its artifact, not opened yet."""

    version: Version
    folder: Path


@contextmanager
def refusing(folder: Path) -> Iterator[None]:
    """Note an artifact that a check refuses within the block as suspect, and drop its download."""
    try:
        yield
    except ArtifactError:
        shutil.rmtree(folder, ignore_errors=True)  # the model registered anew has the same place
        note = folder.parents[1] / SUSPECT.name / folder.name
        with suppress(OSError):  # a read-only folder: the refusal matters, the note does not
            note.parent.mkdir(parents=True, exist_ok=True)
            note.touch()
        raise


def is_intact(folder: Path) -> bool:
    """Return whether a cached artifact holds exactly the files it was downloaded with."""
    try:
        sums = read_json(folder / SUMS)
        files = files_below(folder)
        del files[SUMS]
        unchanged = (sha256_file(files[name]) == sums[name] for name in sums)
        return sums.keys() == files.keys() and all(unchanged)
    except (DataError, KeyError, OSError):  # another process is replacing it
        return False


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold an artifact's place in the cache: several processes fetch a promoted version at once."""
    locks = folder.parents[1] / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    with (locks / folder.name).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
