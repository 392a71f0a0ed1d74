"""Lines of names and lines of none: the first, one below it, one that comes up again, totals."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from itertools import count, pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lockstep.errors import DataError, listed

BLANKS = " \t\r\n\u00a0\u202f\ufeff"
_NUMBER = re.compile(r"[+-]?(?:\d+[.,]?\d*|[.,]\d+)(?:[eE][+-]?\d+)?")
_YEAR = re.compile(r"(?:19|20)\d\d")
_WORD = re.compile(r"[^\W\d_]")
_RULE = re.compile(r":?[-=_+]+:?")
_TOTAL = re.compile(
    r"(?:grand |sub-?)?(?:totals?|sums?|averages?|summe|gesamt|insgesamt|mittelwert|somme"
    r"|moyenne|suma|promedio|totale|totaal|summa|razem|ogółem|celkem|итого|всего"
    r"|合计|合計|总计|總計|합계)(?:\W|$)",
    re.IGNORECASE,
)
"""How the first word of a total begins, in the languages that occur."""
_TITLES, _FOOTERS, _LEAST_ROWS = 10, 10, 20
"""Rows of titles, and of totals and remarks, at most; rows that a table with such ones has."""
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


def _is_numeric(column: Any) -> bool:
    """Return whether a column holds numbers, by its first cells."""
    return _holds_numbers(column.slice(0, _LOOKED_AT).to_pylist())


def _holds_numbers(cells: Sequence[str]) -> bool:
    """Return whether most of the cells that are not missing are numbers."""
    there = [cell for cell in cells if cell.lower() not in _MISSING and _is_word_or_number(cell)]
    return bool(there) and sum(map(_is_number, there)) > 0.8 * len(there)


def _is_word_or_number(text: str) -> bool:
    return bool(re.search(r"\w", text))


def _is_number(text: str) -> bool:
    return bool(_NUMBER.fullmatch(text))


def has_second_line(columns: Sequence[Any]) -> bool:
    """Return whether the first row holds names or units: words above all columns of numbers.

    Dashes in every column, and the columns' own numbers (1, 2, 3 …) above words, are none either.
    """
    if len(columns[0]) < 6:
        return False
    firsts = [column[0].as_py() for column in columns]
    if _is_rule(firsts):
        return True
    if len(firsts) > 2 and firsts == [str(n + 1) for n in range(len(firsts))]:
        return not all(map(_is_below_numbers, columns))
    others = (c for c, first in zip(columns, firsts, strict=True) if not _is_name(first))
    if any(map(_is_below_numbers, others)):
        return False
    named = (c for c, first in zip(columns, firsts, strict=True) if _is_name(first))
    return sum(map(_is_below_numbers, named)) > 1


def _is_name(cell: str) -> bool:
    return bool(_WORD.search(cell)) and cell.lower() not in _MISSING and not _is_number(cell)


def _is_below_numbers(column: Any) -> bool:
    """Return whether there are numbers below a column's first cell."""
    return _holds_numbers(column.slice(1, _LOOKED_AT - 1).to_pylist())


def _is_rule(cells: Sequence[str]) -> bool:
    """Return whether cells draw a line, as below the names in what a database prints."""
    there = [cell for cell in cells if cell]
    return any(len(cell) > 2 for cell in there) and all(map(_RULE.fullmatch, there))


def row_of_names(columns: Sequence[Any]) -> int | None:
    """Return which of the first rows holds a name for every column, and numbers below; or None."""
    rows = list(zip(*(column.slice(0, _TITLES).to_pylist() for column in columns), strict=True))
    for place, (row, below) in enumerate(pairwise(rows)):
        if all(_WORD.search(cell) for cell in row) and any(map(_is_number, below)):
            return place
    return None


def repeated_lines(columns: Sequence[Any], written: Sequence[str]) -> NDArray[np.bool_] | None:
    """Return which rows are the header again, in any capitals, or None if there are none.

    A first line with numbers, unless they rise as years do, may hold values that come up again.
    """
    named = [place for place, name in enumerate(written) if name]
    if len(named) < 2 or (any(map(_is_number, written)) and not _rises(written)):
        return None
    name = written[named[0]]
    forms = {name, name.lower(), name.upper(), name.title(), name[:1].upper() + name[1:]}
    found = pc.is_in(columns[named[0]], value_set=pa.array(sorted(forms)))
    rows = np.flatnonzero(found.to_numpy(zero_copy_only=False))
    for column, text in zip(columns, written, strict=True):
        if not len(rows):
            return None
        cells = column.take(pa.array(rows)).to_pylist()
        rows = rows[[cell.casefold() == text.casefold() for cell in cells]]
    again = np.zeros(len(columns[0]), dtype=bool)
    again[rows] = True
    return again if len(rows) else None


def footer_rows(columns: Sequence[Any]) -> list[str]:
    """Return the words of the rows at the end that are totals or remarks, in the file's order.

    Such a row lacks values, begins with a word that comes up nowhere above, and either says that it
    is a total, or holds nothing else while no row above holds one value only.
    """
    rows = len(columns[0])
    if len(columns) < 3 or rows < _LEAST_ROWS:
        return []
    found: list[str] = []
    while len(found) < _FOOTERS:
        end = rows - len(found) - 1
        there = [(n, c) for n, column in enumerate(columns) if (c := column[end].as_py())]
        if not _is_footer(there, len(columns)) or _comes_up(columns[there[0][0]], there[0][1], end):
            break
        if len(there) == 1 and not found and _has_lone_values(columns, rows - _FOOTERS):
            break
        found.insert(0, there[0][1])
    return found


def _is_footer(there: Sequence[tuple[int, str]], width: int) -> bool:
    """Return whether the values of a row (with their places) may be those of a total or remark."""
    if not there or len(there) == width or not _WORD.search(there[0][1]):
        return False
    rest = [cell for _, cell in there[1:]]
    return not rest or bool(_TOTAL.match(there[0][1]) and all(map(_is_amount, rest)))


def _is_amount(cell: str) -> bool:
    return bool(re.search(r"\d", cell)) and not _WORD.search(cell)


def _comes_up(column: Any, text: str, end: int) -> bool:
    return bool(pc.any(pc.equal(column.slice(0, end), text)).as_py())


def _has_lone_values(columns: Sequence[Any], end: int) -> bool:
    """Return whether any of the rows up to ``end`` holds one value only."""
    filled = sum(
        pc.not_equal(column.slice(0, end), "").to_numpy(zero_copy_only=False).astype(np.int64)
        for column in columns
    )
    return bool(np.any(filled == 1))


def refuse_values(written: Sequence[str], columns: Sequence[Any], where: str) -> str:
    """Raise a DataError if the first line holds values; return a question if it only may.

    Words above a column of numbers are names. Numbers above all such columns are values if they, or
    the words beside them, come up in their columns or look like the cells there (dates, codes), or
    have decimals. Numbers in rising order and years are names.
    """
    if len(written) < 2 or not len(columns[0]):
        return ""
    pairs = list(zip(written, columns, strict=True))
    words = (c for name, c in pairs if not _is_number(name) and _is_word_or_number(name))
    if any(map(_is_numeric, words)):
        return ""
    above = [name for name, column in pairs if _is_numeric(column)]
    shown = listed([name or "''" for name in written], 5)
    given = [(name, column) for name, column in pairs if name]
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
