"""The prediction log, for monitoring: append-only SQLite files of predictions and later labels.

Each request writes one row, whatever its number of records: its JSON as it came, or its table's
features as an Arrow stream. A background
thread writes. Files rotate by size and age, and the oldest are deleted first. Readers may read at
any time.
"""

from __future__ import annotations

import calendar
import itertools
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

import orjson
import pandas as pd

from lockstep.config.settings import PredictionLogSection
from lockstep.monitoring.log_files import (
    FEEDBACK,
    PREDICTIONS,
    SHADOW,
    Entry,
    Label,
    ShadowEntry,
    read_entry,
    read_tables,
)
from lockstep.serving.background_writer import BackgroundWriter
from lockstep.serving.day_keeper import DayKeeper
from lockstep.serving.table_parsing import logged_records

_TABLES = {
    "predictions": "request_id TEXT, time_ms INTEGER, model TEXT, version INTEGER, digest TEXT, "
    "rows INTEGER, scores BLOB, decisions BLOB, records BLOB, problem TEXT, threshold REAL, "
    "scale TEXT",
    "feedback": "request_id TEXT, row INTEGER, label, time_ms INTEGER",
    "shadow": "request_id TEXT, time_ms INTEGER, model TEXT, version INTEGER, digest TEXT, "
    "rows INTEGER, scores BLOB, decisions BLOB, champion INTEGER, seconds REAL, problem TEXT, "
    "threshold REAL, scale TEXT",
}
_ROWS_AT_ONCE = 100
_STAMP = "%Y%m%dT%H%M%S"
_LATE_SECONDS = 3600.0
"""A prediction may be written so much later than another process writes its label."""
_GUARD = (
    "CREATE TRIGGER IF NOT EXISTS {table}_{move} BEFORE {move} ON {table} "
    "BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END"
)


@dataclass
class _File:
    """The file that is being written, of one kind."""

    connection: sqlite3.Connection
    path: Path
    opened: float


