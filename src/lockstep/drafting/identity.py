"""Columns that say which row it is, or which thing a row belongs to: found by what they do.

A row number counts the rows of the file. A unit (a patient, a shop, an auction) has several rows:
other columns never change within it, or the target hardly does.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lockstep.config.params import Split
from lockstep.data.tables import key_values
from lockstep.drafting.evidence import SAMPLE, Target, column_numbers
from lockstep.drafting.names import ID_NAME
from lockstep.drafting.profile import Column, Profile, as_numbers
from lockstep.drafting.wording import both, rows_do, share
from lockstep.features.split import all_are_measured, class_ranks, hashed
from lockstep.problems.text_tables import MISSING, TextTable

Floats = NDArray[np.float64]
Places = NDArray[np.int64]

_COUNTER = re.compile(
    r"(?i)(?:unnamed: ?\d+(?:_level_\d+)?|__index_level_\d+__|column \d+|level_\d+|_?index|idx|"
    r"n[°º]|rows?[\W_]*(?:names?|no|nr|num|numbers?|index|id)?|no\.?|nr\.?|num|numbers?|n|s[\W_]*no\.?|"
    r"sr[\W_]*no\.?|serial|seq|lfd[\W_]*nr\.?|#)"
)
"""Names (or none) of columns that only number rows."""
THING = re.compile(
    r"(?i)(?:^|[\W_])(?:subject|patient|person|people|user|customer|client|member|household|"
    r"account|session|auction|animal|chick|rat|mouse|pupil|student|school|firm|company|farm|shop|store|plot|"
    r"site|station|device|machine|sensor|engine|unit|stratum|batch|participant|"
    r"respondent|employee|driver|player|team|hospital|market|sid|pid|uid|country|state|case|group)"
    r"s?[\W_]*(?:id|no|nr|num|number|name|code|key)?[\W_]*$"
)
"""Names of things that have several rows."""
COUNT = re.compile(r"(?i)(?:n|nb|num|nums|number|count|total|avg|mean)[\W_]+\w")
"""The beginning of names that count things."""
PLACE = re.compile(r"(?i)country|state|county|city|town|region|zip|postal")
"""New rows of a place that is known are usual: it takes more than a name to make it a unit."""
FEWEST_GROUPS = 10
LARGEST_SHARE = 0.2
"""A group with a larger share of the rows would be most of the test."""
_CONSTANT, _BY_CHANCE = 0.98, 0.8
_SOME, _HALF, _MOST = 0.1, 0.5, 0.8
_BALANCED = 0.1
_MANY_ROWS = 5
_FEWEST_PAIRS = 20
_MOST_UNNAMED = 0.2
"""A larger share of rows without a value, and a column is no name of things."""
_MOST_CLASSES = 10
_MANY_THINGS = 4
"""Times the rows that the square of a number of things is, at least: 100 things in 2,500 rows."""
_MISSING = pa.array(sorted(MISSING))


@dataclass(frozen=True)
class Counter:
    """A column that numbers rows."""

    words: str
    certain: bool
    """Whether it is known to be no more than that."""


def counters(text: TextTable, found: Profile, aim: Target) -> dict[str, Counter]:
    """Return the columns that number the rows in the file's order, over and over or throughout."""
    whole = (c for c in found.columns.values() if c.name != aim.name and c.whole_codes)
    counted = {c.name: _counter(text, c) for c in whole if not c.missing and c.distinct > 2}
    return {name: counter for name, counter in counted.items() if counter}


def _counter(text: TextTable, column: Column) -> Counter | None:
    """Return how a column numbers rows; None where it doesn't, or where it is a unique id."""
    assert column.numbers is not None
    if column.numbers.words:
        return None
    named = _COUNTER.fullmatch(unicodedata.normalize("NFKC", column.name).strip()) is not None
    is_id = not named and ID_NAME.search(column.name) is not None
    if is_id and column.all_different:
        return None
    values = column_numbers(text.columns[column.name].dictionary_encode(), column)
    steps = np.diff(values)
    low, high = int(column.numbers.low), int(column.numbers.high)
    rounds = 1 + int((steps != 1).sum())
    if rounds == 1 and (named or values[0] in (0, 1)):
        return Counter(f"numbers the rows {low:,} to {high:,} in the file's order", True)
    if column.all_different and named:
        return Counter(f"numbers {column.rows:,} rows with values from {low:,} to {high:,}", True)
    restarts = ((steps == 1) | (values[1:] == values[0])).all()
    if restarts and values[0] in (0, 1) and rounds < column.rows / 2:
        words = f"counts from {low:,} in the file's order, {rounds:,} times, up to {high:,}"
        return Counter(words, named)
    if named and rounds < 0.1 * column.rows:
        risen = share(1 - (rounds - 1) / len(steps))
        return Counter(f"rises by one from row to row in {risen} of the rows", True)
    return None


