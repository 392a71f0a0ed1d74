"""What was predicted, kept for monitoring: append-only SQLite files, and labels that arrive later by request id.

A request leaves one row, however many records it had, with its own JSON as it came: that is all an answer waits for.
A thread writes; files are turned over by size and age, the oldest go first; readers may look at any time.
"""

from __future__ import annotations

import itertools
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson
import pandas as pd

from lockstep.config.settings import PredictionLogSection
from lockstep.serving.background_writer import Spool

PREDICTIONS, FEEDBACK = "predictions-*.sqlite", "feedback-*.sqlite"
_TABLES = {
    "predictions": "request_id TEXT, time_ms INTEGER, model TEXT, version INTEGER, digest TEXT, rows INTEGER, "
    "scores BLOB, decisions BLOB, records BLOB",
    "feedback": "request_id TEXT, row INTEGER, label, time_ms INTEGER",
}
_ROWS_AT_ONCE = 100
_GUARD = (
    "CREATE TRIGGER IF NOT EXISTS {table}_{move} BEFORE {move} ON {table} "
    "BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END"
)


class Entry(NamedTuple):
    """One answered request. ``scores`` (rows,) or (rows, classes); ``decisions`` a plain value a row."""

    request_id: str
    time_ms: int
    model: str
    version: int | None
    digest: str | None
    rows: int
    scores: np.ndarray
    decisions: Sequence[Any]
    records: bytes


class Label(NamedTuple):
    """What really happened to a row (counted from 1) of an earlier request."""

    request_id: str
    row: int
    label: Any
    time_ms: int


@dataclass
class _File:
    """The file that is written to now, of one kind."""

    connection: sqlite3.Connection
    path: Path
    opened: float


class PredictionLog:
    """Takes entries and labels from requests, and writes them in a thread of its own."""

    def __init__(self, folder: Path, rules: PredictionLogSection) -> None:
        self.folder, self.rules = folder, rules
        self._files: dict[str, _File] = {}
        self._numbers = itertools.count()
        self.spool = Spool(
            self._write, rules.waiting_bytes, name="prediction log", close=self._close
        )

    def start(self) -> None:
        """Make the folder, for this user only, and begin to write."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.spool.start()

    def add(self, entry: Entry) -> None:
        """Queue what was answered; where too much waits it is dropped and counted."""
        self.spool.put(entry, len(entry.records) + 16 * entry.rows + 300)

    def label(self, labels: list[Label]) -> bool:
        """Queue labels; False where too much waits and they were not taken."""
        return self.spool.put(labels, 200 * len(labels))

    def _write(self, batch: list[Any]) -> None:
        entries = [_stored(item) for item in batch if isinstance(item, Entry)]
        labels = [label for item in batch if isinstance(item, list) for label in item]
        for table, rows in (("predictions", entries), ("feedback", labels)):
            if rows:
                self._append(table, rows)
        self._prune()

    def _append(self, table: str, rows: list[tuple[Any, ...]]) -> None:
        """Write rows, many to a statement: between two statements the requests' thread would lose the interpreter."""
        file, width = self._current(table), len(rows[0])
        with file.connection:
            for first in range(0, len(rows), _ROWS_AT_ONCE):
                some = rows[first : first + _ROWS_AT_ONCE]
                marks = ", ".join([f"({', '.join('?' * width)})"] * len(some))
                file.connection.execute(
                    f"INSERT INTO {table} VALUES {marks}", [*itertools.chain(*some)]
                )

    def _current(self, table: str) -> _File:
        """Return the file to write to, another one where the last is large or old enough, or was taken away."""
        file = self._files.get(table)
        if file is not None and not self._is_full(file):
            return file
        if file is not None:
            file.connection.close()
        self._files[table] = self._open(table)
        return self._files[table]

    def _is_full(self, file: _File) -> bool:
        try:
            size = file.path.stat().st_size
        except FileNotFoundError:
            return True
        old = time.monotonic() - file.opened > self.rules.file_hours * 3600
        return size >= self.rules.file_bytes or old

    def _open(self, table: str) -> _File:
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
        path = self.folder / f"{table}-{stamp}-{os.getpid()}-{next(self._numbers)}.sqlite"
        path.touch(mode=0o600)
        connection = sqlite3.connect(path, check_same_thread=False)
        connection.execute(
            "PRAGMA page_size = 16384"
        )  # large bodies in a third less time than by 4096
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA wal_autocheckpoint = 64")
        connection.execute(f"CREATE TABLE IF NOT EXISTS {table} ({_TABLES[table]})")
        for move in ("UPDATE", "DELETE"):
            connection.execute(_GUARD.format(table=table, move=move))
        return _File(connection, path, time.monotonic())

    def _prune(self) -> None:
        """Delete the oldest files while all together are larger than allowed; the ones in use stay."""
        sizes = {path: _size(path) for path in self.folder.glob(PREDICTIONS)}
        total, used = sum(sizes.values()), {file.path for file in self._files.values()}
        for path in sorted(sizes):
            if total <= self.rules.total_bytes:
                return
            if path not in used:
                total -= sizes[path]
                for beside in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
                    beside.unlink(missing_ok=True)

    def _close(self) -> None:
        for file in self._files.values():
            file.connection.close()


