"""What a problem's own sources module speaks of: files of a publisher."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RemoteFile:
    """One file of a publisher: the name it gets, its address, and its SHA-256 where that is known."""

    name: str
    url: str
    sha256: str | None = None