class PredictionLog:
    """Takes entries and labels from requests, and writes them in the background."""

    def __init__(
        self,
        folder: Path,
        settings: PredictionLogSection,
        keeper: DayKeeper | None = None,
        prunes: bool = True,
    ) -> None:
        self.folder, self.settings, self.keeper, self.prunes = folder, settings, keeper, prunes
        self._files: dict[str, _File] = {}
        self._numbers = itertools.count()
        self.writer = BackgroundWriter(
            self._write, settings.waiting_bytes, name="prediction log", close=self._close
        )

    def start(self) -> None:
        """Make the folder, for this user only, and start writing."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.writer.start()

    def add(self, entry: Entry) -> None:
        """Queue an answered request; a full queue drops and counts it."""
        self.writer.put(entry, len(entry.records) + 16 * entry.rows + 300)

    def add_shadow(self, entry: ShadowEntry) -> None:
        """Queue what a challenger would have answered; a full queue drops and counts it."""
        self.writer.put(entry, 16 * entry.rows + 300)

    def label(self, labels: list[Label]) -> bool:
        """Queue labels; False if the queue is full."""
        return self.writer.put(labels, 200 * len(labels))

    def _write(self, batch: list[Any]) -> None:
        entries = [_stored(item) for item in batch if isinstance(item, Entry)]
        labels = [label for item in batch if isinstance(item, list) for label in item]
        shadows = [_stored(item) for item in batch if isinstance(item, ShadowEntry)]
        for table, rows in (("predictions", entries), ("feedback", labels), ("shadow", shadows)):
            if rows:
                self._append(table, rows)
        if self.prunes:
            self._prune()

    def _append(self, table: str, rows: list[tuple[Any, ...]]) -> None:
        """Write rows, many a statement: between two of them requests wait."""
        file, width = self._current(table), len(rows[0])
        with file.connection:
            for first in range(0, len(rows), _ROWS_AT_ONCE):
                some = rows[first : first + _ROWS_AT_ONCE]
                marks = ", ".join([f"({', '.join('?' * width)})"] * len(some))
                values = [*itertools.chain(*some)]
                file.connection.execute(f"INSERT INTO {table} VALUES {marks}", values)

    def _current(self, table: str) -> _File:
        """Return the file to write to: a new one if the last is too large, too old or deleted."""
        file = self._files.get(table)
        if file is not None and self._is_full(file):
            file.connection.close()
            file = None
        self._files[table] = file or self._open(table)
        return self._files[table]

    def _is_full(self, file: _File) -> bool:
        try:
            size = file.path.stat().st_size
        except FileNotFoundError:
            return True
        old = time.monotonic() - file.opened > self.settings.file_hours * 3600
        return size >= self.settings.file_bytes or old

    def _open(self, table: str) -> _File:
        stamp = time.strftime(_STAMP, time.gmtime())
        path = self.folder / f"{table}-{stamp}-{os.getpid()}-{next(self._numbers)}.sqlite"
        path.touch(mode=0o600)
        connection = sqlite3.connect(path, check_same_thread=False)
        try:
            _prepare(connection, table)
        except sqlite3.Error:  # a full disk would leave an empty file for each batch
            connection.close()
            _delete([path])
            raise
        return _File(connection, path, time.monotonic())

    def _prune(self) -> None:
        """Delete the oldest files beyond the limit, as soon as their days' counts are kept.

        Labels have the same limit, and those that concern deleted rows only go before it.
        """
        paths = self._beyond_limit(PREDICTIONS, SHADOW)
        if paths and self.keeper is not None:
            paths = self.keeper.kept(paths)
        _delete(paths)
        _delete({*self._labels_without_rows(), *self._beyond_limit(FEEDBACK)})

    def _beyond_limit(self, *patterns: str) -> list[Path]:
        """Return the oldest files, except those in use, without which the rest is in the limit."""
        kinds = [sorted(self.folder.glob(pattern)) for pattern in patterns]
        sizes = {path: _size(path) for kind in kinds for path in kind}
        used = self._in_use(kinds)
        total = sum(sizes.values())
        found = []
        for path in sorted(sizes, key=_written):
            if total <= self.settings.total_bytes:
                break
            if path not in used:
                total -= sizes[path]
                found.append(path)
        return found

    def _labels_without_rows(self) -> list[Path]:
        """Return the files of labels last written before the oldest predictions that are left."""
        labels = sorted(self.folder.glob(FEEDBACK))
        oldest = min(map(_begun, self.folder.glob(PREDICTIONS)), default=time.time())
        used = self._in_use([labels])
        ended = {path: _ended(path) for path in labels if path not in used}
        return [path for path, end in ended.items() if end < oldest - _LATE_SECONDS]

    def _in_use(self, kinds: Sequence[Sequence[Path]]) -> set[Path]:
        """Return the files that are being written, of each kind's in the order of their names.

        Other processes write too, each into the newest of its files of a kind.
        """
        used = {file.path for file in self._files.values()} | {p for k in kinds for p in k[-1:]}
        newest = {(path.name.partition("-")[0], _writer(path)): path for k in kinds for path in k}
        return used | {path for (_, writer), path in newest.items() if _lives(writer)}

    def _close(self) -> None:
        if self.keeper is not None:
            self.keeper.close()
        for file in self._files.values():
            file.connection.close()


def _prepare(connection: sqlite3.Connection, table: str) -> None:
    connection.execute("PRAGMA page_size = 16384")  # large bodies: a third faster than 4096
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA wal_autocheckpoint = 64")
    connection.execute(f"CREATE TABLE IF NOT EXISTS {table} ({_TABLES[table]})")
    for move in ("UPDATE", "DELETE"):
        connection.execute(_GUARD.format(table=table, move=move))


def _stored(entry: Entry | ShadowEntry) -> tuple[Any, ...]:
    decisions = orjson.dumps(entry.decisions, option=orjson.OPT_SERIALIZE_NUMPY)
    scores = entry.scores.astype("<f8", copy=False).tobytes()
    return (*entry[:6], scores, decisions, *entry[8:])


def _delete(paths: Iterable[Path]) -> None:
    for path in paths:
        for beside in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
            beside.unlink(missing_ok=True)


def _written(path: Path) -> str:
    """Return when a file was begun, as its name says; as text, with the writer behind it."""
    return path.stem.partition("-")[2]


def _begun(path: Path) -> float:
    """Return when a file was begun, as its name says, in seconds since 1970; 0 if it says none."""
    try:
        return calendar.timegm(time.strptime(path.stem.split("-")[1], _STAMP))
    except ValueError:  # somebody else named it
        return 0.0


def _ended(path: Path) -> float:
    """Return when a file was last written; of one that a killed process left, its journal was."""
    beside = (path, Path(f"{path}-wal"))
    return max((one.stat().st_mtime for one in beside if one.is_file()), default=0.0)


def _writer(path: Path) -> int:
    """Return the id of the process that writes a file, as its name says; 0 if it says none."""
    number = path.stem.split("-")[-2]
    return int(number) if number.isdigit() else 0


def _lives(process: int) -> bool:
    if not process:
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is another user's
        return True
    return True


def _size(path: Path) -> int:
    with suppress(FileNotFoundError):
        return path.stat().st_size
    return 0


def read_entries(folder: Path, since_ms: int = 0, until_ms: int = 2**62) -> Iterator[Entry]:
    """Yield the requests answered from ``since_ms`` to before ``until_ms``, in written order."""
    query = "SELECT * FROM predictions WHERE time_ms >= ? AND time_ms < ? ORDER BY rowid"
    for row in _rows(folder, PREDICTIONS, query, (since_ms, until_ms)):
        yield read_entry(row)


def read_labels(folder: Path) -> dict[tuple[str, int], Any]:
    """Return the last label of each request id and row (from 1)."""
    query = "SELECT time_ms, request_id, row, label FROM feedback ORDER BY rowid"
    found = sorted(_rows(folder, FEEDBACK, query, ()), key=itemgetter(0))  # workers write at once
    return {(request, row): label for _, request, row, label in found}


def predictions_table(folder: Path, since_ms: int = 0, until_ms: int = 2**62) -> pd.DataFrame:
    """Return one row a record, with its prediction, its label and its features.

    Columns: request_id, row, time (UTC), model, version, digest, score, decision, label, then the
    features by the schema's names. ``score`` is the positive class's probability or the prediction,
    for several classes the highest probability.
    """
    labels = read_labels(folder)
    entries = read_entries(folder, since_ms, until_ms)
    rows = [row for entry in entries for row in _expanded(entry, labels)]
    table = pd.DataFrame(rows)
    return table.assign(time=pd.to_datetime(table["time"], unit="ms", utc=True)) if rows else table


def _expanded(entry: Entry, labels: Mapping[tuple[str, int], Any]) -> Iterator[dict[str, Any]]:
    answered = zip(logged_records(entry.records), entry.scores, entry.decisions, strict=True)
    for number, (record, score, decision) in enumerate(answered, start=1):
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
    return itertools.chain.from_iterable(read_tables(folder, pattern, query, values))
