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

from lockstep.errors import ArtifactError, DataError, IncompatibleArtifact
from lockstep.io import read_json, sha256_file
from lockstep.registry.artifact.files import files_below
from lockstep.registry.store.versions import Version

CACHE = Path(".lockstep") / "cache" / "models"
SUSPECT = Path(".lockstep") / "cache" / "doubted"
SUMS = ".cached.json"
"""What was downloaded, in the cache only; the artifact has a list of its own (files.SUMS)."""
MOST_BYTES = 10 * 1024**3
"""Of all downloads together; the least recently used are removed first."""
IN_USE, ABANDONED = 3600.0, 86_400.0
"""Seconds: so long after its last use a download stays, and nobody writes a partial one any more.
"""
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Located:
    """A version and the folder that holds its artifact, not opened yet."""

    version: Version
    folder: Path


@contextmanager
def refusing(folder: Path) -> Iterator[None]:
    """Note an artifact that a check refuses within the block as suspect, and drop its download.

    One that only the packages installed here can't use is not damaged: it stays.
    """
    try:
        yield
    except IncompatibleArtifact:
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
    return "-".join(filter(None, names))


def drop_unused(cache: Path) -> None:
    """Remove the least recently used downloads beyond MOST_BYTES, and parts that a crash left."""
    now, total = time.time(), 0
    for used, folder in sorted(_by_last_use(cache), reverse=True):
        if folder.suffix == ".part":
            outdated = now - used > ABANDONED
        else:
            total += _bytes_below(folder)
            outdated = total > MOST_BYTES and now - used > IN_USE
        if outdated:
            shutil.rmtree(folder, ignore_errors=True)


def _by_last_use(cache: Path) -> Iterator[tuple[float, Path]]:
    for folder in cache.iterdir():
        with suppress(FileNotFoundError):  # removed by another process
            yield folder.stat().st_mtime, folder


def _bytes_below(folder: Path) -> int:
    total = 0
    for path in files_below(folder).values():
        with suppress(FileNotFoundError):  # removed by another process
            total += path.stat().st_size
    return total


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
