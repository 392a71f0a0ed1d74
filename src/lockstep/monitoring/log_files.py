"""The prediction log's files: what their rows hold, and how they are read while they are written.

The API writes them: `serving/prediction_log.py`.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson

from lockstep.config.monitoring import DAY_MS

PREDICTIONS, FEEDBACK = "predictions-*.sqlite", "feedback-*.sqlite"
SHADOW = "shadow-*.sqlite"
"""What a challenger in the shadow would have answered."""
_READ_AT_ONCE = 500

Key = tuple[str, int | None, str | None]
"""Name, version and digest of a model that answered."""


class Entry(NamedTuple):
    """One answered request: ``scores`` (rows,) or (rows, classes), ``decisions`` (rows,)."""

    request_id: str
    time_ms: int
    model: str
    version: int | None
    digest: str | None
    rows: int
    scores: np.ndarray
    decisions: Sequence[Any]
    records: bytes
    problem: str | None = None
    threshold: float | None = None
    scale: str | None = None


class ShadowEntry(NamedTuple):
    """A request that a challenger scored, after version ``champion`` had answered it."""

    request_id: str
    time_ms: int
    model: str
    version: int | None
    digest: str | None
    rows: int
    scores: np.ndarray
    decisions: Sequence[Any]
    champion: int | None
    seconds: float
    problem: str | None = None
    threshold: float | None = None
    scale: str | None = None


class Label(NamedTuple):
    """The true outcome of a row (counted from 1) of an earlier request."""

    request_id: str
    row: int
    label: Any
    time_ms: int


def read_entry(row: tuple[Any, ...]) -> Entry:
    """Return the entry of a stored row; one of an earlier version lacks the last columns."""
    entry = Entry(*row)
    scores = read_scores(row[6], entry.rows)
    return entry._replace(scores=scores, decisions=orjson.loads(row[7]))


def read_scores(stored: bytes, rows: int) -> np.ndarray:
    """Return stored scores (rows,), or (rows, classes) of several classes."""
    values = np.frombuffer(stored, dtype="<f8")
    return values if len(values) == rows else values.reshape(rows, -1)


def read_tables(
    folder: Path,
    pattern: str,
    query: str,
    values: Sequence[Any] = (),
    damaged: dict[str, str] | None = None,
) -> Iterator[list[tuple[Any, ...]]]:
    """Yield the rows of a log's files in lists; see ``read_files``."""
    return (rows for _, rows in read_files(folder, pattern, query, values, damaged))


def read_files(
    folder: Path,
    pattern: str,
    query: str,
    values: Sequence[Any] = (),
    damaged: dict[str, str] | None = None,
) -> Iterator[tuple[str, list[tuple[Any, ...]]]]:
    """Yield the names of a log's files with their rows in lists.

    A damaged file gives the rows before the damage, which ``damaged`` notes by the file's name;
    without it, sqlite3.DatabaseError.
    """
    for path in sorted(folder.glob(pattern)):
        address = f"{path.absolute().as_uri()}?mode=ro"
        try:
            with closing(sqlite3.connect(address, uri=True, timeout=5)) as connection:
                cursor = connection.execute(query, values)
                while found := cursor.fetchmany(_READ_AT_ONCE):
                    yield path.name, found
        except sqlite3.DatabaseError as error:
            if "no such table" in str(error):  # the server is just creating it
                continue
            if damaged is None:
                raise
            damaged[path.name] = str(error)


def shadowed_days(folder: Path, challenger: Key, champion: int) -> Counter[int]:
    """Return how many live rows of a champion's a challenger scored, by day since 1970 (UTC).

    sqlite3.DatabaseError for a damaged file.
    """
    query = (
        f"SELECT time_ms / {DAY_MS}, SUM(rows) FROM shadow "
        "WHERE model IS ? AND version IS ? AND digest IS ? AND champion IS ? GROUP BY 1"
    )
    found: Counter[int] = Counter()
    for rows in read_tables(folder, SHADOW, query, (*challenger, champion)):
        for day, many in rows:
            found[day] += many
    return found


def newest_challenger(
    folder: Path, champion: Key, since_ms: int, until_ms: int, damaged: dict[str, str]
) -> Key | None:
    """Return the model that scored a champion's requests of a span last; None if none did."""
    query = (
        "SELECT model, version, digest, MAX(time_ms) FROM shadow WHERE model IS ? "
        "AND champion IS ? AND time_ms >= ? AND time_ms < ? GROUP BY model, version, digest"
    )
    given = (*champion[:2], since_ms, until_ms)
    found = [row for rows in read_tables(folder, SHADOW, query, given, damaged) for row in rows]
    return max(found, key=lambda row: row[3])[:3] if found else None
