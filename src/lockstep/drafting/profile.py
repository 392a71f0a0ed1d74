"""The profile of a table, column by column: facts only, counted over every row.

A column's distinct texts are examined, each with its count. So a column of a few levels costs
little and the table is not copied: one column's dictionary is in memory at a time, besides the
table.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lockstep.data.copies import cell_hashes, repeats
from lockstep.drafting.dates import Dates, find_dates, matches
from lockstep.problems.text_tables import (
    MISSING,
    PLAIN_NUMBER,
    UNIT,
    TextTable,
    bare_numbers,
    number_pattern,
    numbers,
    parse_numbers,
)

MOST_WORDS = 20
"""Distinct texts that may stand among a column's numbers."""
MOST_WORD_SHARE = 0.1
"""Share of a column's values that may be such texts."""
_MOST_MARKED = 10_000
"""Distinct numbers with a sign that are looked at."""
MOST_LISTED = 60
"""Most levels of a column that a profile lists with their counts."""
LARGEST = 2.0**53
"""The largest whole number that a float64 holds exactly."""


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
    mixed: tuple[str, ...] = ()
    """A number with each sign, and one without, where not all have the same one."""


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
    runs: bool = False

    @property
    def present(self) -> int:
        """Rows that have a value."""
        return self.rows - self.missing

    @property
    def all_different(self) -> bool:
        """Whether no value is there twice."""
        return self.distinct == self.present > 1

    @property
    def long_digits(self) -> bool:
        """Whether whole numbers are too long for a float64: they are names then, no amounts."""
        if self.numbers is None or max(abs(self.numbers.low), abs(self.numbers.high)) < LARGEST:
            return False
        long = [level for level in self.levels if re.fullmatch(r"[+-]?\d{16,40}", level)]
        return len(long) > len(self.levels) / 2

    @property
    def whole_codes(self) -> bool:
        """Whether its values can be codes of whole numbers."""
        numbers = self.numbers
        return bool(numbers and numbers.whole and not numbers.decimal) and not self.long_digits


@dataclass(frozen=True)
class Profile:
    """The facts of a table."""

    columns: dict[str, Column]
    rows: int
    copies: int
    hashes: NDArray[np.uint64]
    """A hash of each row over all columns."""


def profile(text: TextTable) -> Profile:
    """Profile every column of a table; count rows that repeat another in every column."""
    seen = np.zeros(text.rows, dtype=np.uint64)
    columns = {}
    for place, (name, values) in enumerate(text.columns.items()):
        coded = values.dictionary_encode()
        columns[name] = profile_column(name, coded, text.separator)
        seen += cell_hashes(coded, place)
    return Profile(columns, text.rows, int(repeats(seen).sum()), seen)


def profile_column(
    name: str, coded: Any, separator: str = ",", missing: frozenset[str] = MISSING
) -> Column:
    """Return the facts of one column, a pyarrow dictionary array of texts."""
    present = coded.indices.drop_null().to_numpy(zero_copy_only=False)
    counts = np.bincount(present, minlength=len(coded.dictionary))
    absent = pc.is_in(coded.dictionary, value_set=pa.array(sorted(missing)))
    known = ~absent.to_numpy(zero_copy_only=False)
    texts, counts = coded.dictionary.filter(pa.array(known)), counts[known]
    rows = len(coded)
    longest = pc.max(pc.utf8_length(texts)).as_py() or 0
    lacking = rows - int(counts.sum())
    found = Column(name, rows, lacking, len(texts), _levels(texts, counts), longest)
    return _typed(found, texts, counts, separator) if len(texts) else found


def _levels(texts: Any, counts: NDArray[Any]) -> dict[str, int]:
    """Return the most frequent levels with their counts, equal counts by name."""
    if len(texts) > MOST_LISTED:
        top = np.argsort(-counts, kind="stable")[:MOST_LISTED]
        texts, counts = texts.take(top), counts[top]
    pairs = zip(texts.to_pylist(), counts.tolist(), strict=True)
    return dict(sorted(pairs, key=lambda pair: (-pair[1], pair[0])))


def _typed(column: Column, texts: Any, counts: NDArray[Any], separator: str) -> Column:
    """Return a column with the type of its texts: dates, numbers, or neither."""
    has_zeros = bool(matches(texts, r"^[+-]?0\d").any())
    dates = find_dates(texts, counts, column.name)
    if dates and not dates.others:
        return replace(column, dates=dates)
    numbers = None if has_zeros else find_numbers(texts, counts, separator)
    span = numbers.high - numbers.low + 1 if numbers and numbers.whole else 0
    runs = bool(span == column.present == column.distinct)
    return replace(column, numbers=numbers, dates=dates, runs=runs)


