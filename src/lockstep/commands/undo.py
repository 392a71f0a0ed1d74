"""One command at a time; its files change together or not at all, also if it is killed."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout

from lockstep.errors import LockstepError
from lockstep.io import sha256_file, sha256_json, write_json
from lockstep.termination import terminated_as_error

JOURNAL = Path(".lockstep/new-problem.json")
UNDONE = "nothing half-made was kept, run the command again"


@contextmanager
def only_one(lock: Path, what: str) -> Iterator[None]:
    """Hold a lock file of this workspace; LockstepError if another process holds it."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(lock, timeout=0):
            yield
    except Timeout:
        raise LockstepError(f"another {what} is running here; wait for it to end") from None


@dataclass
class Changes:
    """What a command changes, by path: the content before, and the SHA-256 of what it writes.

    Both are in the journal before the file changes, so that edits of a person are told apart.
    """

    root: Path
    entries: dict[str, dict[str, str | None]] = field(default_factory=dict)

    def begin(self, *names: str) -> None:
        """Note paths that change: the content of each, or that it is missing; folders are new."""
        for name in names:
            self.entries[name] = {"before": _content(self.root / name), "sum": None}
        write_json(self.root / JOURNAL, self.entries)

    def writes(self, path: Path, written: str | None) -> None:
        """Note the sum of what is written to one of these paths."""
        self.entries[path.relative_to(self.root).as_posix()]["sum"] = written
        write_json(self.root / JOURNAL, self.entries)


def sum_of(path: Path) -> str | None:
    """Return the SHA-256 of a file, or over a folder's files; None where there is neither."""
    if path.is_dir():
        files = {p.relative_to(path): p for p in path.rglob("*") if p.is_file()}
        own = {name.as_posix(): p for name, p in files.items() if "__pycache__" not in name.parts}
        return folder_sum(own)
    return sha256_file(path) if path.is_file() else None


def folder_sum(files: Mapping[str, Path]) -> str:
    """Return the SHA-256 over a folder's files, given by their names in it."""
    return sha256_json({name: sha256_file(files[name]) for name in sorted(files)})


@contextmanager
def all_or_nothing(root: Path) -> Iterator[Changes]:
    """Run the block; if it fails, is interrupted or terminated, restore what it noted.

    An earlier block that was killed outright is undone first, but for what was edited since.
    """
    journal, changes = root / JOURNAL, Changes(root)
    lock = journal.with_suffix(".lock")
    with only_one(lock, "`make new-problem`"), terminated_as_error(UNDONE):
        if journal.is_file():
            _undo_killed(root)
        with ExitStack() as failed:
            failed.callback(_undo, root, changes.entries)
            yield changes
            failed.pop_all()
        journal.unlink(missing_ok=True)


def _undo_killed(root: Path) -> None:
    """Restore what still is as the killed command wrote it; name what is kept."""
    known = json.loads((root / JOURNAL).read_text(encoding="utf-8"))
    # An older journal has the content alone.
    entries = {
        name: entry if isinstance(entry, dict) else {"before": entry, "sum": None}
        for name, entry in known.items()
    }
    written = {name: entry for name, entry in entries.items() if _is_written(root / name, entry)}
    others = [name for name in entries if name not in written]
    kept = [name for name in others if not _is_before(root / name, entries[name]["before"])]
    _undo(root, written)
    print("put back what an interrupted `make new-problem` had begun")
    if kept:
        print(f"kept, as it was changed since: {', '.join(kept)}; remove or restore it by hand")


def _is_written(path: Path, entry: Mapping[str, str | None]) -> bool:
    return entry["sum"] is not None and sum_of(path) == entry["sum"]


def _is_before(path: Path, before: str | None) -> bool:
    return _content(path) == before if before is not None else not path.exists()


def _content(path: Path) -> str | None:
    return base64.b64encode(path.read_bytes()).decode() if path.is_file() else None


def _undo(root: Path, entries: Mapping[str, Mapping[str, str | None]]) -> None:
    for name, entry in entries.items():
        _restore(root / name, entry["before"])
    (root / JOURNAL).unlink(missing_ok=True)


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
