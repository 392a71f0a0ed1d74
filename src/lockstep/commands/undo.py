"""Several files change together or not at all, also if the process is killed half-way."""

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
def all_or_nothing(root: Path) -> Iterator[Callable[..., None]]:
    """Run the block; if it fails, is interrupted or terminated, restore what it noted.

    The block gets the function that notes paths: the content of each, or that it is missing;
    folders must be new. An earlier block that was killed outright is undone first.
    """
    journal = root / JOURNAL
    journal.parent.mkdir(parents=True, exist_ok=True)

    def note(*names: str) -> None:
        write_json(journal, {name: _content(root / name) for name in names})

    try:
        with FileLock(journal.with_suffix(".lock"), timeout=0), terminated_as_error(UNDONE):
            if _undone(root):
                print("put back what an interrupted `make new-problem` had begun")
            with ExitStack() as failed:
                failed.callback(_undone, root)
                yield note
                failed.pop_all()
            journal.unlink(missing_ok=True)
    except Timeout:
        raise UsageError("another `make new-problem` is running here; wait for it to end") from None


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
