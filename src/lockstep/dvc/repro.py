"""Calls of DVC's own command, the only one that trains."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from lockstep.dvc.command import dvc_beside
from lockstep.errors import LockstepError
from lockstep.termination import interrupt_held


def repro(root: Path, *targets: str, variables: Mapping[str, str] | None = None) -> None:
    """Run `dvc repro` on stages, its output on the terminal; a failure is a LockstepError.

    ``variables`` are set for DVC and its stages.
    """
    with repro_beside(root, *targets, variables=variables):
        pass


def module(root: Path, name: str, *arguments: str) -> None:
    """Run a stage's module as DVC would, outside the graph."""
    command = [sys.executable, "-m", name, *arguments]
    _check(subprocess.run(command, cwd=root, check=False).returncode, name, *arguments)


@contextmanager
def repro_beside(
    root: Path, *targets: str, variables: Mapping[str, str] | None = None
) -> Iterator[Callable[[float], bool]]:
    """Run `dvc repro` while the block runs, and wait for it; a failure is a LockstepError.

    The block gets a function that waits so many seconds for DVC's end and tells whether it came.
    ``variables`` are set for DVC and its stages. Ctrl-C reaches DVC at once. It waits for the end
    of the block, so as not to cut imports.
    """
    with dvc_beside(root, "repro", *targets, variables=variables) as process, interrupt_held():
        yield partial(_has_ended, process)
    _check(process.returncode, "dvc", "repro", *targets)


def _has_ended(process: subprocess.Popen[bytes], seconds: float) -> bool:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def _check(code: int, *words: str) -> None:
    if code:
        ended = f"ended with exit code {code}; its own message is above"
        raise LockstepError(f"`{' '.join(words)}` {ended}")
