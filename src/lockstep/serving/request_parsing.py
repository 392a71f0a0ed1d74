"""Request bodies to columns: JSON read and checked against the schema, every fault named.

The rules are those of ``data.checks.check_record``, which files of records go by, and so are the words. What fits is
checked column by column, which takes microseconds; only a body that does not fit is gone through value by value.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from operator import call, itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from lockstep.data.records import unique_names
from lockstep.data.values import allowed, column_check, fault, fit_check
from lockstep.errors import DataError, LockstepError, nearest
from lockstep.problems.schema import Column, Schema

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Check = Callable[[Sequence[Any]], NDArray[Any] | None]
    Fits = Callable[[Any], bool]

MOST_FAULTS = 100
"""So many faults are listed; of more the number is told."""
MOST_LETTERS = 40
"""So much of a text is repeated."""
_NO_JSON = (b"NaN", b"Infinity")


class Refused(LockstepError):
    """A body that is not answered: HTTP status, one line, and what is wrong where."""

    def __init__(
        self,
        status: int,
        message: str,
        faults: Sequence[dict[str, Any]] = (),
        count: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.faults = status, list(faults)
        self.count = len(self.faults) if count is None else count


@dataclass(frozen=True)
class Read:
    """Checked records as columns: float64 with NaN, or objects with None, for missing values.

    ``body`` is the JSON they came in, under the schema's own names.
    """

    columns: dict[str, NDArray[Any]]
    rows: int
    single: bool
    body: bytes


class RecordReader:
    """Reads bodies of one problem: one record, or a list of records; made once from the schema."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.names = list(schema.feature_names)
        self._known = frozenset(self.names)
        self._pick = itemgetter(*self.names) if len(self.names) > 1 else _only(self.names[0])
        self._checks = [(column.name, column_check(column)) for column in schema.features]
        self._fits = [fit_check(column) for column in schema.features]
        self._numeric = [
            place for place, column in enumerate(schema.features) if column.holds_numbers
        ]
        self._numbers = [self.names[place] for place in self._numeric]
        self._texts = [column.name for column in schema.features if not column.holds_numbers]
        self._aliases = schema.feature_aliases

    def read(self, body: bytes, most_rows: int) -> Read:
        """Return a body's records as columns.

        Raises Refused: 400 for what is no JSON, 413 for more than ``most_rows`` records, 422 for records that do not
        fit, each fault with row (from 1), field, value, message and what is allowed.
        """
        content = sent = _parsed(body)
        single = isinstance(content, dict)
        records = self._listed(content, most_rows)
        columns = self._columns(records)
        if columns is None and self._aliases:
            records = [self._renamed(record) for record in records]
            columns = self._columns(records)
            content = records[0] if single else records
        if columns is None:
            raise self._faults(records)
        if b"\\" in body or body.count(b'"') != self._quotes(columns, len(records)):
            _refuse_repeated(body)
        return Read(
            columns, len(records), single, body if content is sent else orjson.dumps(content)
        )

    def _listed(self, content: Any, most_rows: int) -> list[Any]:
        """Return the records of a body."""
        if isinstance(content, dict):
            return [content]
        if not isinstance(content, list):
            raise Refused(
                422, f"the body is {_kind(content)}; send an object of features, or a list of them"
            )
        if not content:
            raise Refused(422, "no records: send at least one")
        if len(content) > most_rows:
            raise Refused(
                413, f"{len(content):,} records are more than {most_rows:,}; send fewer at a time"
            )
        return content

    def _columns(self, records: list[Any]) -> dict[str, NDArray[Any]] | None:
        """Return the records' columns, or None where one does not fit."""
        try:
            if len(records) == 1:
                return self._columns_of_one(records[0])
            values = self._by_column(records)
            if values is None:
                return None
            found = {
                name: check(part) for (name, check), part in zip(self._checks, values, strict=True)
            }
        except (KeyError, TypeError, IndexError, OverflowError):
            return None
        return found if all(part is not None for part in found.values()) else None  # type: ignore[return-value]

    def _by_column(self, records: list[Any]) -> Iterable[Sequence[Any]] | None:
        """Return each column's values, or None where a record has not as many; KeyError where it has others."""
        keys, width = list(records[0]), len(self.names)
        if any(len(record) != width for record in records):
            return None
        if not all(map(keys.__eq__, map(list, records))):
            return zip(*map(self._pick, records), strict=True)
        values = list(
            chain.from_iterable(map(dict.values, records))
        )  # all in one order, as most bodies are
        parts = {key: values[place::width] for place, key in enumerate(keys)}
        return [parts[name] for name in self.names]

    def _columns_of_one(self, record: Any) -> dict[str, NDArray[Any]] | None:
        """Return one record's columns, rows of one array: making an array takes longer than checking a value."""
        values = self._pick(record)
        if len(record) != len(values) or not all(map(call, self._fits, values)):
            return None
        numbers = np.array(
            [values[place] for place in self._numeric], dtype=np.float64
        )  # None becomes NaN
        found = dict(zip(self._numbers, numbers[:, np.newaxis], strict=True))
        if self._texts:
            texts = np.array([record[name] for name in self._texts], dtype=object)
            found.update(zip(self._texts, texts[:, np.newaxis], strict=True))
        return found

    def _quotes(self, columns: Mapping[str, NDArray[Any]], rows: int) -> int:
        """Return how many quotes a body of these columns has, if no key is written twice and none is escaped."""
        texts = sum(rows - columns[name].tolist().count(None) for name in self._texts)
        return 2 * (rows * len(self.names) + texts)

    def _renamed(self, record: Any) -> Any:
        """Return a record under the schema's names; where two of its names mean one feature, as it is: refused."""
        names = self._aliases
        if not isinstance(record, dict) or names.keys().isdisjoint(record):
            return record
        renamed = {names.get(key, key): value for key, value in record.items()}
        return renamed if len(renamed) == len(record) else record

    def _faults(self, records: list[Any]) -> Refused:
        """Return the refusal of records that do not fit: the first faults in full, of the others the number."""
        faults: list[dict[str, Any]] = []
        count = 0
        for row, record in enumerate(records, start=1):
            if len(faults) < MOST_FAULTS:
                found = islice(self._faults_of(record), MOST_FAULTS - len(faults))
                faults += [{"row": row, **fault} for fault in found]
            count += self._fault_count(record)
        where = "the record" if len(records) == 1 else f"record {faults[0]['row']}"
        more = f"; and {count - 1:,} more fault{'s' * (count > 2)}" if count > 1 else ""
        line = f"{where} does not fit {self.schema.name}: {faults[0]['message']}{more}"
        return Refused(422, line, faults, count)

    def _faults_of(self, record: Any) -> Iterator[dict[str, Any]]:
        """Tell what is wrong with one record, fault by fault."""
        if not isinstance(record, dict):
            message = f"the record is {_kind(record)}, not an object of feature names and values"
            yield _told(None, _shown(record), message, "an object")
            return
        absent = [name for name in self.names if name not in record]
        for name in absent:
            yield _told(name, None, _missing(self.schema.columns[name]), self._allowed(name))
        near = absent or self.names
        for name, value in record.items():
            if name not in self._known:
                own = self._aliases.get(name)
                message = f"no feature is called {_cut(name)}{nearest(_cut(name), near)}"
                if own is not None:
                    message = (
                        f"{_cut(name)} is another name of {own}, which is there, too; keep one"
                    )
                yield _told(_cut(name), _shown(value), message, ", ".join(near))
        for column in self.schema.features:
            fault = _value_fault(column, record[column.name]) if column.name in record else None
            if fault:
                yield _told(
                    column.name, _shown(record[column.name]), fault, self._allowed(column.name)
                )

    def _fault_count(self, record: Any) -> int:
        """Return how many faults a record has, without the words."""
        if not isinstance(record, dict):
            return 1
        here = sum(name in record for name in self.names)
        wrong = sum(
            name in record and not fits(record[name])
            for name, fits in zip(self.names, self._fits, strict=True)
        )
        return len(self.names) - here + len(record) - here + wrong

    def _allowed(self, name: str) -> Any:
        return allowed(self.schema.columns[name])


