"""The code of a project and the pins of its packages, from its folder or from a commit."""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lockstep.errors import ConfigError

SOURCE, LOCK = "src", "requirements.lock"
"""Where a project's code and the pins of its packages lie."""


@dataclass(frozen=True)
class Files:
    """The content of each file, by its path relative to the project's root."""

    content: Mapping[str, bytes]

    @classmethod
    def of_folder(cls, root: Path) -> Files:
        """Read them from a project's folder."""
        paths = (path for path in (root / LOCK, *(root / SOURCE).rglob("*")) if path.is_file())
        sources = (path for path in paths if path.suffix != ".pyc")
        return cls({path.relative_to(root).as_posix(): path.read_bytes() for path in sources})

    @classmethod
    def of_commit(cls, root: Path, commit: str) -> Files:
        """Read them from git; a commit without them is a ConfigError."""
        command = ["git", "archive", "--format=tar", commit, "--", SOURCE, LOCK]
        done = subprocess.run(command, cwd=root, capture_output=True, check=False)
        if done.returncode:
            reason = done.stderr.decode(errors="replace").strip()
            raise ConfigError(f"the code of commit {commit} can't be read: {reason}")
        with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
            opened = {member.name: archive.extractfile(member) for member in archive.getmembers()}
            return cls({name: file.read() for name, file in opened.items() if file})

    def modules_in(self, folder: str) -> list[str]:
        """Return the names of the modules in a folder, sorted; packages are left out."""
        paths = map(PurePosixPath, self.content)
        inside = {p.stem for p in paths if p.suffix == ".py" and str(p.parent) == folder}
        return sorted(inside - {"__init__"})
