"""A prepared table, read by its schema: one file, a train/test pair, or X and y of both.

File names alone tell which file is which (``form_of``): X_train, X_test, y_train and y_test, where
one of them is there (others beside them are not read); else the only file, whatever its name; else
two files, one with the word train in its name and the other with the word test. Anything else is
refused: a name with both words (train_test.csv) says nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from lockstep.data.copies import repeats, row_hashes
from lockstep.data.dates import month_of, parse_dates
from lockstep.data.values import made_numbers, missing_texts, of_numbers, read_cells, texts
from lockstep.errors import DataError, listed, nearest
from lockstep.problems.headers import clean_name, unique_names
from lockstep.problems.schema import Column, Schema
from lockstep.problems.source_files import is_leftover
from lockstep.problems.text_tables import (
    RawTable,
    TextTable,
    composed_cells,
    holds_decimals,
    missing_source,
    numbers,
    read_text,
    readings,
    require_columns,
    trimmed,
)

SUFFIXES = (".csv", ".tsv", ".txt", ".data", ".parquet")
PARTS = ("train", "test")
_FORMS = (
    "X_train, X_test, y_train and y_test; or one file with 'train' and one with 'test' in its "
    "name; or one file"
)
_PART_WORD = re.compile(r"(?<![a-z])(train|test)(?:ing)?(?![a-z])")


def read_table(folder: Path, schema: Schema, mark_copies: bool = False) -> RawTable:
    """Read the prepared table in ``folder`` into the columns of ``schema``, none dropped.

    Its own split becomes the column of kind part; group, id and date are made where it has none.
    Copies are marked file by file: only there every column can be compared.
    """
    opened = _open(folder, schema)
    pieces = _with_one_form([typed(text, schema, part) for text, part in opened], opened, schema)
    table = _with_ids(pd.concat(pieces, ignore_index=True), schema)
    counts = sum((Counter(text.counts) for text, _ in opened), Counter[str]())
    copies = None
    if mark_copies:
        copies = np.concatenate([repeats(row_hashes(text.columns.values())) for text, _ in opened])
    return RawTable(table, {}, len(table), dict(counts), copies)


def part_of(name: str) -> str | None:
    """Return the part that a file's name says by train or test; None for neither or both."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", Path(name).stem).lower()
    words = set(_PART_WORD.findall(spaced))
    return words.pop() if len(words) == 1 else None


def form_of(paths: Sequence[Path], where: Path) -> dict[str, Path]:
    """Return which file is which: by x_train, x_test, y_train, y_test; by train, test; or by all.

    Files whose names make no table, or more than one, are a DataError.
    """
    sides = [f"{side}_{part}" for side in "xy" for part in PARTS]
    parted = [path for path in paths if path.stem.lower() in sides]
    if parted:
        return _one_each(parted, sides, where)
    if len(paths) == 1:
        return {"all": paths[0]}
    parts = [part_of(path.name) or "" for path in paths]
    if len(paths) == 2 and set(parts) == set(PARTS):
        return dict(zip(parts, paths, strict=True))
    raise DataError(
        f"{where} holds {_names(paths)}: not clear which is the table; a prepared table is {_FORMS}"
    )


def _one_each(paths: Sequence[Path], wanted: list[str], where: Path) -> dict[str, Path]:
    """Return one path for each wanted name, in order; DataError if it has none or two."""
    stems = [path.stem.lower() for path in paths]
    lacking = [name.replace("x_", "X_") for name in wanted if name not in stems]
    if lacking:
        raise DataError(f"{where} lacks {', '.join(lacking)}; a prepared table is {_FORMS}")
    if len(paths) > len(wanted):
        twins = [path for path, stem in zip(paths, stems, strict=True) if stems.count(stem) > 1]
        raise DataError(f"{where} holds {_names(twins)}: keep the one that is meant")
    found = dict(zip(stems, paths, strict=True))
    return {name: found[name] for name in wanted}


def _names(paths: Sequence[Path]) -> str:
    return listed([path.name for path in paths], 8) or "no table"


def _open(folder: Path, schema: Schema) -> list[tuple[TextTable, str | None]]:
    """Return the tables in ``folder``, each with its part."""
    below = [path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES]
    visible = [p for p in below if not any(map(is_leftover, p.relative_to(folder).parts))]
    form = form_of(sorted(visible), folder)
    if "all" in form:
        return [(read_any(form["all"]), None)]
    if "train" in form:
        return [(read_any(form[part]), part) for part in PARTS]
    pairs = {part: (form[f"x_{part}"], form[f"y_{part}"]) for part in PARTS}
    return [(_features_and_target(*pair, schema), part) for part, pair in pairs.items()]