@dataclass(frozen=True)
class Unit:
    """A column that may name the thing a row belongs to, and what it does."""

    name: str
    named: bool
    place: bool
    numeric: bool
    many: bool
    """Whether there are more of them than a property of that many rows has levels."""
    groups: int
    rows_each: float
    largest: float
    """Share of the rows that the largest group holds."""
    constant: dict[str, float]
    """Columns that agree between two rows of one beyond chance: in which share of the pairs."""
    varied: bool
    """Whether one of them has more than a few values."""
    explained: float
    """Share of the target's variance that the mean of a unit's other rows explains."""
    nearby: float
    """The same by the units of the next lower and next higher number; 0 for texts."""
    unnamed: int
    """Rows that have no value of it."""
    balanced: str
    """A column of whose values each unit has the same number of rows."""
    divides: bool = True
    """Whether a split by it gives each part two of the target's classes, and train all of them."""

    @property
    def beyond(self) -> float:
        """What the unit itself explains, not its place among numbers of which it is one."""
        return self.explained - max(self.nearby, 0.0)

    @property
    def shown(self) -> bool:
        """Whether what the column does, helped by its name, shows that it names a thing."""
        if self.place:
            is_more = any(not PLACE.search(name) for name in self.constant)
            return is_more or self.beyond >= _HALF
        if self.named:
            return bool(self.constant or self.balanced) or self.beyond > _SOME
        if self.varied and self.explained >= _HALF and self.beyond >= 0.3:
            return True
        is_apart = self.explained >= _MOST and self.beyond >= _HALF
        is_apart &= self.rows_each >= _MANY_ROWS and (self.numeric or self.many)
        return is_apart or (len(self.constant) >= 2 and self.varied)

    @property
    def can_part(self) -> bool:
        """Whether every row has its group, and there are enough of them, of each class too."""
        return not self.unnamed and self.are_enough and self.divides

    @property
    def are_enough(self) -> bool:
        """Whether there are enough groups for four parts."""
        return self.groups >= FEWEST_GROUPS and self.largest <= LARGEST_SHARE

    @property
    def question(self) -> str:
        """Why a column stays a feature, and what that means for the metrics."""
        why = (
            f"A split by it needs {FEWEST_GROUPS} values, none with more than "
            f"{LARGEST_SHARE:.0%} of the rows; the largest has {self.largest:.0%}"
        )
        if self.are_enough and not self.divides:
            why = "A split by it leaves a part with one class, or training without one of them"
        if self.unnamed and self.are_enough:
            none = rows_do(self.unnamed, "has", "have")
            why = f"A split by it needs a value in every row; {none} none"
        done = "It stays a feature, so the metrics describe known values, not new ones"
        return f"The column may name what a row belongs to. {self.words}. {why}. {done}"

    @property
    def words(self) -> str:
        """What was counted, in words."""
        said = [f"It has {self.groups:,} values with {self.rows_each:.3g} rows each on average"]
        if self.constant:
            shares = list(self.constant.items())[:3]
            agree = both(f"'{name}' ({share(same)} of the pairs)" for name, same in shares)
            said.append(f"Two rows of one value agree in {agree}")
        if self.balanced:
            said.append(f"Each value has about equally many rows of every '{self.balanced}'")
        explained = share(max(self.explained, 0.0))
        said.append(
            f"The mean of a value's other rows explains {explained} of the target's variance"
        )
        return ". ".join(said)


def units(text: TextTable, found: Profile, aim: Target, passed: set[str]) -> list[Unit]:
    """Return the columns that name a unit, the surest first; ``passed`` ones are none."""
    columns = [c for c in found.columns.values() if c.name not in (aim.name, *passed)]
    candidates = [c for c in columns if _repeats(c, aim)]
    others = [c for c in columns if c.distinct > 1 and not c.all_different]
    wanted = aim.of(text)
    values = wanted[:, None] if aim.task == "regression" else _one_hot(wanted)
    measured = (_measure(text, others, values, column) for column in candidates)
    shown = [unit for unit in measured if unit.shown]
    if aim.task != "regression" and shown:
        ranks = _ranks(text, aim, wanted)
        shown = [replace(unit, divides=_divides(text, ranks, unit)) for unit in shown]
    return sorted(
        shown,
        key=lambda u: (-u.can_part, -u.named, u.place, -len(u.constant), -u.groups),
    )


