"""Records to predict, read as rows of the file that was trained on: by its names and its cells."""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from lockstep.data.record_text import Given
from lockstep.data.tables import read_any, refuse_twins
from lockstep.data.values import (
    boolean_values,
    column_check,
    comma_cell,
    fault,
    json_value,
    json_values,
    made_numbers,
    text_reader,
)
from lockstep.errors import DataError, nearest
from lockstep.problems.dialects import counted
from lockstep.problems.headers import clean_name
from lockstep.problems.schema import Column, Schema
from lockstep.problems.text_tables import EXAMPLES

Record = Mapping[str, Any]
TextReader = Callable[[Iterable[str]], dict[str, Any]]
MOST_LETTERS = 40
"""How much of a text from outside a message repeats."""
_PLAIN_NUMBERS = text_reader(Column(name="number", kind="numeric"))

_POINT = re.compile(r"[+-]?\d*\.\d+")
_THOUSAND = re.compile(r"[+-]?[1-9]\d{0,2}\.\d{3}")
_ROW_NUMBERS = ("Unnamed: 0", "__index_level_0__")
"""How pandas calls the row numbers that it writes beside a table."""


@dataclass(frozen=True)
class Names:
    """What becomes of the names of a record."""

    kept: list[tuple[str, str]]
    """Names as given, and the schema's."""
    made: list[tuple[Column, list[str]]]
    """Features that are made of other columns, with the names of those as given."""
    ignored: list[str]


class RowReader:
    """Reads records as rows of the file that was trained on. Built once from the schema.

    Aliases become the schema's names, texts are read as cells, features that the file lacks are
    made of its columns, and its columns that are no features are ignored.
    """

    def __init__(self, schema: Schema) -> None:
        self._own = frozenset(schema.feature_names)
        self._readers = [(c.name, text_reader(c), boolean_values(c)) for c in schema.features]
        self._aliases = {_clean(name): own for name, own in schema.feature_aliases.items()}
        made = (column for column in schema.features if column.made_of)
        self._made = [(column, [_clean(name) for name in column.made_of]) for column in made]
        self._others = {_clean(name): what for name, what in other_columns(schema).items()}

    def read(self, records: Sequence[Any]) -> list[Any]:
        """Return records with plain values; what does not fit stays, for a check to refuse."""
        names: dict[tuple[Any, ...], Names] = {}
        rows = [self._row(r, names) if isinstance(r, Mapping) else r for r in records]
        read_rows = [row for row in rows if isinstance(row, dict)]
        for name, read, meant in self._readers if names else ():
            _read_column(name, read, meant, read_rows)
        return rows

    def ignored(self, records: Iterable[Any]) -> dict[str, str]:
        """Return the columns of records that are no features, each with what it is."""
        keys = dict.fromkeys(tuple(record) for record in records if isinstance(record, Mapping))
        names = (name for one in keys for name in self.names_of(one).ignored)
        return {name: self._others[_clean(name)] for name in names}

    def _row(self, record: Record, known: dict[tuple[Any, ...], Names]) -> dict[str, Any]:
        names = known.get(keys := tuple(record))
        if names is None:
            names = known[keys] = self.names_of(keys)
        row = {own: record[name] for name, own in names.kept}
        for column, of in names.made:
            row[column.name] = _made(column, [record[name] for name in of])
        return row

    def names_of(self, keys: tuple[Any, ...]) -> Names:
        """Return what becomes of a record's names."""
        clean = {name: name if name in self._own else _clean(name) for name in keys}
        own = {name: self._aliases.get(clean[name], clean[name]) for name in keys}
        count = Counter(own.values())
        # two names of one feature stay as they are, to be refused
        own = {name: name if count[known] > 1 else known for name, known in own.items()}
        given = {clean[name]: name for name in keys}
        made = [
            (column, [given[name] for name in of])
            for column, of in self._made
            if column.name not in own.values() and given.keys() >= set(of)
        ]
        used = {name for _, of in made for name in of}
        kept = [(name, known) for name, known in own.items() if known not in self._others]
        return Names(kept, made, [n for n in keys if own[n] in self._others and n not in used])