def _only(name: str) -> Callable[[Any], tuple[Any]]:
    return lambda record: (record[name],)


def _missing(column: Column) -> str:
    return f"missing {column.name}" + (" (null is allowed where unknown)" if column.missing else "")


def _value_fault(column: Column, value: Any) -> str | None:
    """Return what is wrong with one value, or None: in the words for files, but those of JSON where they differ."""
    if isinstance(value, bool | list | dict):
        return f"{column.name} = {_shown(value)} must be {'a number' if column.holds_numbers else 'text'}"
    return fault(column, value)


def _told(field: str | None, value: Any, message: str, what: Any) -> dict[str, Any]:
    return {"field": field, "value": value, "message": message, "allowed": what}


def _shown(value: Any) -> Any:
    """Return a value that is no longer than a few words; true and false in JSON's own."""
    if isinstance(value, list | dict):
        return f"{_kind(value)} of {len(value)}"
    if isinstance(value, bool):
        return "true" if value else "false"
    return _cut(value) if isinstance(value, str) else value


def _cut(text: str) -> str:
    return text if len(text) <= MOST_LETTERS else f"{text[:MOST_LETTERS]}…"


def _kind(value: Any) -> str:
    kinds = {
        str: "a text",
        bool: "true or false",
        int: "a number",
        float: "a number",
        list: "a list",
    }
    return "null" if value is None else kinds.get(type(value), "an object")


def _parsed(body: bytes) -> Any:
    """Return a body's JSON; what is none is Refused with its place."""
    try:
        return orjson.loads(body.removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError as error:
        raise Refused(400, _broken(body, error)) from None


def _broken(body: bytes, error: orjson.JSONDecodeError) -> str:
    if not body.strip():
        return "the body is empty; send a record as JSON"
    place = f"line {error.lineno}, column {error.colno}"
    rest = error.doc[error.pos : error.pos + 9].encode() if isinstance(error.doc, str) else b""
    constant = next((name for name in _NO_JSON if rest.startswith(name)), None)
    if constant:
        return (
            f"{constant.decode()} at {place} is no JSON value; send null where a value is not known"
        )
    return f"the body is no valid JSON: {error.msg.split(':')[0]} at {place}"


def _refuse_repeated(body: bytes) -> None:
    """Refuse a body in which a record names a feature twice: orjson would keep the last value without a word."""

    try:
        json.loads(body.removeprefix(b"\xef\xbb\xbf"), object_pairs_hook=unique_names)
    except DataError as error:
        raise Refused(400, str(error)) from None