# ---------------------------------------------------------------- numbers


def find_numbers(texts: Any, counts: NDArray[Any], separator: str = ",") -> Numbers | None:
    """Return how distinct texts are numbers, a few words among them allowed, or None.

    Where they can be read in two ways (1,234), a file with semicolons has decimal commas, another
    has not.
    """
    ways = _ways(texts)
    rows = {way: int(counts[read].sum()) for way, read in ways.items()}
    preferred = (",", "", ".") if separator == ";" else (".", "", ",")
    best = [way for way in preferred if rows.get(way) == max(rows.values())]
    best = [way for way in best if np.array_equal(ways[way], ways[best[0]])]
    others = np.flatnonzero(~ways[best[0]])
    words = {texts[i].as_py(): int(counts[i]) for i in others[: MOST_WORDS + 1].tolist()}
    if len(words) > MOST_WORDS or sum(words.values()) > MOST_WORD_SHARE * counts.sum():
        return None
    first = as_numbers(texts, best[0], words)
    read = {way: as_numbers(texts, way, words) for way in best}
    alike = [way for way in best if np.array_equal(first, read[way], equal_nan=True)]
    has_commas = "," in alike and bool(matches(texts, ",").any())
    way = "," if has_commas else min(alike, key=len)
    return _summed(texts, counts, way, words, both_ways=len(alike) < len(best))


def _ways(texts: Any) -> dict[str, NDArray[np.bool_]]:
    """Return which texts are numbers by each way of reading them: as they are, or without signs."""
    plain = _finite(texts, matches(texts, PLAIN_NUMBER))
    if plain.all() or not (matches(texts, ",").any() or matches(texts, UNIT).any()):
        return {"": plain}
    comma = _finite(texts, matches(texts, r"^[+-]?(?:\d+,\d*|,\d+)(?:[eE][+-]?\d+)?$"))
    marked = {sign: _finite(texts, matches(texts, number_pattern(sign)), sign) for sign in ".,"}
    return {"": plain | comma, ".": plain | marked["."], ",": marked[","]}


def _finite(texts: Any, written: NDArray[np.bool_], decimal: str = "") -> NDArray[np.bool_]:
    """Return which of the texts that are written as numbers a float64 holds: 1e400 is none."""
    prepare = partial(bare_numbers, decimal=decimal) if decimal else None
    values, _ = parse_numbers(texts.filter(pa.array(written)), MISSING, prepare)
    good = written.copy()
    good[written] = np.isfinite(values)
    return good


def _summed(
    texts: Any, counts: NDArray[Any], decimal: str, words: dict[str, int], both_ways: bool
) -> Numbers | None:
    """Return the range of numbers read in one way; None where none is finite."""
    values = as_numbers(texts, decimal, words)
    good = np.isfinite(values)
    if not good.any():
        return None
    unit, mixed = _unit(texts.filter(pa.array(good)))
    values, counts = values[good], counts[good]
    order = np.argsort(values, kind="stable")
    half = int(np.searchsorted(np.cumsum(counts[order]), counts.sum() / 2))
    middle = float(values[order[min(half, len(order) - 1)]])
    whole = bool((np.floor(values) == values).all()) and float(np.abs(values).max()) < LARGEST
    low, high = float(values.min()), float(values.max())
    return Numbers(decimal, whole, low, middle, high, words, both_ways, unit, mixed)


def _unit(texts: Any) -> tuple[str, tuple[str, ...]]:
    """Return the sign beside all numbers; if they differ, none, and an example of each."""
    marked = matches(texts, UNIT)
    if not marked.any():
        return "", ()
    signs: dict[str, str] = {}
    for text in texts.filter(pa.array(marked)).slice(0, _MOST_MARKED).to_pylist():
        signs.setdefault(",".join(re.findall(UNIT, text)), text)
    bare = texts.filter(pa.array(~marked)).slice(0, 1).to_pylist()
    examples = (*signs.values(), *bare)
    return (next(iter(signs)), ()) if len(examples) == 1 else ("", examples)


def as_numbers(texts: Any, decimal: str, words: Iterable[str]) -> NDArray[np.float64]:
    """Return texts as float64, NaN for missing ones and words: read as tables are."""
    prepare = partial(bare_numbers, decimal=decimal) if decimal else None
    text = TextTable(Path("column"), "", {"": texts})
    return numbers(text, "", missing=MISSING | set(words), prepare=prepare)


def whole_code(text: str) -> int:
    """Return the whole number that a text of ``whole_codes`` writes: 2 for 2, 2.0 and 2,0."""
    return int(float(text.replace(",", ".")))
