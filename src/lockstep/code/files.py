"""The files of a project, read from its folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

SOURCE, LOCK = "src", "requirements.lock"
"""Where a project's code and the pins of its packages lie."""


class Files(Protocol):
    """Files by their paths relative to a project's root."""

    def read(self, path: str) -> bytes | None:
        """Return a file's content; None where there is none of that name."""

    def modules_in(self, folder: str) -> list[str]:
        """Return the names of the modules in a folder, sorted; packages are left out."""


@dataclass(frozen=True)
class FolderFiles:
    """The files of a folder."""

    root: Path

    def read(self, path: str) -> bytes | None:
        """Return a file's content; None where there is none of that name."""
        try:
            return (self.root / path).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None

    def modules_in(self, folder: str) -> list[str]:
        """Return the names of the modules in a folder, sorted; packages are left out."""
        names = (path.stem for path in (self.root / folder).glob("*.py"))
        return sorted(name for name in names if name != "__init__")
