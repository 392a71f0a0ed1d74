"""The prediction log read in pieces: many requests become the columns of one table at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pandas as pd
from numpy.typing import NDArray

from lockstep.config.monitoring import DAY_MS
from lockstep.monitoring.log_files import (
    FEEDBACK,
    PREDICTIONS,
    SHADOW,
    Entry,
    Key,
    read_entry,
    read_files,
    read_scores,
    read_tables,
)
from lockstep.monitoring.traffic import Pairs, joined
from lockstep.monitoring.window import Rows
from lockstep.problems.schema import Schema
from lockstep.serving.http_request import Refusal
from lockstep.serving.request_parsing import RecordReader
from lockstep.serving.table_parsing import LoggedReader

PIECE_ROWS = 20_000


@dataclass
class Notes:
    """What was found in the log besides rows to analyse."""

    damaged: dict[str, str] = field(default_factory=dict)
    """Files that can't be read to their end, and why."""
    unreadable: int = 0
    """Requests whose records no longer fit the schema."""
    others: Counter[Key] = field(default_factory=Counter)
    """Rows that other models answered."""
    repeated_ids: int = 0
    """Request ids that several answers have: their labels can't be told apart, and are left out."""
    repeated_labels: int = 0
    labels: int = 0
    matched_labels: int = 0


@dataclass(frozen=True)
class Labels:
    """The last label of each row of a request, by request id and row."""

    table: pd.Series

    def of(self, requests: NDArray[Any], rows: NDArray[np.int64]) -> NDArray[Any]:
        """Return each row's label as objects; None where there is none."""
        if self.table.empty:
            return np.full(len(rows), None, dtype=object)
        place = self.table.index.get_indexer(pd.MultiIndex.from_arrays([requests, rows]))
        found = self.table.to_numpy(dtype=object)[place]
        found[place < 0] = None
        return found


def read_labels(folder: Path, notes: Notes) -> Labels:
    """Return the last label of each row of a request."""
    query = "SELECT request_id, row, label, time_ms FROM feedback ORDER BY rowid"
    found = [
        row for rows in read_tables(folder, FEEDBACK, query, (), notes.damaged) for row in rows
    ]
    found = [row[:3] for row in sorted(found, key=itemgetter(3))]  # workers write at once
    table = pd.DataFrame(found, columns=["request", "row", "label"], dtype=object)
    last = table.drop_duplicates(["request", "row"], keep="last")
    notes.repeated_labels = len(table) - len(last)
    if len(last):
        twice = _repeated_ids(folder, notes)
        last = last[~last["request"].isin(twice)]
    notes.labels = len(last)
    index = pd.MultiIndex.from_arrays([last["request"], last["row"].astype(np.int64)])
    return Labels(pd.Series(last["label"].to_numpy(dtype=object), index=index))


def _repeated_ids(folder: Path, notes: Notes) -> set[str]:
    """Return the request ids that several answers have: clients may repeat their own."""
    query = "SELECT request_id FROM predictions"
    found = read_tables(folder, PREDICTIONS, query, (), notes.damaged)
    ids = pd.Series([request for rows in found for (request,) in rows], dtype=object)
    twice = set(ids[ids.duplicated()])
    notes.repeated_ids = len(twice)
    return twice


@dataclass
class Answers:
    """What a model answered in a span: how many rows, and when the last of them."""

    rows: int = 0
    last_ms: int = 0


def answered_by(folder: Path, since_ms: int, until_ms: int, notes: Notes) -> dict[Key, Answers]:
    """Return what each model answered in a span."""
    query = (
        "SELECT model, version, digest, SUM(rows), MAX(time_ms) FROM predictions "
        "WHERE time_ms >= ? AND time_ms < ? GROUP BY model, version, digest"
    )
    found: dict[Key, Answers] = {}
    for rows in read_tables(folder, PREDICTIONS, query, (since_ms, until_ms), notes.damaged):
        for name, version, digest, many, last in rows:
            one = found.setdefault((name, version, digest), Answers())
            one.rows, one.last_ms = one.rows + many, max(one.last_ms, last)
    return found


def read_pieces(
    folder: Path, key: Key, since_ms: int, until_ms: int, notes: Notes
) -> Iterator[tuple[str, list[Entry]]]:
    """Yield the entries of one model in a span, about PIECE_ROWS rows of a file at a time.

    The file's name comes first.
    """
    query = (
        "SELECT * FROM predictions WHERE time_ms >= ? AND time_ms < ? "
        "AND model IS ? AND version IS ? AND digest IS ? ORDER BY rowid"
    )
    given = (since_ms, until_ms, *key)
    found = read_files(folder, PREDICTIONS, query, given, notes.damaged)
    for file, lists in groupby(found, key=itemgetter(0)):
        piece: list[Entry] = []
        many = 0
        for row in chain.from_iterable(rows for _, rows in lists):
            piece.append(read_entry(row))
            many += piece[-1].rows
            if many >= PIECE_ROWS:
                yield file, piece
                piece, many = [], 0
        if piece:
            yield file, piece