def _stored(entry: Entry) -> tuple[Any, ...]:
    decisions = orjson.dumps(entry.decisions, option=orjson.OPT_SERIALIZE_NUMPY)
    return (*entry[:6], entry.scores.astype("<f8", copy=False).tobytes(), decisions, entry.records)


def _size(path: Path) -> int:
    with suppress(FileNotFoundError):
        return path.stat().st_size
    return 0


def read_entries(folder: Path, since_ms: int = 0, until_ms: int = 2**62) -> Iterator[Entry]:
    """Yield the requests answered from ``since_ms`` (inclusive) to ``until_ms``, file by file as they were written."""
    where = "WHERE time_ms >= ? AND time_ms < ? ORDER BY rowid"
    for row in _rows(
        folder, PREDICTIONS, f"SELECT * FROM predictions {where}", (since_ms, until_ms)
    ):
        request, at, model, version, digest, rows, scores, decisions, records = row
        values = np.frombuffer(scores, dtype="<f8")
        shaped = values if len(values) == rows else values.reshape(rows, -1)
        yield Entry(
            request, at, model, version, digest, rows, shaped, orjson.loads(decisions), records
        )


def read_labels(folder: Path) -> dict[tuple[str, int], Any]:
    """Return the label of each request id and row (from 1); of several the last one."""
    query = "SELECT request_id, row, label FROM feedback ORDER BY rowid"
    return {(request, row): label for request, row, label in _rows(folder, FEEDBACK, query, ())}


def predictions_table(folder: Path, since_ms: int = 0, until_ms: int = 2**62) -> pd.DataFrame:
    """Return one row a record: request id, row, time (UTC), model, version, digest, score, decision, label, features.

    ``score`` is the positive class's probability or the prediction; of several classes the highest. Features go
    by the schema's own names, whatever aliases a request used.
    """
    labels = read_labels(folder)
    rows = [
        row
        for entry in read_entries(folder, since_ms, until_ms)
        for row in _expanded(entry, labels)
    ]
    table = pd.DataFrame(rows)
    return table.assign(time=pd.to_datetime(table["time"], unit="ms", utc=True)) if rows else table


def _expanded(entry: Entry, labels: Mapping[tuple[str, int], Any]) -> Iterator[dict[str, Any]]:
    content = orjson.loads(entry.records.removeprefix(b"\xef\xbb\xbf"))
    records = content if isinstance(content, list) else [content]
    for number, (record, score, decision) in enumerate(
        zip(records, entry.scores, entry.decisions, strict=True), start=1
    ):
        yield {
            "request_id": entry.request_id,
            "row": number,
            "time": entry.time_ms,
            "model": entry.model,
            "version": entry.version,
            "digest": entry.digest,
            "score": float(score.max() if score.ndim else score),
            "decision": decision,
            "label": labels.get((entry.request_id, number)),
            **record,
        }


def _rows(
    folder: Path, pattern: str, query: str, values: tuple[Any, ...]
) -> Iterator[tuple[Any, ...]]:
    for path in sorted(folder.glob(pattern)):
        with closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5)
        ) as connection:
            try:
                found = connection.execute(query, values).fetchall()
            except sqlite3.OperationalError as error:
                if "no such table" not in str(error):  # made this moment by the server
                    raise
                continue
        yield from found
