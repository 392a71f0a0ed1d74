"""What a table is like, column by column: facts only, counted over every row.

A column's distinct texts are looked at, each with its count, so that a column of a few levels costs little and no
copy of the table is made: one column's dictionary is held at a time, besides the table itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from lockstep.problems.text_tables import (
    MISSING,
    PLAIN_NUMBER,
    UNIT,
    TextTable,
    bare_numbers,
    number_pattern,
    numbers,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_WORDS = 20
"""Distinct texts that may stand among a column's numbers."""
MOST_WORD_SHARE = 0.1
"""Share of a column's values that may be such texts."""
MOST_LISTED = 60
"""Levels of a column that are kept with their counts."""
LARGEST = 2.0**53
"""The largest whole number that a float64 holds exactly."""
FORMATS = (
    "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y/%m/%d", "%Y.%m.%d", "%Y%m%d",
    "%d/%m/%y", "%m/%d/%y", "%d.%m.%y", "%d %b %Y", "%d-%b-%Y", "%d-%b-%y", "%b %d, %Y", "%d %B %Y", "%B %d, %Y",
)  # fmt: skip
TIMES = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p", "T%H:%M:%S")
_ISO = r"^\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:?\d{2})?)?$"
_DATE_LIKE = (
    r"^\d{1,4}[/.-]\d{1,2}[/.-]\d{1,4}\b"
    r"|^\d{1,2}[ -][A-Za-z]{3,9}[ -]\d{2,4}\b|^[A-Za-z]{3,9} \d{1,2}, \d{4}\b"
)
_COMPACT = r"^(?:19|20)\d{6}$"
_FEW_LOOKED_AT = 300


@dataclass(frozen=True)
class Numbers:
    """How a column's texts are numbers."""

    decimal: str
    whole: bool
    low: float
    middle: float
    high: float
    words: dict[str, int] = field(default_factory=dict)
    both_ways: bool = False
    unit: str = ""


@dataclass(frozen=True)
class Dates:
    """How a column's texts are dates; ``format`` is empty for ISO 8601."""

    format: str
    first: str
    last: str
    days: int
    others: int = 0
    example: str = ""
    both_ways: bool = False


@dataclass(frozen=True)
class Column:
    """The facts of one column: counts over all rows."""

    name: str
    rows: int
    missing: int
    distinct: int
    levels: dict[str, int]
    longest: int
    numbers: Numbers | None = None
    dates: Dates | None = None
    leading_zeros: bool = False
    runs: bool = False

    @property
    def present(self) -> int:
        """Rows that have a value."""
        return self.rows - self.missing

    @property
    def all_different(self) -> bool:
        """Whether no value is there twice."""
        return self.distinct == self.present > 1


@dataclass(frozen=True)
class Profile:
    """The facts of a table."""

    columns: dict[str, Column]
    rows: int
    copies: int


def profile(text: TextTable) -> Profile:
    """Look at every column of a table; rows that repeat another in all columns (but ids) are counted."""
    seen = np.zeros(text.rows, dtype=np.uint64)
    columns = {}
    for name, values in text.columns.items():
        coded = values.dictionary_encode()
        columns[name] = look_at(name, coded, text.separator)
        if columns[name].distinct < text.rows:
            seen = seen * np.uint64(0x9E3779B97F4A7C15) + _hashed(coded)
    copies = (
        text.rows - len(np.unique(seen)) if any(c.distinct > 1 for c in columns.values()) else 0
    )
    return Profile(columns, text.rows, copies)


def _hashed(coded: Any) -> NDArray[np.uint64]:
    texts = np.array([v or "" for v in coded.dictionary.to_pylist()], dtype=object)
    hashes = np.asarray(pd.util.hash_array(texts, categorize=False), dtype=np.uint64)
    return hashes[_codes(coded)] if len(hashes) else np.zeros(len(coded), dtype=np.uint64)


