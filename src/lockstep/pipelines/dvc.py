"""Calls of DVC's own command, the only one that trains."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lockstep.errors import LockstepError


def repro(root: Path, *targets: str) -> None:
    """Run `dvc repro` on the stages named; its output is the user's, its failure one line of ours."""
    _call(root, [sys.executable, "-m", "dvc", "repro", *targets])


def module(root: Path, name: str, *arguments: str) -> None:
    """Run a stage's module as DVC would, outside the graph."""
    _call(root, [sys.executable, "-m", name, *arguments])


@contextmanager
def repro_beside(root: Path, *targets: str) -> Iterator[None]:
    """Run `dvc repro` while the block runs, and wait for it; its failure is the same line as ``repro``'s."""
    command = [sys.executable, "-m", "dvc", "repro", *targets]
    process = subprocess.Popen(command, cwd=root)
    try:
        yield
        code = process.wait()
    finally:
        process.wait()  # interrupted, DVC first ends its stage and releases its lock
    _check(code, command)


def _call(root: Path, command: Sequence[str]) -> None:
    _check(subprocess.run(command, cwd=root, check=False).returncode, command)


def _check(code: int, command: Sequence[str]) -> None:
    if code:
        words = " ".join(command[2:])
        raise LockstepError(f"`{words}` ended with exit code {code}; its own message is above")
