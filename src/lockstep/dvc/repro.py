"""Calls of DVC's own command, the only one that trains."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lockstep.dvc.command import dvc_beside, show_dvc
from lockstep.errors import LockstepError
from lockstep.termination import interrupt_held


def repro(root: Path, *targets: str) -> None:
    """Run `dvc repro` on stages, its output on the terminal; a failure is a LockstepError."""
    _check(show_dvc(root, "repro", *targets), "dvc", "repro", *targets)


def module(root: Path, name: str, *arguments: str) -> None:
    """Run a stage's module as DVC would, outside the graph."""
    command = [sys.executable, "-m", name, *arguments]
    _check(subprocess.run(command, cwd=root, check=False).returncode, name, *arguments)


@contextmanager
def repro_beside(root: Path, *targets: str) -> Iterator[None]:
    """Run `dvc repro` while the block runs, and wait for it; a failure is a LockstepError.

    Ctrl-C reaches DVC at once. The block is there for imports, which it must not cut.
    """
    with dvc_beside(root, "repro", *targets) as process, interrupt_held():
        yield
    _check(process.returncode, "dvc", "repro", *targets)


def _check(code: int, *words: str) -> None:
    if code:
        ended = f"ended with exit code {code}; its own message is above"
        raise LockstepError(f"`{' '.join(words)}` {ended}")
