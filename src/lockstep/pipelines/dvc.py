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
def alongside(root: Path, name: str) -> Iterator[None]:
    """Run a module beside the block; what it could not do, the block's own steps do or report."""
    quiet = subprocess.DEVNULL
    process = subprocess.Popen([sys.executable, "-m", name], cwd=root, stdout=quiet, stderr=quiet)
    try:
        yield
    finally:
        process.wait()


def _call(root: Path, command: Sequence[str]) -> None:
    code = subprocess.run(command, cwd=root, check=False).returncode
    if code:
        words = " ".join(command[2:])
        raise LockstepError(f"`{words}` ended with exit code {code}; its own message is above")
