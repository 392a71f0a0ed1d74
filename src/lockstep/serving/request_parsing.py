"""Request bodies to columns: JSON is read and checked against the schema, every fault is named.

The rules and words are those of ``data.values``, as for files of records. A body that holds plain
values of all features is checked column by column, in microseconds. Only one that does not is read
as rows of a file (texts as cells, aliases, columns that are no features), and checked again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from operator import call, itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from lockstep.data.record_text import unique_names
from lockstep.data.records import MOST_LETTERS, RowReader, unknown_name
from lockstep.data.values import allowed, column_check, fault, fit_check
from lockstep.errors import DataError
from lockstep.problems.schema import Column, Schema
from lockstep.serving.http_request import Refusal

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_FAULTS = 100
"""How many faults an answer lists; the rest are counted."""
_NO_JSON = (b"NaN", b"Infinity")
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Read:
    """Checked records as columns: float64 with NaN, or objects with None, for missing values.

    ``body`` is their JSON, under the schema's own names; ``ignored`` are names of no features.
    """

    columns: dict[str, NDArray[Any]]
    rows: int
    single: bool
    body: bytes
    ignored: tuple[str, ...] = ()


class RecordReader:
    """Reads bodies of one problem: one record or a list of records. Built once from the schema."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.names = list(schema.feature_names)
        self._known = frozenset(self.names)
        several = len(self.names) > 1
        self._pick = itemgetter(*self.names) if several else lambda r: (r[self.names[0]],)
        self._checks = [(column.name, column_check(column)) for column in schema.features]
        self._fits = [fit_check(column) for column in schema.features]
        self._numbers = [column.name for column in schema.features if column.holds_numbers]
        self._texts = [column.name for column in schema.features if not column.holds_numbers]
        self.row_reader = RowReader(schema)

    def read(self, body: bytes, most_rows: int) -> Read:
        """Return a body's records as columns.

        Raises Refusal: 400 for a body that is no JSON, 413 for more than ``most_rows`` records,
        422 for records that do not fit, each fault with row (from 1), field, value, message and
        what is allowed.
        """
        content = _parse_json(body)
        single = isinstance(content, dict)
        records = [content] if single else _check_list(content, most_rows)
        columns = self._columns(records)
        sent = body
        ignored: tuple[str, ...] = ()
        if columns is None:
            ignored = tuple(self.row_reader.ignored(records))
            records = self.row_reader.read(records)
            columns = self._columns(records)
            if columns is None:
                raise self._refusal(records)
            sent = orjson.dumps(records[0] if single else records)
        if b"\\" in body or body.count(b'"') != self._quotes(columns, len(records)):
            _refuse_repeated_names(body)
        return Read(columns, len(records), single, sent, ignored)

    def _columns(self, records: list[Any]) -> dict[str, NDArray[Any]] | None:
        """Return the records' columns, or None where one does not fit."""
        try:
            if len(records) == 1:
                return self._columns_of_one(records[0])
            values = self._by_column(records)
            if values is None:
                return None
            checks = zip(self._checks, values, strict=True)
            found = {name: check(part) for (name, check), part in checks}
        except (KeyError, TypeError, IndexError):
            return None
        columns = {name: part for name, part in found.items() if part is not None}
        return columns if len(columns) == len(found) else None

    def _by_column(self, records: list[Any]) -> Iterable[Sequence[Any]] | None:
        """Return each column's values, or None where a record has more or fewer names.

        A record with other names is a KeyError.
        """
        keys, width = list(records[0]), len(self.names)
        if any(len(record) != width for record in records):
            return None
        if not all(map(keys.__eq__, map(list, records))):
            return zip(*map(self._pick, records), strict=True)
        # all records have their names in one order, as in most bodies
        values = list(chain.from_iterable(map(dict.values, records)))
        parts = {key: values[place::width] for place, key in enumerate(keys)}
        return [parts[name] for name in self.names]

    def _columns_of_one(self, record: Any) -> dict[str, NDArray[Any]] | None:
        """Return one record's columns, or None where it does not fit.

        They share one array, as creating an array takes longer than checking a value.
        """
        values = self._pick(record)
        if len(record) != len(values) or not all(map(call, self._fits, values)):
            return None
        # None becomes NaN
        numbers = np.array([record[name] for name in self._numbers], dtype=np.float64)
        found = dict(zip(self._numbers, numbers[:, np.newaxis], strict=True))
        if self._texts:
            texts = np.array([record[name] for name in self._texts], dtype=object)
            found.update(zip(self._texts, texts[:, np.newaxis], strict=True))
        return found

    def _quotes(self, columns: Mapping[str, NDArray[Any]], rows: int) -> int:
        """Return how many quotes a body of these columns has: no name twice, none escaped."""
        texts = sum(rows - columns[name].tolist().count(None) for name in self._texts)
        return 2 * (rows * len(self.names) + texts)

    def _refusal(self, records: list[Any]) -> Refusal:
        """Return the refusal of records that do not fit: the first faults in full, all counted."""
        count = sum(map(self._fault_count, records))
        return self.refusal(records, range(1, len(records) + 1), count, len(records) == 1)

    def refusal(
        self, records: Iterable[Any], numbers: Iterable[int], count: int, single: bool = False
    ) -> Refusal:
        """Return the refusal of records of which some do not fit, ``count`` faults in all.

        ``numbers`` are the records' places in the request, from 1.
        """
        faults: list[dict[str, Any]] = []
        for number, record in zip(numbers, records, strict=True):
            found = islice(self._faults_of(record), MOST_FAULTS - len(faults))
            faults += [{"row": number, **fault} for fault in found]
        where = "the record" if single else f"record {faults[0]['row']}"
        return self.refusal_of(faults, count, where)

    def refusal_of(self, faults: list[dict[str, Any]], count: int, where: str) -> Refusal:
        """Return the refusal that lists faults, of which there are ``count`` in all."""
        more = f"; and {count - 1:,} more fault{'s' * (count > 2)}" if count > 1 else ""
        line = f"{where} does not fit {self.schema.name}: {faults[0]['message']}{more}"
        details = {} if count <= len(faults) else {"fault_count": count}
        return Refusal(422, line, faults, details=details)

    def _faults_of(self, record: Any) -> Iterator[dict[str, Any]]:
        if not isinstance(record, dict):
            message = f"the record is {_kind(record)}, not an object of feature names and values"
            yield _fault(None, record, message, "an object")
            return
        yield from self.name_faults(record)
        for column in self.schema.features:
            value = record.get(column.name)
            if column.name in record and (found := _value_fault(column, value)):
                yield _fault(column.name, value, found, allowed(column))

    def name_faults(self, record: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield what is wrong with the names of a record: missing ones, then unknown ones."""
        absent = [column for column in self.schema.features if column.name not in record]
        for column in absent:
            null = " (null is allowed where unknown)" if column.missing else ""
            yield _fault(column.name, None, f"missing {column.name}{null}", allowed(column))
        near = [column.name for column in absent] or self.names
        for name in record:
            if name not in self._known:
                message = unknown_name(self.schema, name, near)
                yield _fault(_cut(name), record[name], message, ", ".join(near))

    def _fault_count(self, record: Any) -> int:
        if not isinstance(record, dict):
            return 1
        fits = dict(zip(self.names, self._fits, strict=True))
        wrong = sum(not (name in fits and fits[name](value)) for name, value in record.items())
        return wrong + len(fits.keys() - record.keys())


def _check_list(content: Any, most_rows: int) -> list[Any]:
    """Return the records of a body that holds no single one."""
    if not isinstance(content, list):
        fix = "send an object of features, or a list of them"
        raise Refusal(422, f"the body is {_kind(content)}; {fix}")
    if not content:
        raise Refusal(422, "no records: send at least one")
    if len(content) > most_rows:
        fault = f"{len(content):,} records are more than {most_rows:,}"
        raise Refusal(413, f"{fault}; send fewer at a time")
    return content


def _value_fault(column: Column, value: Any) -> str | None:
    """Return what is wrong with one value, or None; in words for files, except JSON types."""
    if isinstance(value, bool | list | dict):
        kind = "a number" if column.holds_numbers else "text"
        return f"{column.name} = {_shown(value)} must be {kind}"
    return fault(column, value)


def _fault(field: str | None, value: Any, message: str, allowed: Any) -> dict[str, Any]:
    return {"field": field, "value": _shown(value), "message": message, "allowed": allowed}


def _shown(value: Any) -> Any:
    """Return a value cut to a few words; true and false as JSON writes them."""
    if isinstance(value, list | dict):
        return f"{_kind(value)} of {len(value)}"
    if isinstance(value, bool):
        return "true" if value else "false"
    return _cut(value) if isinstance(value, str) else value


def _cut(text: str) -> str:
    return text if len(text) <= MOST_LETTERS else f"{text[:MOST_LETTERS]}…"


def _kind(value: Any) -> str:
    kinds = {str: "a text", bool: "true or false", list: "a list", type(None): "null"}
    kinds |= dict.fromkeys((int, float), "a number")
    return kinds.get(type(value), "an object")


def _parse_json(body: bytes) -> Any:
    try:
        return orjson.loads(body.removeprefix(_BOM))
    except orjson.JSONDecodeError as error:
        raise Refusal(400, _broken(body, error)) from None


def _broken(body: bytes, error: orjson.JSONDecodeError) -> str:
    if not body.strip():
        return "the body is empty; send a record as JSON"
    place = f"line {error.lineno}, column {error.colno}"
    rest = error.doc[error.pos : error.pos + 9].encode() if isinstance(error.doc, str) else b""
    constant = next((name for name in _NO_JSON if rest.startswith(name)), None)
    if constant:
        fix = "send null where a value is not known"
        return f"{constant.decode()} at {place} is no JSON value; {fix}"
    return f"the body is no valid JSON: {error.msg.split(':')[0]} at {place}"


def _refuse_repeated_names(body: bytes) -> None:
    """Refuse a body that names a feature twice: orjson keeps the last value silently."""
    try:
        json.loads(body.removeprefix(_BOM), object_pairs_hook=unique_names)
    except DataError as error:
        raise Refusal(400, str(error)) from None


def joined_records(bodies: Iterable[bytes]) -> bytes:
    """Return the records of several bodies, lists or single ones, as one list."""
    return b"[" + b",".join(map(_inner, bodies)) + b"]"


def _inner(body: bytes) -> bytes:
    text = body.removeprefix(_BOM).strip()
    return text[1:-1] if text.startswith(b"[") else text
