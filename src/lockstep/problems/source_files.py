"""What a problem's own sources module speaks of: files of a publisher."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RemoteFile:
    """One file of a publisher: its name here, its address, and its SHA-256 where known."""

    name: str
    url: str
    sha256: str | None = None