class LogReader:
    """Turns entries into rows with their labels; built once for a problem."""

    def __init__(
        self, schema: Schema, classes: Sequence[Any], labels: Labels, notes: Notes
    ) -> None:
        self.schema, self.labels, self.notes = schema, labels, notes
        self._reader = LoggedReader(RecordReader(schema))
        self._places: Mapping[Any, int] = {label: place for place, label in enumerate(classes)}

    def rows(self, entries: list[Entry]) -> Rows | None:
        """Return the entries' rows; None if no record is readable."""
        return self.read(entries)[1]

    def read(self, entries: list[Entry]) -> tuple[list[Entry], Rows | None]:
        """Return the entries whose records fit the schema, and their rows; None without any."""
        columns = self._columns(entries)
        if columns is None:
            fitting = [one for one in entries if self._columns([one]) is not None]
            self.notes.unreadable += len(entries) - len(fitting)
            entries, columns = fitting, self._columns(fitting) if fitting else None
        if columns is None:
            return [], None
        many = np.array([one.rows for one in entries])
        number = np.arange(many.sum()) - np.repeat(np.cumsum(many) - many, many) + 1
        request = np.repeat(np.array([one.request_id for one in entries], dtype=object), many)
        days = np.repeat([one.time_ms // DAY_MS for one in entries], many)
        score = np.concatenate([one.scores for one in entries])
        decided = [decision for one in entries for decision in one.decisions]
        label = self._labels(request, number)
        return entries, Rows(columns, score, self.decisions(decided), label, days)

    def _columns(self, entries: list[Entry]) -> dict[str, NDArray[Any]] | None:
        records, rows = [one.records for one in entries], [one.rows for one in entries]
        try:
            return self._reader.columns(records, rows)
        except Refusal:
            return None

    def decisions(self, decided: list[Any]) -> NDArray[np.int64]:
        """Return the place of each decided class; after the last one for a person's."""
        if self.schema.task == "regression":
            return np.zeros(len(decided), dtype=np.int64)
        if self.schema.task == "binary":
            return np.array([2 if one is None else one for one in decided], dtype=np.int64)
        return np.array([self._places[one] for one in decided], dtype=np.int64)

    def _labels(self, requests: NDArray[Any], rows: NDArray[np.int64]) -> NDArray[Any]:
        found = self.labels.of(requests, rows)
        self.notes.matched_labels += sum(one is not None for one in found)
        if self.schema.task == "regression":
            return np.array([np.nan if one is None else one for one in found], dtype=np.float64)
        places = self._places
        return np.array([places.get(one, -1) for one in found], dtype=np.int64)


# ---------------------------------------------------------------- a challenger in the shadow


Answered = tuple[str, int]
"""Id and time of an answered request: clients may repeat an id of their own."""


def _answered(entry: Entry) -> Answered:
    return entry.request_id, entry.time_ms


@dataclass(frozen=True)
class Shadowed:
    """What a challenger would have answered to one request."""

    scores: NDArray[np.float64]
    decisions: list[Any]
    seconds: float
    threshold: float | None


def read_shadow(folder: Path, key: Key, champion: int, notes: Notes) -> dict[Answered, Shadowed]:
    """Return a challenger's scores by request id and time; those used twice are left out."""
    query = (
        "SELECT request_id, time_ms, rows, scores, decisions, seconds, threshold FROM shadow "
        "WHERE model IS ? AND version IS ? AND digest IS ? AND champion IS ? ORDER BY rowid"
    )
    found: dict[Answered, Shadowed] = {}
    twice: set[Answered] = set()
    for rows in read_tables(folder, SHADOW, query, (*key, champion), notes.damaged):
        for request, time_ms, many, scores, decisions, seconds, threshold in rows:
            one = request, time_ms
            if one in found:
                twice.add(one)
            answer = read_scores(scores, many), orjson.loads(decisions)
            found[one] = Shadowed(*answer, seconds / many, threshold)
    notes.repeated_ids += len(twice)
    return {one: answer for one, answer in found.items() if one not in twice}


def read_pairs(
    folder: Path,
    reader: LogReader,
    champion: Key,
    challenger: Key,
    since_ms: int = 0,
    until_ms: int = 2**62,
) -> Pairs:
    """Return the rows that a champion answered and a challenger scored in the shadow."""
    notes = reader.notes
    shadow = read_shadow(folder, challenger, champion[1] or 0, notes)
    parts: list[Pairs] = []
    begun = 0
    seen: Counter[Answered] = Counter()
    for _, entries in read_pieces(folder, champion, since_ms, until_ms, notes):
        own = [one for one in entries if _answered(one) in shadow]
        seen.update(map(_answered, own))
        own = [one for one in own if seen[_answered(one)] == 1]
        own, rows = reader.read(own) if own else (own, None)
        if rows is None:
            continue
        others = [shadow[_answered(one)] for one in own]
        number = np.repeat(np.arange(begun, begun + len(own)), [one.rows for one in own])
        begun += len(own)
        parts.append(
            Pairs(
                reader.schema.task,
                rows.score,
                np.concatenate([one.scores for one in others]),
                rows.decision,
                reader.decisions([d for one in others for d in one.decisions]),
                rows.label,
                number,
                {name: rows.columns[name] for name in reader.schema.slices},
                (own[-1].threshold, others[-1].threshold),
                np.array([one.seconds for one in others]),
            )
        )
    return joined(parts, reader.schema.task)
