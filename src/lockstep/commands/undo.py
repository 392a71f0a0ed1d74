"""One command at a time; its files change together or not at all, also if it is killed."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from lockstep.errors import UsageError
from lockstep.io import write_json
from lockstep.termination import terminated_as_error

JOURNAL = Path(".lockstep/new-problem.json")
UNDONE = "nothing half-made was kept, run the command again"


@contextmanager
def only_one(lock: Path, what: str) -> Iterator[None]:
    """Hold a lock file of this workspace; UsageError if another process holds it."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(lock, timeout=0):
            yield
    except Timeout:
        raise UsageError(f"another {what} is running here; wait for it to end") from None


@contextmanager
def all_or_nothing(root: Path) -> Iterator[Callable[..., None]]:
    """Run the block; if it fails, is interrupted or terminated, restore what it noted.

    The block gets the function that notes paths: the content of each, or that it is missing;
    folders must be new. An earlier block that was killed outright is undone first.
    """
    journal = root / JOURNAL

    def note(*names: str) -> None:
        write_json(journal, {name: _content(root / name) for name in names})

    lock = journal.with_suffix(".lock")
    with only_one(lock, "`make new-problem`"), terminated_as_error(UNDONE):
        if _undone(root):
            print("put back what an interrupted `make new-problem` had begun")
        with ExitStack() as failed:
            failed.callback(_undone, root)
            yield note
            failed.pop_all()
        journal.unlink(missing_ok=True)


def _content(path: Path) -> str | None:
    return base64.b64encode(path.read_bytes()).decode() if path.is_file() else None


def _undone(root: Path) -> bool:
    """Restore everything by the journal; return whether there was one."""
    journal = root / JOURNAL
    if not journal.is_file():
        return False
    for name, content in json.loads(journal.read_text(encoding="utf-8")).items():
        _restore(root / name, content)
    journal.unlink()
    return True


def _restore(path: Path, content: str | None) -> None:
    if content is not None:
        before = base64.b64decode(content)
        if not path.is_file() or path.read_bytes() != before:
            part = path.with_name(f".{path.name}.undo.part")
            part.write_bytes(before)
            part.chmod(path.stat().st_mode & 0o777 if path.exists() else 0o644)
            part.replace(path)
    elif path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