def _features_and_target(x_path: Path, y_path: Path, schema: Schema) -> TextTable:
    """Return X with the target out of y, row by row."""
    features, target = read_any(x_path), read_any(y_path)
    if features.rows != target.rows:
        both = f"{features.path.name} has {features.rows} rows and {target.path.name} {target.rows}"
        raise DataError(f"{both}: one is truncated")
    named = _renamed(target.columns, schema, target.path.name)
    if schema.target not in named and len(named) == 1:
        named = {schema.target: next(iter(named.values()))}
    require_columns([schema.target], named, target.path.name)
    columns = features.columns | {schema.target: named[schema.target]}
    return replace(features, columns=columns, numbers=features.numbers | target.numbers)


def read_any(path: Path) -> TextTable:
    """Read a delimited or Parquet file as text; a damaged one is a DataError."""
    if path.suffix.lower() != ".parquet":
        return read_text(path, keep_twins=True)
    try:
        table = parquet.read_table(path)
    except FileNotFoundError:
        raise missing_source(path) from None
    except (pa.ArrowException, OSError) as error:
        fault = f"is no readable Parquet file ({str(error).splitlines()[0]})"
        raise DataError(f"{path.name} {fault}; make it again") from None
    if not table.num_columns:
        raise DataError(f"{path.name} holds no columns; make it again")
    names, twins = unique_names([clean_name(name) for name in table.column_names])
    cells = (_as_text(table.column(i), name, path) for i, name in enumerate(names))
    kinds = dict(zip(names, table.schema.types, strict=True))
    decimals = frozenset(name for name, kind in kinds.items() if holds_decimals(kind))
    return TextTable(path, "", dict(zip(names, cells, strict=True)), twins, numbers=decimals)


def _as_text(column: Any, name: str, path: Path) -> Any:
    try:
        if pa.types.is_boolean(column.type):
            column = column.cast(pa.int8())
        return composed_cells(trimmed(_as_whole(column)))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise DataError(
            f"{path.name}: the column {name} holds {column.type}, no single values; "
            "leave it out, or write it as text"
        ) from None


def _as_whole(column: Any) -> Any:
    """Return floats that are all whole numbers as such: Arrow writes 1e10 with an exponent.

    A file of text has their digits, by which dates and codes are known. From 2**53 on, a float has
    no exact ones.
    """
    if not pa.types.is_floating(column.type):
        return column
    try:
        if (pc.max(pc.abs(column)).as_py() or 0) >= 2**53:
            return column
        none = pa.scalar(None, column.type)
        return pc.if_else(pc.is_nan(column), none, column).cast(pa.int64())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):  # decimals, infinite or huge ones
        return column


def _own_names(schema: Schema) -> dict[str, str]:
    """Return the schema's name of each alias."""
    columns = schema.columns
    return {a: c.name for c in columns.values() for a in c.aliases if a not in columns}


def _renamed(columns: dict[str, Any], schema: Schema, where: str) -> dict[str, Any]:
    """Return the columns under the schema's names; two names of one column are a DataError."""
    own = _own_names(schema)
    found: dict[str, str] = {}
    for given in columns:
        name = own.get(given, given)
        if name in found:
            both = f"'{found[name]}' and '{given}'"
            raise DataError(f"{where}: {both} are two names of one column ({name}); keep one")
        found[name] = given
    return {name: columns[given] for name, given in found.items()}


def typed(text: TextTable, schema: Schema, part: str | None = None) -> pd.DataFrame:
    """Return one file's columns by the schema, with dtypes; features and target are required."""
    columns, own = _renamed(text.columns, schema, text.path.name), _own_names(schema)
    decimals = frozenset(own.get(name, name) for name in text.numbers)
    named = replace(text, columns=columns, numbers=decimals)
    named.require(_needed(named, schema))
    _refuse_unclear(text, named, schema)
    read = {column.name: _values(named, column) for column in schema.columns.values()}
    found = {name: values for name, values in read.items() if values is not None}
    if part and schema.part:
        found[schema.part] = pd.Series([part] * named.rows, dtype="str")
    return pd.DataFrame(found)


def _refuse_unclear(text: TextTable, named: TextTable, schema: Schema) -> None:
    """Refuse a used column that comes up twice, and one not declared where all must be."""
    refuse_twins(text, schema)
    known = _used(schema).union(schema.left_out or ())
    extra = [name for name in named.columns if name not in known]
    if schema.left_out is not None and extra:
        absent = [name for name in schema.columns if name not in named.columns]
        unknown = listed(f"'{name}'{nearest(name, absent)}" for name in extra)
        raise DataError(
            f"{named.path.name} has columns that the schema of {schema.name} does not know: "
            f"{unknown}; declare each under columns, as an alias of one, or under left_out"
        )


def refuse_twins(text: TextTable, schema: Schema) -> None:
    """Refuse a file in which a name that the schema uses stands twice, unless it knows both."""
    used = _used(schema)
    for twin, name in text.twins.items():
        if name in used and twin not in used.union(schema.left_out or ()):
            raise DataError(f"{text.path.name} has the column '{name}' twice; rename or remove one")


