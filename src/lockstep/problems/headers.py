"""Names above columns: what a first line is, a second one below it, and one that comes up again."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from itertools import count, pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lockstep.errors import DataError, listed

BLANKS = " \t\r\n\u00a0\u202f\ufeff"
_NUMBER = re.compile(r"[+-]?(?:\d+[.,]?\d*|[.,]\d+)(?:[eE][+-]?\d+)?")
_YEAR = re.compile(r"(?:19|20)\d\d")
_WORD = re.compile(r"[^\W\d_]")
_LOOKED_AT = 50
"""Rows below the header that tell which columns hold numbers."""
_MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "missing", "unknown", "nd", "inf"})


def clean_name(written: str) -> str:
    """Return a name on one line, composed, without blanks around it or byte order marks."""
    name = composed(written.replace("\ufeff", "").strip(BLANKS))
    return " ".join(name.split()) if re.search(r"[\r\n]", name) else name


def composed(text: str) -> str:
    """Return a text with composed letters (NFC), as every table and schema is read."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def unique_names(written: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Return the columns' names, and which repeat another: ``x (2)`` is the second ``x``.

    A column without a name is called by its place: ``column 1``.
    """
    names: list[str] = []
    twins = {}
    for place, bare in enumerate(written, start=1):
        name = bare or f"column {place}"
        if name in names:
            numbered = (f"{name} ({number})" for number in count(2))
            twin = next(new for new in numbered if new not in (*names, *written))
            twins[twin], name = name, twin
        names.append(name)
    return names, twins


def _head(columns: Sequence[Any]) -> list[list[str]]:
    """Return the first cells of each column."""
    return [column.slice(0, _LOOKED_AT).to_pylist() for column in columns]


def _holds_numbers(cells: Sequence[str]) -> bool:
    """Return whether most of the cells that are not missing are numbers."""
    there = [cell for cell in cells if cell.lower() not in _MISSING and _is_word_or_number(cell)]
    return bool(there) and sum(map(_is_number, there)) > 0.8 * len(there)


def _is_word_or_number(text: str) -> bool:
    return bool(re.search(r"\w", text))


def _is_number(text: str) -> bool:
    return bool(_NUMBER.fullmatch(text))


def has_second_line(columns: Sequence[Any]) -> bool:
    """Return whether the first row holds names or units: words above all columns of numbers."""
    head = [(cells[0], _holds_numbers(cells[1:])) for cells in _head(columns) if len(cells) > 5]
    firsts = [first for first, holds_numbers in head if holds_numbers]
    is_name = [bool(_WORD.search(f)) and f.lower() not in _MISSING for f in firsts]
    return len(firsts) > 1 and all(is_name) and not any(map(_is_number, firsts))


def repeated_lines(columns: Sequence[Any], written: Sequence[str]) -> np.ndarray | None:
    """Return which rows are the header again, or None if there are none.

    A first line with numbers, unless they rise as years do, may hold values that come up again.
    """
    named = [place for place, name in enumerate(written) if name]
    if len(named) < 2 or (any(map(_is_number, written)) and not _rises(written)):
        return None
    return _all_equal(columns, written, named[0])


def empty_rows(columns: Sequence[Any]) -> np.ndarray | None:
    """Return which rows have no value in any column, or None if there are none."""
    return _all_equal(columns, [""] * len(columns), 0) if len(columns) > 1 else None


def _all_equal(columns: Sequence[Any], texts: Sequence[str], first: int) -> np.ndarray | None:
    """Return which rows hold these texts; one column decides first whether to look at all."""
    found = pc.equal(columns[first], texts[first])
    for column, text in zip(columns, texts, strict=True):
        if not pc.any(found).as_py():
            return None
        found = pc.and_(found, pc.equal(column, text))
    rows = found.to_numpy(zero_copy_only=False)
    return rows if rows.any() else None


def without(columns: Sequence[Any], rows: np.ndarray) -> list[Any]:
    """Return the columns without these rows."""
    kept = pa.array(~rows)
    return [column.filter(kept) for column in columns]


def refuse_values(written: Sequence[str], columns: Sequence[Any], where: str) -> str:
    """Raise a DataError if the first line holds values; return a question if it only may.

    Words above a column of numbers are names. Numbers above all such columns are values if they, or
    the words beside them, come up in their columns or look like the cells there (dates, codes), or
    have decimals. Numbers in rising order and years are names.
    """
    if len(written) < 2 or not len(columns[0]):
        return ""
    numeric = [_holds_numbers(cells) for cells in _head(columns)]
    above = [name for name, is_numeric in zip(written, numeric, strict=True) if is_numeric]
    if any(name and not _is_number(name) and _is_word_or_number(name) for name in above):
        return ""
    shown = listed([name or "''" for name in written], 5)
    given = [(name, column) for name, column in zip(written, columns, strict=True) if name]
    seen = sum(pc.any(pc.equal(column, name)).as_py() for name, column in given)
    fix = "put the columns' names above them"
    has_decimals = any(re.search(r"\d[.,]\d", name) for name in above)
    looks_alike = any(_looks_alike(name, column) for name, column in given)
    if _rises(above):
        return ""
    if seen >= max(2, len(given) / 2) or has_decimals or looks_alike:
        raise DataError(f"line 1 of {where} seems to hold values ({shown}): {fix}")
    count = sum(map(_is_number, above))
    if not count or (count > 1 and all(_YEAR.fullmatch(name) for name in above)):
        return ""
    return (
        f"{count} of the {len(given)} names are numbers ({shown}), and {seen} names come up in "
        f"their own columns: if line 1 holds values, {fix}"
    )


def _looks_alike(name: str, column: Any) -> bool:
    """Return whether a name has digits and signs in the places where all cells have them."""
    shape, cells = re.sub(r"\d", "0", name), column.slice(0, _LOOKED_AT).to_pylist()
    shapes = {re.sub(r"\d", "0", cell) for cell in cells if cell}
    return "0" in shape and not _is_number(name) and shapes == {shape}


def _rises(names: Sequence[str]) -> bool:
    """Return whether there are three numbers or more, each above the one before: years, steps."""
    values = [float(name.replace(",", ".")) for name in names if _is_number(name)]
    return len(values) > 2 and all(a < b for a, b in pairwise(values))