def _clean(name: Any) -> Any:
    """Return a name as the header of a file is read; what is no text stays, to be refused."""
    return clean_name(name) if isinstance(name, str) else name


def other_columns(schema: Schema) -> dict[str, str]:
    """Return the columns that a file may have beside its features, each with what it is."""
    found = dict.fromkeys(_ROW_NUMBERS, "row numbers")
    found |= dict.fromkeys(schema.left_out or (), "left out")
    for column in schema.columns.values():
        found |= dict.fromkeys(column.made_of, f"makes {column.name}")
        if not column.is_feature:
            found |= dict.fromkeys((column.name, *column.aliases), column.kind)
    features = {*schema.feature_names, *schema.feature_aliases}
    return {name: what for name, what in found.items() if name not in features}


def mixed_decimals(schema: Schema, records: Iterable[Record]) -> str:
    """Return what to say where texts have decimal points, and others points that part thousands.

    In a column with decimal commas 84.015 is 84015, as in the file trained on, and 68.1 is 68.1.
    """
    names = _with_commas(schema)
    texts = [r[n].strip() for r in records if names for n in names & r.keys() if type(r[n]) is str]
    thousands = list(filter(_THOUSAND.fullmatch, texts))
    decimals = [t for t in texts if _POINT.fullmatch(t) and not _THOUSAND.fullmatch(t)]
    if not thousands or not decimals:
        return ""
    shown = f"{counted(len(thousands), 'number')} such as '{thousands[0]}'"
    return (
        f"{shown} read as {thousands[0].replace('.', '')}, as the file trained on has decimal "
        f"commas; '{decimals[0]}' is written with a decimal point"
    )


def _read_column(
    name: str, read: TextReader, meant: Mapping[bool, Any], rows: Sequence[dict[str, Any]]
) -> None:
    """Read one column's texts and booleans in place; each distinct text is read once."""
    values = [row.get(name) for row in rows]
    if texts := {value for value in values if isinstance(value, str)}:
        found = read(texts)
        for row, value in zip(rows, values, strict=True):
            if isinstance(value, str):
                row[name] = found[value]
    if meant:
        for row, value in zip(rows, values, strict=True):
            if isinstance(value, bool):
                row[name] = meant.get(value, value)


def _made(column: Column, of: list[Any]) -> Any:
    """Return a feature's value out of those of its columns, as a table makes it (0 divides none).

    A value that is no number is returned itself, to be refused.
    """
    if not column.holds_numbers:
        return of[0]
    parts = [_PLAIN_NUMBERS([one])[one] if isinstance(one, str) else one for one in of]
    for part in parts:
        if part is not None and type(part) not in (int, float):
            return part
    try:
        return json_value(made_numbers(column, parts).item())
    except OverflowError:
        return parts[0]


def given_records(
    given: Given, schema: Schema, tell: Callable[[str], object] = str
) -> list[dict[str, Any]]:
    """Return records as they were given; a table that came through a pipe becomes a file first.

    ``tell`` is called with each line to say about how a table was read.
    """
    if given.records is not None:
        return given.records
    if given.path:
        return table_records(given.path, schema, tell)
    suffix = ".parquet" if given.content.startswith(b"PAR1") else ""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, Path(given.where).name + suffix)
        path.write_bytes(given.content)
        return table_records(path, schema, tell)


def table_records(
    path: Path, schema: Schema, tell: Callable[[str], object] = str
) -> list[dict[str, Any]]:
    """Return the rows of a delimited or Parquet file as records of its cells."""
    text = read_any(path)
    for note in (*text.notes, *text.questions):
        tell(f"{path.name}: {note}")
    refuse_twins(text, schema)
    if not text.rows:
        raise DataError(
            f"{path.name} is neither JSON nor a table with a header line and rows; "
            "give one of the two"
        )
    cells = {name: values.to_pylist() for name, values in text.columns.items()}
    for name in _with_commas(schema).intersection(text.numbers):
        cells[name] = [cell and comma_cell(cell) for cell in cells[name]]
    for name in _booleans(path, schema):
        cells[name] = [None if cell is None else cell == "1" for cell in cells[name]]
    rows = zip(*cells.values(), strict=True)
    return [dict(zip(text.columns, row, strict=True)) for row in rows]


