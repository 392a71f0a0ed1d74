"""What git knows of a project: its commit, the files that differ from it, and what they were."""

from __future__ import annotations

import subprocess
from pathlib import Path

NO_REPOSITORY, NO_COMMIT = "no git repository", "no commit yet"


def git(root: Path, *arguments: str) -> str | None:
    """Run git below ``root``; None where it fails or is not installed."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=root, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return None
    return done.stdout.strip("\n") if done.returncode == 0 else None


def head_commit(root: Path) -> str:
    """Return the commit of HEAD, or a word for its absence."""
    if git(root, "rev-parse", "--git-dir") is None:
        return NO_REPOSITORY
    return git(root, "rev-parse", "--verify", "--quiet", "HEAD") or NO_COMMIT


def changed_files(root: Path, *paths: str) -> list[str]:
    """Return the files below some paths that differ from HEAD, deleted and untracked ones too."""
    options = ("--porcelain", "-z", "--no-renames", "--untracked-files=all")
    listed = git(root, "status", *options, "--", *paths) or ""
    above = git(root, "rev-parse", "--show-prefix") or ""
    names = (entry[3:] for entry in listed.split("\0") if len(entry) > 3)
    return sorted({name.removeprefix(above) for name in names})
