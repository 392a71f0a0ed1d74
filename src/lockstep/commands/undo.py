"""Several files changed together or not at all, also where the process is killed half-way."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from lockstep.errors import UsageError
from lockstep.io import write_json
from lockstep.termination import terminated_as_error

JOURNAL = Path(".lockstep/new-problem.json")
KEPT = "nothing half-made was kept, run the command again"


@dataclass
class Undo:
    """What is to be put back should the block fail."""

    root: Path

    def keep(self, *names: str) -> None:
        """Note each path's content, or that it is not there, before it is changed; folders must be new."""
        before = {name: _content(self.root / name) for name in names}
        write_json(self.root / JOURNAL, before)

    def back(self) -> bool:
        """Put everything back as the journal says; return whether there was one."""
        journal = self.root / JOURNAL
        if not journal.is_file():
            return False
        for name, content in json.loads(journal.read_text(encoding="utf-8")).items():
            _restore(self.root / name, content)
        journal.unlink()
        return True

    def done(self) -> None:
        """Forget what was noted: the change is whole."""
        (self.root / JOURNAL).unlink(missing_ok=True)


def _content(path: Path) -> str | None:
    return base64.b64encode(path.read_bytes()).decode() if path.is_file() else None


def _restore(path: Path, content: str | None) -> None:
    if content is not None:
        kept = base64.b64decode(content)
        if not path.is_file() or path.read_bytes() != kept:
            part = path.with_name(f".{path.name}.undo.part")
            part.write_bytes(kept)
            part.chmod(path.stat().st_mode & 0o777 if path.exists() else 0o644)
            part.replace(path)
    elif path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def all_or_nothing(root: Path) -> Iterator[Undo]:
    """Run the block; where it fails, is interrupted or terminated, put back what it noted.

    What an earlier one left behind because it was killed outright is put back first.
    """
    from filelock import FileLock, Timeout

    (root / JOURNAL).parent.mkdir(parents=True, exist_ok=True)
    undo = Undo(root)
    try:
        with FileLock(root / JOURNAL.with_suffix(".lock"), timeout=0), terminated_as_error(KEPT):
            if undo.back():
                print("put back what an interrupted `make new-problem` had begun")
            with ExitStack() as failed:
                failed.callback(undo.back)
                yield undo
                failed.pop_all()
            undo.done()
    except Timeout:
        raise UsageError("another `make new-problem` is running here; wait for it to end") from None
