"""The one reader of values: text cells, JSON values and typed columns, by a schema's column.

A cell means the same in the file trained on, in a file to predict and as a JSON text of the API:
letters are composed, blanks around it are cut, ``missing_texts`` are missing, and numbers follow
the column's `decimal`.
Sources differ in what happens to a value that does not fit, and in what is no text:

| source                        | missing                    | value that does not fit        |
|-------------------------------|----------------------------|--------------------------------|
| prepared table                | ``missing_texts``          | set to missing and counted     |
| file to predict, API          | also null (Python: NaN)    | refused                        |
| label of the API              | never                      | refused; a number 1.0: no class|
| golden rows                   | null                       | stays: they hold unknown codes |

An infinite number can only arise in a table, from a ratio; it stays there. Elsewhere it is refused.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Sequence, Set
from functools import partial
from operator import eq
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lockstep.errors import listed
from lockstep.problems.schema import Column, Schema
from lockstep.problems.text_tables import (
    MISSING,
    bare_numbers,
    clear_points,
    composed_cells,
    parse_numbers,
    readings,
    trimmed,
    trimmed_text,
    written_number,
)

MOST_CODES = 60
"""How many codes ``allowed`` lists at most."""
FEW_TEXTS = 100
"""Up to how many texts are read one by one."""
_AS_WRITTEN = {".": "1,234.5", ",": "1.234,5"}
_BOOLEANS = {True: "true", False: "false"}
_NUMBERS = frozenset({int, float})
_TEXTS = frozenset({str})
_JSON = frozenset({int, float, str, bool, type(None)})


def missing_texts(column: Column) -> frozenset[str]:
    """Return the cells that mean a missing value in a column; a declared code is a level."""
    return MISSING.union(column.absent).difference(map(str, column.codes))


def of_numbers(column: Column) -> Column:
    """Return a column as it is read where a file holds numbers, not texts: with decimal points."""
    return column.model_copy(update={"decimal": "."}) if column.decimal == "," else column


def comma_cell(cell: str) -> str | float:
    """Return a number's text as a column with decimal commas has it; with an exponent, the number.

    Cells with decimal commas have no exponents.
    """
    return float(cell) if "e" in cell else cell.replace(".", ",")


def read_cells(column: Column, cells: Any) -> tuple[Any, NDArray[np.bool_]]:
    """Return cells (a pyarrow string array, trimmed) as a column, and which of them are no numbers.

    The column is float64 with NaN, or a Series of str with missing values; nothing is checked yet.
    """
    missing, cells = missing_texts(column), _respelt(cells, column)
    if not column.holds_numbers:
        return texts(cells, missing), np.zeros(len(cells), dtype=bool)
    prepare = partial(bare_numbers, decimal=column.decimal) if column.decimal else clear_points
    return parse_numbers(cells, missing, prepare)


def read_texts(column: Column, given: Iterable[str]) -> dict[str, Any]:
    """Return JSON texts, each with what it means as a cell of the column: float, str or None.

    A text among numbers that is none stays as it is, for the check to refuse.
    """
    return text_reader(column)(given)


def text_reader(column: Column) -> Callable[[Iterable[str]], dict[str, Any]]:
    """Return ``read_texts`` of one column, made once.

    Few texts are read one by one, as a call of pyarrow takes as long as a hundred of them. Both
    ways give the same.
    """
    read_one = _cell_reader(column)

    def read(given: Iterable[str]) -> dict[str, Any]:
        cells = list(dict.fromkeys(given))
        if read_one is None or len(cells) > FEW_TEXTS:
            return _read_many(column, cells)
        return {cell: read_one(cell) for cell in cells}

    return read


def _cell_reader(column: Column) -> Callable[[str], Any] | None:
    """Return what reads one text as ``_read_many`` does; None where numbers have a form of own."""
    missing, respell = missing_texts(column), _spelling(column) or str

    def read_text(text: str) -> str | None:
        cell = respell(trimmed_text(text))
        return None if cell in missing else cell

    def read_number(text: str) -> float | str | None:
        cell = respell(trimmed_text(text))
        if cell in missing:
            return None
        number = None if readings(cell) else written_number(cell)
        return text if number is None else number

    if not column.holds_numbers:
        return read_text
    return None if column.decimal else read_number


def _read_many(column: Column, cells: list[str]) -> dict[str, Any]:
    plain = composed_cells(trimmed(pa.array(cells, pa.string())))
    values, bad = read_cells(column, plain)
    found = zip(cells, values.tolist(), bad.tolist(), strict=True)
    return {
        cell: cell if is_bad else None if value != value else value for cell, value, is_bad in found
    }


def _respelt(cells: Any, column: Column) -> Any:
    """Return cells with the other spellings of a code, and true and false, replaced by the code."""
    respell = _spelling(column)
    if respell is None:
        return cells
    coded = cells.dictionary_encode()
    codes = [respell(text) for text in coded.dictionary.to_pylist()]
    return pa.array(codes, pa.string()).take(coded.indices)


def _spelling(column: Column) -> Callable[[str], str] | None:
    """Return what makes another spelling of a code, and true and false, the code; None if none."""
    meant, other = boolean_values(column), column.spellings
    if not other and not meant:
        return None
    words = {_BOOLEANS[b]: str(int(b)) if column.holds_numbers else str(meant[b]) for b in meant}
    return lambda text: other.get(text) or words.get(text.lower(), text)


def texts(cells: Any, missing: Set[str] = MISSING) -> pd.Series:
    """Return cells (a pyarrow string array) as a Series of str, missing where a text means so."""
    absent = pc.is_in(cells, value_set=pa.array(sorted(missing)))
    return pd.Series(pc.if_else(absent, None, cells).to_pandas(), dtype="str")


def boolean_values(column: Column) -> dict[bool, float | str]:
    """Return what true and false mean in a column: its codes True and False, or its only two, 0, 1.

    Tools write such a column of a CSV file as booleans, once they have read it, and the words of a
    boolean column in capitals of their own.
    """
    if column.holds_numbers:
        return {False: 0.0, True: 1.0} if set(column.codes) == {0, 1} else {}
    written = {str(code).lower(): str(code) for code in column.codes}
    is_clear = len(written) == len(column.codes)
    return {b: written[w] for b, w in _BOOLEANS.items() if is_clear and w in written}


def made_numbers(column: Column, parts: Sequence[Any]) -> NDArray[np.float64]:
    """Return the numbers that a column is made of: one, or the ratio of two, in the schema's unit.

    A missing number (NaN) and a division by 0 make a missing one. By a tiny number it is infinite,
    which no range holds.
    """
    first, *others = (np.asarray(part, dtype=np.float64) for part in parts)
    with np.errstate(over="ignore"):
        for second in others:
            first = first / np.where(second == 0, np.nan, second)
        return first / column.per


def typed_column(column: Column, values: Sequence[Any]) -> pd.Series:
    """Return plain values as a column of the tidy dtype, None as missing; nothing is checked."""
    return pd.Series(values, dtype="float64" if column.holds_numbers else "str")


def unknown_codes(column: Column, values: pd.Series) -> pd.Series:
    """Return which values of a typed column are no code of it; missing ones are none of them."""
    codes = pd.Series(list(column.known_codes), dtype=values.dtype)
    return values.notna() & ~values.isin(codes)


def out_of_range(column: Column, values: Any, widest: float = math.inf) -> Any:
    """Return which numbers (array or Series) are out of range or not whole; NaN is neither.

    ``widest`` is the end of a range that the schema leaves open.
    """
    low, high = _ends(column, widest)
    outside = (values < low) | (values > high)
    return outside | (np.floor(values) < values) if column.integer else outside


def _ends(column: Column, widest: float) -> tuple[float, float]:
    low, high = column.low, column.high
    return -widest if low is None else low, widest if high is None else high


def column_check(column: Column) -> Callable[[Sequence[Any]], NDArray[Any] | None]:
    """Return the check of many JSON values at once: their column, or None where one does not fit.

    The column is float64 with NaN, or objects with None. ``fit_check`` has the same rules.
    """
    types, known = _rules(column)
    dtype = np.float64 if column.holds_numbers else object
    has_range = column.holds_numbers and known is None
    is_text, missing = not column.holds_numbers and known is None, missing_texts(column)

    def check(values: Sequence[Any]) -> NDArray[Any] | None:
        if not types.issuperset(map(type, values)) or (known and not known.issuperset(values)):
            return None
        if is_text and not _are_read(values, missing):
            return None
        try:
            found = np.array(values, dtype=dtype)  # None becomes NaN
        except OverflowError:
            return None
        is_out = has_range and out_of_range(column, found, sys.float_info.max).any()
        return None if is_out else found

    return check


def _are_read(values: Iterable[str | None], missing: Set[str]) -> bool:
    """Return whether texts are what ``read_texts`` makes of them: trimmed, and not missing."""
    distinct = {value for value in values if value is not None}
    return distinct.isdisjoint(missing) and all(map(eq, distinct, map(trimmed_text, distinct)))


def fit_check(column: Column) -> Callable[[Any], bool]:
    """Return the check of one JSON value: whether it fits. ``column_check`` has the same rules."""
    types, known = _rules(column)
    if known is not None:
        return lambda value: type(value) in types and value in known
    if not column.holds_numbers:
        missing = missing_texts(column)
        return lambda value: (
            type(value) in types
            and (value is None or (value not in missing and value == trimmed_text(value)))
        )
    low, high = _ends(column, sys.float_info.max)
    if column.integer:
        return lambda value: (
            type(value) in types and (value is None or (low <= value <= high and not value % 1))
        )
    return lambda value: type(value) in types and (value is None or low <= value <= high)


def _rules(column: Column) -> tuple[frozenset[type], frozenset[Any] | None]:
    """Return the types of a column's JSON values (bool is no number) and its codes, with None."""
    types = _NUMBERS if column.holds_numbers else _TEXTS
    known = column.known_codes | {None} if column.codes else None
    return types | {type(None)} if column.missing else types, known


