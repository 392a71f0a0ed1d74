"""The downloaded artifacts of this workspace, and a note of each that a check refused.

`register` downloads nothing that the registry holds; what is noted as suspect, it checks closely.
Versions of one model may differ in their schema, card, reference or rows. So a folder's name holds
the digest of the version's sums, too.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from lockstep.errors import ArtifactError, DataError, UnusableHere
from lockstep.io import read_json, sha256_file
from lockstep.registry.artifact.files import files_below
from lockstep.registry.store.versions import Version

CACHE = Path(".lockstep") / "cache" / "models"
SUSPECT = Path(".lockstep") / "cache" / "suspect"
SUMS = ".cached.json"
"""What was downloaded, in the cache only; the artifact has a list of its own (files.SUMS)."""
MOST_BYTES = 10 * 1024**3
"""Of all downloads together; the least recently used are removed first."""
IN_USE, ABANDONED = 3600.0, 86_400.0
"""Seconds: so long after its last use a download stays, and nobody writes a partial one any more.
"""
_SUMS_SIGN = "-"
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Located:
    """A version and the folder that holds its artifact, not opened yet."""

    version: Version
    folder: Path


@contextmanager
def refusing(folder: Path) -> Iterator[None]:
    """Note an artifact that a check refuses within the block as suspect, and drop its download.

    One that can't be used here is not damaged: it stays, if sums vouch for all of its files.
    """
    try:
        yield
    except UnusableHere:
        if _SUMS_SIGN not in folder.name:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    except ArtifactError:
        shutil.rmtree(folder, ignore_errors=True)
        note = folder.parents[1] / SUSPECT.name / folder.name
        with suppress(OSError):  # a read-only folder: the refusal matters, the note does not
            note.parent.mkdir(parents=True, exist_ok=True)
            note.touch()
        raise


def cached_name(version: Version) -> str:
    """Return the name of a version's folder in the cache, and of the note that it is suspect."""
    sums = version.tag("sums_digest") or ""
    names = [version.tag("model_digest") or "none", sums[:16] if _DIGEST.fullmatch(sums) else ""]
    return _SUMS_SIGN.join(filter(None, names))


def drop_unused(cache: Path) -> None:
    """Remove the least recently used downloads beyond MOST_BYTES, and parts that a crash left."""
    total = 0
    for folder in sorted(cache.iterdir(), key=_last_use, reverse=True):
        with suppress(OSError):  # another process removes it
            if folder.suffix == ".part":
                _remove(folder, ABANDONED)
                continue
            total += sum(path.stat().st_size for path in files_below(folder).values())
            if total > MOST_BYTES:
                with locked(folder):
                    _remove(folder, IN_USE)


def _last_use(folder: Path) -> float:
    """Return when a download was used; that of one which is removed meanwhile is long ago."""
    with suppress(OSError):
        return folder.stat().st_mtime
    return 0.0


def _remove(folder: Path, unused_for: float) -> None:
    if time.time() - _last_use(folder) > unused_for:
        shutil.rmtree(folder, ignore_errors=True)


def note_use(folder: Path) -> None:
    """Note that a cached artifact is used now."""
    with suppress(OSError):  # removed meanwhile, or the disk is read-only
        os.utime(folder)


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