def _repeats(column: Column, aim: Target) -> bool:
    """Tell whether a column can name units: several rows of each, and several of them."""
    if (
        column.missing > _MOST_UNNAMED * column.rows
        or column.dates
        or column.distinct < 5
        or column.longest > 60
    ):
        return False
    is_name = column.numbers is None or (column.numbers.whole and not column.numbers.words)
    return is_name and column.present >= 1.2 * column.distinct


def _measure(text: TextTable, others: list[Column], values: Floats, column: Column) -> Unit:
    if column.missing:
        kept = _present(text.columns[column.name])
        columns = {name: cells.filter(pa.array(kept)) for name, cells in text.columns.items()}
        text, values = replace(text, columns=columns), values[kept]
    coded = text.columns[column.name].dictionary_encode()
    place = coded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    explained, nearby = _explained(place, values, _order(coded, column))
    rows = np.bincount(place)
    beside = [other for other in others if other.name != column.name]
    constant = _constant(text, beside, column, place)
    named = bool(ID_NAME.search(column.name) or THING.search(column.name))
    return Unit(
        name=column.name,
        named=named,
        place=bool(PLACE.search(column.name)),
        numeric=column.numbers is not None,
        many=column.distinct**2 >= _MANY_THINGS * len(place),
        groups=column.distinct,
        rows_each=float(np.mean(rows)),
        largest=float(rows.max() / len(place)),
        constant=constant,
        varied=any(c.distinct > 10 for c in beside if c.name in constant),
        explained=explained,
        nearby=nearby,
        unnamed=column.missing,
        balanced=_balanced(text, beside, place) if named else "",
    )


def _ranks(text: TextTable, aim: Target, wanted: Floats) -> Places:
    """Return the rank of each row's class as a training ranks it, -1 for a row without one."""
    known = ~np.isnan(wanted)
    coded = text.columns[aim.name].dictionary_encode()
    spelt = [aim.reading.spellings.get(label, label) for label in coded.dictionary.to_pylist()]
    places = coded.indices.fill_null(0).to_numpy(zero_copy_only=False)[known]
    ranks = np.full(len(wanted), -1, dtype=np.int64)
    ranks[known] = class_ranks(np.array(spelt, dtype=object)[places])
    return ranks


def _divides(text: TextTable, ranks: Places, unit: Unit) -> bool:
    """Tell whether the drafted split by a unit gives each part two classes, and train all.

    Rows that the draft drops as copies, or keeps together as alike, count as all others.
    """
    if unit.unnamed or not unit.are_enough:
        return True
    known = ranks >= 0
    group = hashed(key_values(text, unit.name))[known]
    return all_are_measured(group, ranks[known], Split(kind="group"))


def _present(cells: Any) -> NDArray[np.bool_]:
    """Return which cells hold a value: Parquet has nulls where delimited text is empty."""
    absent = pc.or_(pc.is_null(cells), pc.is_in(cells, value_set=_MISSING))
    return np.asarray(pc.invert(absent).to_numpy(zero_copy_only=False))


def _order(coded: Any, column: Column) -> Places | None:
    """Return the units in the order of their numbers; None for texts."""
    if column.numbers is None:
        return None
    return np.argsort(_values(coded, column), kind="stable")


def _values(coded: Any, column: Column) -> Floats:
    assert column.numbers is not None
    return as_numbers(coded.dictionary, column.numbers.decimal, column.numbers.words)


def _one_hot(classes: Floats) -> Floats:
    """Return a column of 0 and 1 for each of the most frequent classes, NaN where missing."""
    known, rows = np.unique(classes[~np.isnan(classes)], return_counts=True)
    frequent = known[np.argsort(-rows, kind="stable")[:_MOST_CLASSES]]
    columns = (classes[:, None] == frequent).astype(float)
    columns[np.isnan(classes)] = np.nan
    return columns


