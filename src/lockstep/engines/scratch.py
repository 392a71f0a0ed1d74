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
from contextlib import ExitStack, contextmanager
from pathlib import Path

from lockstep.io import whole_folder


@contextmanager
def output_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder that replaces ``path``, without what killed executors left in it."""
    _remove_abandoned(path.parent, path.name)
    with whole_folder(path) as part, _locked(part):
        _open_to_executors(part)
        yield part
        drop_partial(part)


@contextmanager
def scratch_folder(beside: Path, name: str, *, private: bool = False) -> Iterator[Path]:
    """Yield a temporary folder in ``beside``; git and DVC ignore its name.

    It gets that name when it is locked, so that nobody takes it for abandoned. No other user may
    enter a private one.
    """
    _remove_abandoned(beside, name)
    made = Path(tempfile.mkdtemp(prefix=".", suffix=".part", dir=beside))
    with _locked(made):
        named = made.rename(beside / f".{name}{made.name}")
        try:
            if not private:
                _open_to_executors(named)
            yield named
        finally:
            # A task that is being killed may still write there.
            shutil.rmtree(named, ignore_errors=True)


def _open_to_executors(folder: Path) -> None:
    """Let other users in as far as the umask does: executors may run as another one."""
    withheld = os.umask(0)
    os.umask(withheld)
    folder.chmod(0o777 & ~withheld)


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
    """Lock a folder while the block runs.

    False if another process has it, it is another user's, or its file system knows no locks.
    """
    with ExitStack() as stack:
        try:
            handle = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, handle)
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            alone = True
        except OSError:
            alone = False
        yield alone
