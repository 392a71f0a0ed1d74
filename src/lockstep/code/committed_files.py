"""The files of a project, read from a commit."""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lockstep.code.files import LOCK, SOURCE
from lockstep.errors import ConfigError


@dataclass(frozen=True)
class CommittedFiles:
    """The code and pins of a commit."""

    content: Mapping[str, bytes]

    @classmethod
    def of(cls, root: Path, commit: str) -> CommittedFiles:
        """Read them from git; a commit without them is a ConfigError."""
        command = ["git", "archive", "--format=tar", commit, "--", SOURCE, LOCK]
        done = subprocess.run(command, cwd=root, capture_output=True, check=False)
        if done.returncode:
            reason = done.stderr.decode(errors="replace").strip()
            raise ConfigError(f"the code of commit {commit} can't be read: {reason}")
        with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
            opened = {member.name: archive.extractfile(member) for member in archive.getmembers()}
            return cls({name: file.read() for name, file in opened.items() if file})

    def read(self, path: str) -> bytes | None:
        """Return a file's content; None where there is none of that name."""
        return self.content.get(path)

    def modules_in(self, folder: str) -> list[str]:
        """Return the names of the modules in a folder, sorted; packages are left out."""
        paths = (path.rpartition("/") for path in self.content)
        names = (
            name.removesuffix(".py")
            for above, _, name in paths
            if above == folder and name.endswith(".py")
        )
        return sorted(name for name in names if name != "__init__")
