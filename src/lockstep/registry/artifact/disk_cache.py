"""Small files that can be made again, kept in a folder up to a size: those used longest ago go first.

Several processes may read, keep and drop at once: a file is whole or not there.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from lockstep.io import whole_file

_ABANDONED = 86_400.0
"""Seconds after which a half-written file is nobody's any more."""


def write_cached(path: Path, content: bytes, most: int) -> None:
    """Keep a file, and drop of its folder what was used longest ago until the rest has ``most`` bytes at most.

    The file just kept stays, however large. On a full or read-only disk nothing is kept: it would only save time.
    """
    with suppress(OSError):
        with whole_file(path) as part:
            part.write_bytes(content)
        _drop_beyond(path, most)


def read_cached(path: Path) -> bytes | None:
    """Return a kept file's bytes, and note that it was used; None where there is none."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    with suppress(OSError):  # dropped meanwhile, or the disk is read-only
        os.utime(path)
    return content


def _drop_beyond(kept: Path, most: int) -> None:
    total = kept.stat().st_size
    for _, size, path in sorted(_files(kept.parent), reverse=True):
        if path == kept:
            continue
        total += size
        if total > most:
            path.unlink(missing_ok=True)


def _files(folder: Path) -> Iterator[tuple[int, int, Path]]:
    """Yield when each whole file was used last, its size, and where it is; halves left by a crash are removed."""
    for path in folder.iterdir():
        try:
            found = path.stat()
        except FileNotFoundError:  # dropped by another process
            continue
        if path.suffix != ".part":
            yield found.st_mtime_ns, found.st_size, path
        elif time.time() - found.st_mtime > _ABANDONED:
            path.unlink(missing_ok=True)
