"""Folders that executors write to: whole or not there, and nothing of a killed run stays.

A process that is killed can't clean up. Its folders are locked while it lives, so the next run of
the same stage knows by the lock which ones nobody needs.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lockstep.io import whole_folder


@contextmanager
def output_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder that replaces ``path``, without what killed executors left in it."""
    _remove_abandoned(path.parent, path.name)
    with whole_folder(path) as part, _locked(part):
        yield part
        drop_partial(part)


@contextmanager
def scratch_folder(beside: Path, name: str) -> Iterator[Path]:
    """Yield a temporary folder in ``beside``; git and DVC ignore its name."""
    _remove_abandoned(beside, name)
    with (
        # A task that is being killed may still write there.
        tempfile.TemporaryDirectory(
            prefix=f".{name}.", suffix=".part", dir=beside, ignore_cleanup_errors=True
        ) as made,
        _locked(Path(made)),
    ):
        yield Path(made)


def drop_partial(folder: Path) -> None:
    """Remove the partial files of a command or an executor that was killed."""
    for part in folder.rglob(".*.part"):
        part.unlink(missing_ok=True)


def _remove_abandoned(folder: Path, name: str) -> None:
    """Remove an output's temporary folders whose process has ended."""
    for path in folder.glob(f".{name}.*.part"):
        with _locked(path) as alone:
            if alone:
                shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Lock a folder while the block runs; False if another process has it, or locks fail there."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            alone = True
        except OSError:
            alone = False
        yield alone
    finally:
        os.close(handle)