def _with_commas(schema: Schema) -> set[str]:
    """Return the names, in files, of features with decimal commas in the file trained on."""
    return {n for c in schema.features if c.decimal == "," for n in (c.name, *c.aliases)}


def _booleans(path: Path, schema: Schema) -> list[str]:
    """Return the boolean columns of a Parquet file that are texts in the file trained on."""
    if path.suffix.lower() != ".parquet":
        return []
    texts = {c.name for c in schema.features if not c.holds_numbers}
    own = schema.feature_aliases
    fields = parquet.read_schema(path)
    return [
        f.name for f in fields if pa.types.is_boolean(f.type) and own.get(f.name, f.name) in texts
    ]


def records_to_table(schema: Schema, records: Sequence[Record]) -> pd.DataFrame:
    """Return the features of records that fit, with the tidy table's dtypes and order.

    The first record that does not fit is a DataError that names its number.
    """
    if not records:
        raise DataError("no records: give at least one")
    rows = RowReader(schema).read(records)
    names = set(schema.feature_names)
    if any(not isinstance(row, dict) or row.keys() != names for row in rows):
        _refuse_first(schema, rows)
    columns: dict[str, Any] = {}
    for column in schema.features:
        values = column_check(column)(json_values([row[column.name] for row in rows]))
        if values is None:
            _refuse_first(schema, rows)
        columns[column.name] = values if column.holds_numbers else pd.Series(values, dtype="str")
    return pd.DataFrame(columns)


def _refuse_first(schema: Schema, rows: Sequence[Any]) -> NoReturn:
    for number, row in enumerate(rows, start=1):
        check_row(schema, row, f"record {number}" if len(rows) > 1 else "the record")
    raise AssertionError("the check of columns refused what the check of values passes")


def check_record(schema: Schema, record: Record, where: str = "the record") -> None:
    """Raise a DataError that lists what a record misses, has too much, or has out of bounds.

    Every feature must be there; None (or NaN) is a missing value where the schema allows one.
    A text is a cell: "2" and 2.0 pass for the code 2.
    """
    check_row(schema, RowReader(schema).read([record])[0], where)


def unknown_name(schema: Schema, name: Any, near: Iterable[str]) -> str:
    """Return what is wrong with a name that is no feature, and what to do; long names are cut."""
    shown = str(name) if len(str(name)) <= MOST_LETTERS else f"{str(name)[:MOST_LETTERS]}…"
    own = schema.feature_aliases.get(_clean(name), _clean(name))
    if own in schema.feature_names:
        return f"{shown} is another name of {own}, which is there, too; keep one"
    return f"no feature is called {shown}{nearest(shown, near) or '; leave it out'}"


def check_row(schema: Schema, record: Any, where: str) -> None:
    """Raise the DataError of ``check_record`` for a record that a ``RowReader`` read."""
    if not isinstance(record, Mapping):
        raise DataError(
            f"{where} is no object of feature names and values; give one like the input example"
        )
    absent = [name for name in schema.feature_names if name not in record]
    extra = [name for name in record if name not in schema.feature_names]
    faults = []
    if absent:
        faults.append(f"missing {', '.join(absent)} (null is allowed where unknown)")
    if extra:
        near = absent or schema.feature_names
        faults += [unknown_name(schema, name, near) for name in extra]
    found = (fault(c, record[c.name]) for c in schema.features if c.name in record)
    faults += [one for one in found if one]
    if faults:
        shown = "; ".join(faults[:EXAMPLES])
        more = f"; and {len(faults) - EXAMPLES} more faults" if len(faults) > EXAMPLES else ""
        raise DataError(f"{where} does not fit {schema.name}: {shown}{more}")
