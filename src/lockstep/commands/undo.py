"""Several files change together or not at all, also if the process is killed half-way."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from lockstep.errors import UsageError
from lockstep.io import write_json
from lockstep.termination import terminated_as_error

JOURNAL = Path(".lockstep/new-problem.json")
UNDONE = "nothing half-made was kept, run the command again"


@dataclass
class Undo:
    """The content to restore if the block fails."""

    root: Path

    def note(self, *names: str) -> None:
        """Write each path's content, or that it is missing, to the journal; folders must be new."""
        write_json(self.root / JOURNAL, {name: _content(self.root / name) for name in names})

    def back(self) -> bool:
        """Restore everything by the journal; return whether there was one."""
        journal = self.root / JOURNAL
        if not journal.is_file():
            return False
        for name, content in json.loads(journal.read_text(encoding="utf-8")).items():
            _restore(self.root / name, content)
        journal.unlink()
        return True

    def done(self) -> None:
        """Remove the journal: the change is complete."""
        (self.root / JOURNAL).unlink(missing_ok=True)


def _content(path: Path) -> str | None:
    return base64.b64encode(path.read_bytes()).decode() if path.is_file() else None


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


@contextmanager
def all_or_nothing(root: Path) -> Iterator[Undo]:
    """Run the block; if it fails, is interrupted or terminated, restore what it noted.

    An earlier block that was killed outright is undone first.
    """
    (root / JOURNAL).parent.mkdir(parents=True, exist_ok=True)
    undo = Undo(root)
    try:
        with FileLock(root / JOURNAL.with_suffix(".lock"), timeout=0), terminated_as_error(UNDONE):
            if undo.back():
                print("put back what an interrupted `make new-problem` had begun")
            with ExitStack() as failed:
                failed.callback(undo.back)
                yield undo
                failed.pop_all()
            undo.done()
    except Timeout:
        raise UsageError("another `make new-problem` is running here; wait for it to end") from None
