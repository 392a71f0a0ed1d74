"""What a problem's own sources module speaks of: files of a publisher; what is no data at all."""

from __future__ import annotations

from dataclasses import dataclass

_LEFTOVERS = frozenset({"thumbs.db", "desktop.ini", "ehthumbs.db", "__macosx"})


def is_leftover(name: str) -> bool:
    """Return whether a file or folder is hidden (.DS_Store, ._x.csv), or a program's own.

    ``~$x.xlsx`` is a lock of Office; Thumbs.db and desktop.ini are Windows's.
    """
    return name.startswith((".", "~$")) or name.lower() in _LEFTOVERS


@dataclass(frozen=True)
class RemoteFile:
    """One file of a publisher: its name here, its address, and its SHA-256 where known."""

    name: str
    url: str
    sha256: str | None = None