def _codes(coded: Any) -> NDArray[Any]:
    return coded.indices.fill_null(0).to_numpy(zero_copy_only=False)


def look_at(name: str, coded: Any, separator: str = ",") -> Column:
    """Return the facts of one column, a pyarrow dictionary array of texts."""
    present = coded.indices.drop_null().to_numpy(zero_copy_only=False)
    counts = np.bincount(present, minlength=len(coded.dictionary))
    absent = pc.is_in(coded.dictionary, value_set=pa.array(sorted(MISSING))).to_numpy(
        zero_copy_only=False
    )
    told = coded.dictionary.filter(pa.array(~absent))
    held = counts[~absent]
    rows = len(coded)
    lengths = pc.max(pc.utf8_length(told)).as_py() if len(told) else 0
    found = Column(name, rows, rows - int(held.sum()), len(told), _levels(told, held), lengths or 0)
    return _typed(found, told, held, separator)


def _levels(told: Any, counts: NDArray[Any]) -> dict[str, int]:
    """Return the most frequent levels with their counts, equal counts by name."""
    if len(told) > MOST_LISTED:
        top = np.argsort(-counts, kind="stable")[:MOST_LISTED]
        told, counts = told.take(top), counts[top]
    pairs = zip(told.to_pylist(), counts.tolist(), strict=True)
    return dict(sorted(pairs, key=lambda pair: (-pair[1], pair[0])))


def _typed(column: Column, told: Any, counts: NDArray[Any], separator: str) -> Column:
    """Return a column with what its texts are: dates, numbers, or neither."""
    if not column.distinct:
        return column
    zeros = _matches(told, r"^[+-]?0\d").any()
    dates = find_dates(told, counts, column.name)
    if dates and not dates.others:
        return replace(column, dates=dates)
    found = None if zeros else find_numbers(told, counts, separator)
    runs = bool(
        found and found.whole and found.high - found.low + 1 == column.present == column.distinct
    )
    return replace(column, numbers=found, dates=dates, leading_zeros=bool(zeros), runs=runs)


def _matches(told: Any, pattern: str) -> NDArray[np.bool_]:
    return pc.match_substring_regex(told, pattern).to_numpy(zero_copy_only=False)


# ---------------------------------------------------------------- numbers


def find_numbers(told: Any, counts: NDArray[Any], separator: str = ",") -> Numbers | None:
    """Return how distinct texts are numbers, a few words among them allowed; None where they are no numbers.

    Where they can be read in two ways (1,234), a file with semicolons has decimal commas, another has not.
    """
    ways = _ways(told)
    rows = {way: int(counts[read].sum()) for way, read in ways.items()}
    best = [way for way in _preferred(separator) if rows.get(way) == max(rows.values())]
    others = np.flatnonzero(~ways[best[0]])
    words = {told[i].as_py(): int(counts[i]) for i in others[: MOST_WORDS + 1].tolist()}
    if len(words) > MOST_WORDS or sum(words.values()) > MOST_WORD_SHARE * counts.sum():
        return None
    first = as_numbers(told, best[0], words)
    alike = [
        way for way in best if np.array_equal(first, as_numbers(told, way, words), equal_nan=True)
    ]
    return _summed(told, counts, min(alike, key=len), words, both_ways=len(alike) < len(best))


def _preferred(separator: str) -> tuple[str, ...]:
    return (",", "", ".") if separator == ";" else (".", "", ",")


def _ways(told: Any) -> dict[str, NDArray[np.bool_]]:
    """Return which texts are numbers by each way of reading them: as they are, or with signs to leave out."""
    plain = _finite(told, _matches(told, PLAIN_NUMBER))
    if plain.all():
        return {"": plain}
    if not _matches(told, ",").any() and not _matches(told, UNIT).any():
        return {"": plain}
    comma = _matches(told, r"^[+-]?(?:\d+,\d*|,\d+)(?:[eE][+-]?\d+)?$")
    marked = {sign: _matches(told, number_pattern(sign)) for sign in (".", ",")}
    return {"": plain | comma, ".": plain | marked["."], ",": marked[","]}


