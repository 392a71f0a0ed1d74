"""A cache of small files in a folder, up to a size; the least recently used are removed first.

Several processes may read, write and remove at once: a file is complete or missing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from lockstep.io import whole_file

_ABANDONED = 86_400.0
"""Seconds after which nobody writes a partial file any more."""


def write_cached(path: Path, content: bytes, most: int) -> None:
    """Write a file, and remove the least recently used until the folder has ``most`` bytes at most.

    The new file stays, however large. On a full or read-only disk nothing is cached.
    """
    with suppress(OSError):
        with whole_file(path) as part:
            part.write_bytes(content)
        _drop_beyond(path, most)


def read_cached(path: Path) -> bytes | None:
    """Return a cached file's bytes, and note its use; None if it is missing."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    with suppress(OSError):  # removed meanwhile, or the disk is read-only
        os.utime(path)
    return content


def _drop_beyond(newest: Path, most: int) -> None:
    total = newest.stat().st_size
    for _, size, path in sorted(_files(newest.parent), reverse=True):
        if path == newest:
            continue
        total += size
        if total > most:
            path.unlink(missing_ok=True)


def _files(folder: Path) -> Iterator[tuple[int, int, Path]]:
    """Yield each file's last use, size and path; remove partial files that a crash left."""
    for path in folder.iterdir():
        try:
            found = path.stat()
        except FileNotFoundError:  # removed by another process
            continue
        if path.suffix != ".part":
            yield found.st_mtime_ns, found.st_size, path
        elif time.time() - found.st_mtime > _ABANDONED:
            path.unlink(missing_ok=True)