def json_value(value: Any) -> Any:
    """Return a Python value as JSON has it: NaN as None, numpy's scalars as float or str."""
    if value is None or value != value:
        return None
    if isinstance(value, str):
        return str(value)
    is_number = hasattr(value, "__float__") and not isinstance(value, bool | int)
    return float(value) if is_number else value


def json_values(values: Sequence[Any]) -> Sequence[Any]:
    """Return Python values as JSON has them; those that are JSON's already are not copied."""
    kinds = set(map(type, values))
    if kinds <= _JSON and (float not in kinds or all(map(eq, values, values))):  # NaN != NaN
        return values
    return [json_value(value) for value in values]


def fault(column: Column, value: Any) -> str | None:
    """Return what is wrong with one value, or None."""
    plain = json_value(value)
    if fit_check(column)(plain):
        return None
    if plain is None:
        return f"{column.name} must not be missing"
    if not column.holds_numbers and not isinstance(plain, str):
        return f"{column.name} = {value!r} must be text"
    shown = f"{column.name} = {_clipped(value)}"
    if column.holds_numbers and isinstance(plain, str) and (meant := readings(plain)):
        return f"{shown} is {meant}; write it without the comma"
    if column.holds_numbers and type(plain) not in _NUMBERS:
        form = f", written as {_AS_WRITTEN[column.decimal]}" if column.decimal else ""
        return f"{shown} must be a number, not {type(value).__name__}{form}"
    if column.holds_numbers and abs(plain) > sys.float_info.max:
        return f"{shown} must be finite"
    if column.codes:
        null = ", or null" if column.missing else ""
        return f"{shown} is no known code ({listed(column.codes, 12)}{null})"
    if not column.holds_numbers:
        return f"{shown} is not trimmed, or means a missing value; read it as a cell first"
    return f"{column.name} = {float(plain):.12g} is not among {range_words(column)}"


