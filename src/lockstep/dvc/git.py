"""What git knows of a project: its commit, the files that differ from it, and what they were."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from lockstep.code.files import git_environment, has_git_folder
from lockstep.console import visible
from lockstep.errors import ConfigError

NO_REPOSITORY, NO_COMMIT = "no git repository", "no commit yet"
REFUSED, NO_GIT, FAILED = "git refuses", "git is not installed", "git fails"
UNREADABLE = (REFUSED, NO_GIT, FAILED)
"""Words for a repository that may be there, but that git can't read."""
ABSENT = (NO_REPOSITORY, NO_COMMIT, *UNREADABLE)
"""All words that are recorded in place of a commit."""
_FIX = re.compile(r"git config --global --add safe\.directory .+")


class GitError(ConfigError):
    """Git can't answer: it refuses the folder, or its repository is damaged."""


@dataclass(frozen=True)
class Head:
    """The commit of HEAD, or a word for its absence; ``reason`` says why it is absent."""

    commit: str
    reason: str = ""


def git(root: Path, *arguments: str) -> str | None:
    """Run git below ``root``; None where it fails or is not installed."""
    done = _run(root, *arguments)
    return done.stdout.strip("\n") if done is not None and done.returncode == 0 else None


def read_head(root: Path) -> Head:
    """Return the commit of HEAD, or why there is none, with the fix."""
    done = _run(root, "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
    if done is None:
        return Head(NO_GIT, f"{NO_GIT}; install it")
    if done.returncode == 0:
        return Head(done.stdout.strip())
    said = done.stderr.strip()
    if _is_refusal(said):
        return Head(REFUSED, _failure(root, said))
    if "not a git repository" in said and not has_git_folder(root):
        fix = "run `git init` and commit the project"
        return Head(NO_REPOSITORY, f"{root} is in {NO_REPOSITORY}; {fix}")
    # Of an empty branch, and of a damaged one, rev-parse says nothing.
    words = _run(root, "log", "-1")
    said = (words.stderr.strip() if words else "") or said
    if "does not have any commits yet" in said:
        return Head(NO_COMMIT, f"{root} has {NO_COMMIT}; commit the project")
    return Head(FAILED, _failure(root, said))


def short(commit: str) -> str:
    """Return a commit's first nine digits; a word for its absence stays whole."""
    return commit[:9] if commit.isalnum() else commit


def changed_files(root: Path, *paths: str) -> list[str]:
    """Return the files below some paths that differ from HEAD, deleted and untracked ones too.

    GitError where git can't tell: no answer is no sign of a clean workspace. Also for a name that
    is not UTF-8.
    """
    options = ("--porcelain", "-z", "--no-renames", "--untracked-files=all")
    done = _run(root, "status", *options, "--", *paths)
    if done is None or done.returncode:
        raise GitError(_failure(root, done.stderr.strip() if done else NO_GIT))
    above = git(root, "rev-parse", "--show-prefix") or ""
    found = (entry[3:] for entry in done.stdout.split("\0") if len(entry) > 3)
    names = sorted({name.removeprefix(above) for name in found})
    _check_names(names)
    return names


def _check_names(names: list[str]) -> None:
    """Refuse names that are not UTF-8: no record of changed files can hold them."""
    for name in names:
        shown = name.encode(errors="surrogateescape").decode(errors="backslashreplace")
        if shown != name:
            raise GitError(f"the name of {visible(shown)} is not UTF-8; rename or remove the file")


def _run(root: Path, *arguments: str) -> subprocess.CompletedProcess[str] | None:
    """Run git in its own language; None where it is not installed."""
    # Without optional locks, `git status` here never fails a commit that somebody makes meanwhile.
    own = {"LC_ALL": "C", "LANGUAGE": "C", "GIT_OPTIONAL_LOCKS": "0"}
    command = ["git", *arguments]
    try:
        return subprocess.run(
            command,
            cwd=root,
            env={**git_environment(root), **own},
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            check=False,
        )
    except (FileNotFoundError, PermissionError):
        return None


def _is_refusal(said: str) -> bool:
    return "dubious ownership" in said or "is owned by someone else" in said


def _failure(root: Path, said: str) -> str:
    """Say why git gives no answer; for a repository of another user with git's own fix."""
    if _is_refusal(said):
        own = _FIX.search(said)
        fix = own[0].strip() if own else f"git config --global --add safe.directory '{root}'"
        return f"{REFUSED} this folder, which belongs to another user; run `{fix}`"
    lines = [line.removeprefix("fatal: ").removeprefix("error: ") for line in said.splitlines()]
    reason = "; ".join(line.strip() for line in lines[-2:] if line.strip())[:200]
    fix = "see `git status` and `git fsck` there"
    return f"git can't read the repository of {root} ({reason}); {fix}"