def _explained(place: Places, values: Floats, order: Places | None) -> tuple[float, float]:
    """Return how much of the target a unit's other rows explain, and how much its neighbours do."""
    good = ~np.isnan(values[:, 0])
    units = int(place.max()) + 1
    place, values = place[good], values[good]
    size = np.bincount(place, minlength=units).astype(float)
    sums = np.stack([np.bincount(place, weights=v, minlength=units) for v in values.T], axis=1)
    several = size[place] > 1
    place, values = place[several], values[several]
    spread = ((values - values.mean(axis=0)) ** 2).sum() if len(values) else 0.0
    if not spread:
        return 0.0, 0.0
    others = (sums[place] - values) / (size[place] - 1)[:, None]
    explained = float(1 - ((values - others) ** 2).sum() / spread)
    order = np.empty(0, dtype=int) if order is None else order[size[order] > 0]
    if len(order) < 2:  # texts, or one unit has all the targets: there are no neighbours
        return explained, 0.0
    mean = (sums / np.maximum(size, 1)[:, None])[order]
    guess = np.zeros_like(sums)
    guess[order] = (np.vstack([mean[1:2], mean[:-1]]) + np.vstack([mean[1:], mean[-2:-1]])) / 2
    return explained, float(1 - ((values - guess[place]) ** 2).sum() / spread)


def _pairs(place: Places) -> tuple[Places, Places]:
    """Return pairs of rows of one unit, half its rows apart: neighbours in time may agree anyway.

    At most ``SAMPLE`` pairs.
    """
    order = np.argsort(place, kind="stable")
    size = np.bincount(place)
    start = (np.cumsum(size) - size)[place[order]]
    own = size[place[order]]
    second = start + (np.arange(len(order)) - start + np.maximum(own // 2, 1)) % own
    chosen = np.flatnonzero(own > 1)
    if len(chosen) > SAMPLE:
        chosen = chosen[np.linspace(0, len(chosen) - 1, SAMPLE).astype(np.int64)]
    return order[chosen], order[second[chosen]]


def _constant(
    text: TextTable, others: list[Column], column: Column, place: Places
) -> dict[str, float]:
    """Return the columns that agree between two rows of a unit beyond chance, and how often.

    A column that only says the same in other words, or that orders the units, shows nothing.
    """
    first, second = _pairs(place)
    if len(first) < _FEWEST_PAIRS:
        return {}
    found = {}
    for other in others:
        chance = sum((count / max(other.present, 1)) ** 2 for count in other.levels.values())
        is_amount = bool(other.numbers and not other.numbers.whole)
        if chance >= _BY_CHANCE or (other.distinct > 0.9 * column.distinct and not is_amount):
            continue
        same = _agreement(text.columns[other.name], first, second)
        if same > _CONSTANT and not _in_order(text, column, other):
            found[other.name] = same
    return found


def _agreement(cells: Any, first: Places, second: Places) -> float:
    """Return the share of pairs that agree; two cells without a value are no pair."""
    one, other = cells.take(first), cells.take(second)
    known = pa.array(_present(one) | _present(other))
    if pc.sum(known).as_py() < _FEWEST_PAIRS:
        return 0.0
    equal = pc.equal(one.filter(known), other.filter(known))
    return float(pc.mean(pc.fill_null(equal, False)).as_py())


def _in_order(text: TextTable, column: Column, other: Column) -> bool:
    """Tell whether a number rises or falls with the column's own number."""
    if column.numbers is None or other.numbers is None:
        return False
    both = [column_numbers(text.columns[c.name].dictionary_encode(), c) for c in (column, other)]
    good = np.isfinite(both[0]) & np.isfinite(both[1])
    ranks = [np.unique(values[good], return_inverse=True)[1] for values in both]
    return abs(float(np.corrcoef(ranks[0], ranks[1])[0, 1])) > 0.95


def _balanced(text: TextTable, others: list[Column], place: Places) -> str:
    """Return a column of whose values each unit has the same number of rows, unlike by chance."""
    units = int(place.max()) + 1
    for other in others:
        if other.missing or not 5 <= other.distinct <= 200 or units * other.distinct > 10**7:
            continue
        coded = text.columns[other.name].dictionary_encode()
        level = coded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
        counts = np.bincount(place * other.distinct + level, minlength=units * other.distinct)
        counts = counts.reshape(units, other.distinct)
        expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / counts.sum()
        surplus = ((counts - expected) ** 2 / expected).sum()
        if surplus < _BALANCED * (units - 1) * (other.distinct - 1):
            return other.name
    return ""


def one_row_each(text: TextTable, name: str) -> TextTable:
    """Return the first row of each unit."""
    place = text.columns[name].dictionary_encode().indices.fill_null(-1)
    rows = np.unique(place.to_numpy(zero_copy_only=False), return_index=True)[1]
    return replace(text, columns={n: values.take(rows) for n, values in text.columns.items()})