def _finite(told: Any, plain: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which plain numbers a float64 holds: 1e400 is none."""
    good = plain.copy()
    values = told.filter(pa.array(plain)).cast(pa.float64()).to_numpy(zero_copy_only=False)
    good[plain] = np.isfinite(values)
    return good


def _summed(
    told: Any, counts: NDArray[Any], decimal: str, words: dict[str, int], both_ways: bool
) -> Numbers | None:
    """Return the range of numbers read in one way; None where none is finite."""
    values = as_numbers(told, decimal, words)
    good = np.isfinite(values)
    if not good.any():
        return None
    values, counts = values[good], counts[good]
    order = np.argsort(values, kind="stable")
    half = int(np.searchsorted(np.cumsum(counts[order]), counts.sum() / 2))
    middle = float(values[order[min(half, len(order) - 1)]])
    whole = bool((np.floor(values) == values).all()) and float(np.abs(values).max()) < LARGEST
    units = {m.group() for t in told[:50].to_pylist() for m in re.finditer(UNIT, t)}
    unit = units.pop() if len(units) == 1 else ""
    return Numbers(
        decimal, whole, float(values.min()), middle, float(values.max()), words, both_ways, unit
    )


def as_numbers(
    told: Any, decimal: str, words: Sequence[str] | dict[str, int]
) -> NDArray[np.float64]:
    """Return texts as float64, NaN for missing ones and words, by the same code as a table is read."""
    prepare = partial(bare_numbers, decimal=decimal) if decimal else None
    text = TextTable(Path("column"), "", {"": told})
    return numbers(text, "", missing=MISSING | set(words), prepare=prepare)


# ---------------------------------------------------------------- dates


def find_dates(told: Any, counts: NDArray[Any], name: str) -> Dates | None:
    """Return how distinct texts are dates, most of them at least; None where they are not."""
    few = told[:_FEW_LOOKED_AT]
    if _matches(few, _ISO).mean() > 0.5:
        return _dates(told, counts, [""])
    compact = (
        _matches(few, _COMPACT).all() and re.search(r"(?i)dat|day|jour|tag|fecha", name) is not None
    )
    if not compact and _matches(few, _DATE_LIKE).mean() <= 0.5:
        return None
    return _dates(told, counts, _formats(few))


def _formats(few: Any) -> list[str]:
    """Return the formats that read most of a few texts, the best first."""
    texts = pd.Series(few.to_pylist(), dtype="str")
    found = {}
    for format in (day + time for day in FORMATS for time in TIMES):
        read = pd.to_datetime(texts, format=format, errors="coerce", utc=True).notna().mean()
        if read > 0.5:
            found[format] = read
    return sorted(found, key=lambda format: -found[format])


def _dates(told: Any, counts: NDArray[Any], formats: list[str]) -> Dates | None:
    """Return the dates by the first format that reads all texts, else by the one that reads most."""
    texts = pd.Series(told.to_pylist(), dtype="str")
    best, fitting = None, []
    for format in formats:
        read = pd.to_datetime(texts, format=format or "ISO8601", errors="coerce", utc=True)
        others = int(counts[read.isna().to_numpy()].sum())
        if best is None or others < best[0]:
            best = (others, format, read)
        fitting += [read] if not others else []
        if len(fitting) == 2 or (format == "" and not others):
            break
    if best is None or best[0] > 0.5 * counts.sum():
        return None
    others, format, read = best
    example = texts[read.isna()].iloc[0] if others else ""
    days = read.dropna().dt.tz_localize(None).dt.normalize()
    both = len(fitting) == 2 and bool((fitting[0] != fitting[1]).any())
    return Dates(
        format,
        str(days.min().date()),
        str(days.max().date()),
        days.nunique(),
        others,
        example,
        both,
    )
