"""The code of a project and the pins of its packages, from its folder or from a commit."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lockstep.errors import ConfigError

SOURCE, LOCK, SPARK_LOCK = "src", "requirements.lock", "requirements-spark.lock"
"""Where a project's code and the pins of its packages lie; the last are those of an extra."""


REPOSITORY_VARIABLES = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_COMMON_DIR",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
)
"""Variables that name a repository: git sets them for its hooks, and a shell may have them."""


def git_environment(root: Path) -> dict[str, str]:
    """Return the environment for git below ``root``: the folder says which repository is meant.

    Only a folder without a repository of its own is left to GIT_DIR and the like.
    """
    left_out = REPOSITORY_VARIABLES if has_git_folder(root) else ()
    return {name: value for name, value in os.environ.items() if name not in left_out}


def has_git_folder(root: Path) -> bool:
    """Tell whether ``root`` lies in a folder that has a repository."""
    return any((folder / ".git").exists() for folder in (root, *root.resolve().parents))


@dataclass(frozen=True)
class Files:
    """The content of each file, by its path relative to the project's root."""

    content: Mapping[str, bytes]

    @classmethod
    def of_folder(cls, root: Path) -> Files:
        """Read them from a project's folder."""
        locks = (root / LOCK, root / SPARK_LOCK)
        paths = (path for path in (*locks, *(root / SOURCE).rglob("*")) if path.is_file())
        sources = (path for path in paths if path.suffix != ".pyc")
        return cls({path.relative_to(root).as_posix(): path.read_bytes() for path in sources})

    @classmethod
    def of_commit(cls, root: Path, commit: str) -> Files:
        """Read them from git; a commit without them is a ConfigError."""
        # Older commits have one lock, and a name that git does not find is an error.
        locks = ":(glob)requirements*.lock"
        command = ["git", "archive", "--format=tar", commit, "--", SOURCE, locks]
        own = git_environment(root)
        done = subprocess.run(command, cwd=root, env=own, capture_output=True, check=False)
        if done.returncode:
            reason = done.stderr.decode(errors="replace").strip()
            raise ConfigError(f"the code of commit {commit} can't be read: {reason}")
        with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
            read = [
                m for m in archive.getmembers() if "/" in m.name or m.name in (LOCK, SPARK_LOCK)
            ]
            opened = {member.name: archive.extractfile(member) for member in read}
            return cls({name: file.read() for name, file in opened.items() if file})

    def modules_in(self, folder: str) -> list[str]:
        """Return the names of the modules in a folder, sorted; packages are left out."""
        paths = map(PurePosixPath, self.content)
        inside = {p.stem for p in paths if p.suffix == ".py" and str(p.parent) == folder}
        return sorted(inside - {"__init__"})