def allowed(column: Column) -> str | list[Any]:
    """Return a column's codes as a list, or words for its range; null where it may be missing."""
    if column.codes:
        codes = _listed_codes(column)
        shown = codes if len(codes) <= MOST_CODES else [*codes[:MOST_CODES], "…"]
        return [*shown, None] if column.missing else shown
    words = range_words(column) if column.holds_numbers else "text"
    return f"{words}, or null" if column.missing else words


def allowed_labels(schema: Schema) -> list[Any] | str:
    """Return the labels that a target takes: its codes, or what they may be in words."""
    if schema.task == "regression":
        return "a finite number"
    column = schema.columns[schema.target]
    if column.codes:
        return _listed_codes(column)
    return [0, 1] if schema.task == "binary" else "a class"


def is_label(schema: Schema, value: Any) -> bool:
    """Return whether a JSON value is a label of the target: a class is an integer or a text."""
    allowed = allowed_labels(schema)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return False
    if isinstance(allowed, list):
        return not isinstance(value, float) and value in allowed
    kinds = int | float if schema.task == "regression" else int | str
    return isinstance(value, kinds) and (isinstance(value, str) or abs(value) < 2**63)


def read_label_texts(schema: Schema, given: Iterable[str]) -> dict[str, Any]:
    """Return texts, each with the label that it means as a cell of the target.

    A class that is a number is an int.
    """
    read = read_texts(schema.columns[schema.target], given)
    if schema.task == "regression":
        return read
    return {
        text: int(label) if isinstance(label, float) and label.is_integer() else label
        for text, label in read.items()
    }


def _listed_codes(column: Column) -> list[Any]:
    return list(column.codes) if column.holds_numbers else [str(code) for code in column.codes]


def range_words(column: Column) -> str:
    """Return a numeric column's range in words."""
    what = "whole numbers" if column.integer else "numbers"
    low = "" if column.low is None else f" from {column.low:.12g}"
    high = "" if column.high is None else f"{' to' if low else ' up to'} {column.high:.12g}"
    return f"{what}{low}{high}"


def _clipped(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 40 else f"{shown[:40]}…"