def _used(schema: Schema) -> set[str]:
    return {n for c in schema.columns.values() for n in (c.name, *c.aliases, *c.made_of)}


def _needed(text: TextTable, schema: Schema) -> list[str]:
    """Return the columns a file must have: features and target, or what it makes them of."""
    names: list[str] = []
    for name in [*schema.feature_names, schema.target]:
        of = schema.columns[name].made_of
        is_made = name not in text.columns and any(source in text.columns for source in of)
        names += of if is_made else [name]
    return list(dict.fromkeys(names))


def _values(text: TextTable, column: Column) -> Any:
    """Return one column of the schema, made of others where the file lacks it, or None."""
    of = [column.name] if column.name in text.columns else column.made_of
    if not of:
        return None
    text.require(of)
    if column.kind == "date":
        return _dates(text, of, column)
    if column.kind in ("group", "id"):
        return key_values(text, of[0])
    if column.holds_numbers and of != [column.name]:
        parts = [Column(name=name, kind="numeric") for name in of]
        return made_numbers(column, [_cells(text, part.name, part) for part in parts])
    return _cells(text, of[0], column)


def _cells(text: TextTable, name: str, column: Column) -> Any:
    """Return a file's column as one of the schema; a cell that is no number is a DataError."""
    if name in text.numbers:
        column = of_numbers(column)
    values, bad = read_cells(column, text.columns[name])
    if bad.any() and (meant := readings(text.columns[name][int(bad.argmax())].as_py())):
        fix = f"set `decimal` of {column.name} in the schema to the sign before its decimals"
        text.refuse(name, bad, f"{meant}; {fix}")
    text.refuse(name, bad)
    return values


def key_values(text: TextTable, name: str) -> pd.Series:
    """Return ids as int64 where all are whole numbers, else as text."""
    cells = text.columns[name]
    try:
        return pd.Series(cells.cast(pa.int64()).to_numpy(zero_copy_only=False), dtype="int64")
    except (pa.ArrowInvalid, ValueError):
        return texts(cells)


def _with_one_form(
    pieces: list[pd.DataFrame], opened: list[tuple[TextTable, str | None]], schema: Schema
) -> list[pd.DataFrame]:
    """Return the files' rows with ids as text in all of them where one file has text."""
    for column in (c for c in schema.columns.values() if c.kind in ("group", "id")):
        kinds = {str(piece[column.name].dtype) for piece in pieces if column.name in piece}
        if len(kinds) > 1:
            pieces = [
                piece.assign(**{column.name: _key_texts(text, column, schema)})
                for piece, (text, _) in zip(pieces, opened, strict=True)
            ]
    return pieces


def _key_texts(text: TextTable, column: Column, schema: Schema) -> pd.Series:
    """Return ids as the file writes them: 007 is not 7 where another file has A-7."""
    named = _renamed(text.columns, schema, text.path.name)
    return texts(named[column.name if column.name in named else column.made_of[0]])


def date_part(text: TextTable, part: str, name: str) -> Any:
    """Return the years, months or days of a column; words for months become their numbers."""
    if part == "month":
        words = texts(text.columns[name])
        months = {word: month_of(word) for word in words.dropna().unique()}
        if any(months.values()):
            return words.map(months).to_numpy(np.float64)
    return numbers(text, name)


def _dates(text: TextTable, of: list[str], column: Column) -> Any:
    """Return days as datetime64[ms], or positions in time where the schema says integer.

    Positions are int64, or float64 where some rows have none.
    """
    if column.integer:
        keys = key_values(text, of[0])
        is_whole = keys.dtype == np.int64
        position = Column(name=of[0], kind="numeric", absent=column.absent)
        return keys if is_whole else _cells(text, of[0], position)
    if len(of) > 1:
        parts = zip(("year", "month", "day"), of, strict=False)
        table = pd.DataFrame({part: date_part(text, part, name) for part, name in parts})
        table = table if len(of) == 3 else table.assign(day=1)
        return pd.to_datetime(table, errors="coerce").astype("datetime64[ms]")
    written = texts(text.columns[of[0]], missing_texts(column))
    dates = parse_dates(written, column.format)
    bad = (dates.isna() & written.notna()).to_numpy()
    text.refuse(of[0], bad, f"no date; write it as {column.format or 'YYYY-MM-DD'}, or empty it")
    return dates.astype("datetime64[ms]")


def _with_ids(table: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """Number the rows where the source has no group or id: each row stands for itself."""
    keys = [c.name for c in schema.columns.values() if c.kind in ("group", "id")]
    absent = [name for name in keys if name not in table.columns]
    return table.assign(**{name: np.arange(len(table), dtype=np.int64) for name in absent})
