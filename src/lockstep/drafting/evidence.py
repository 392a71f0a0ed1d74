"""Evidence across columns: groups, and whether a split by time works.

At most ``SAMPLE`` rows (or pairs of rows) are examined: shares need not be exact.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.compute as pc
from numpy.typing import NDArray

from lockstep.drafting.profile import Column, Profile, as_numbers
from lockstep.drafting.target import Reading, class_places
from lockstep.problems.schema import Task
from lockstep.problems.text_tables import TextTable

Floats = NDArray[np.float64]
Places = NDArray[np.int64]

Evidence = tuple[bool, str]
"""Whether a column wholly determines the target, and how well in words."""
SAMPLE = 50_000
ID_NAME = re.compile(
    r"(?i)(?:^|[\W_])(?:id|ids|uuid|guid)(?:$|[\W_])|(?-i:[a-z]I[dD]$)|^column \d+$"
    r"|(?:^|[\W_])(?:nr|no|num|number|key|index|idx|row|customer|client|user|patient|household|account|session|person|"
    r"member|subject)$"
)
"""Names that columns of identifiers have."""
_DATE_OF_OTHERS = re.compile(r"(?i)birth|born|dob|naiss|geburt|nacim|expir|valid|due|end|until")
_MANY_DAYS = 20
_FEWEST = 5
_PART_ENDS = (0.64, 0.72, 0.8, 1.0)


@dataclass(frozen=True)
class Target:
    """The target of a table and how it is read."""

    reading: Reading
    task: Task

    @property
    def column(self) -> Column:
        """The facts of its labels."""
        return self.reading.column

    @property
    def name(self) -> str:
        """Its column in the file."""
        return self.column.name

    def values(self, coded: Any) -> Floats:
        """Return class numbers, or the numbers themselves for a regression; NaN where missing."""
        if self.task == "regression" and self.column.numbers:
            return column_numbers(coded, self.column, self.reading.absent)
        classes = class_places(coded.dictionary.to_pylist(), self.reading)
        places = coded.indices.fill_null(len(classes)).to_numpy(zero_copy_only=False)
        return np.append(classes, np.nan)[places]


def column_numbers(coded: Any, column: Column, absent: Iterable[str] = ()) -> Floats:
    """Return the numbers of a dictionary array, NaN where missing or a word."""
    assert column.numbers is not None
    words = {*column.numbers.words, *absent}
    known = as_numbers(coded.dictionary, column.numbers.decimal, words)
    places = coded.indices.fill_null(len(known)).to_numpy(zero_copy_only=False)
    return np.append(known, np.nan)[places]


def groups(text: TextTable, profile: Profile, target: Target) -> dict[str, str]:
    """Return the columns of identifiers whose rows belong together, and the evidence for it."""
    found = {}
    for column in profile.columns.values():
        named = ID_NAME.search(column.name) and column.name != target.name and column.dates is None
        repeats = 1.2 <= column.present / max(column.distinct, 1) <= 1000 and column.distinct >= 30
        if named and repeats and column.missing == 0:
            evidence = _belong(text, profile, target, column)
            if evidence:
                found[column.name] = evidence
    return found


def _belong(text: TextTable, profile: Profile, target: Target, column: Column) -> str:
    """Return how rows of one identifier agree beyond chance, empty where they don't."""
    first, second = _pairs(text.columns[column.name])
    if len(first) < 20:
        return ""
    evidence: list[str] = []
    for other in profile.columns.values():
        if other.name == column.name or other.distinct < 2 or other.all_different:
            continue
        share, chance = _agreement(text.columns[other.name], other, first, second)
        if other.name == target.name and target.task != "regression" and share - chance > 0.1:
            agree = f"rows of one have the same target in {share:.0%} of the pairs"
            evidence.insert(0, f"{agree}, by chance {chance:.0%}")
        elif other.name != target.name and share > 0.98 and chance < 0.8:
            evidence.append(f"'{other.name}' is the same in all rows of one")
    return "; ".join(evidence[:3])


def _pairs(values: Any) -> tuple[Places, Places]:
    """Return pairs of neighbouring rows with the same value, at most SAMPLE of them."""
    codes = values.dictionary_encode().indices.fill_null(-1).to_numpy(zero_copy_only=False)
    order = np.argsort(codes, kind="stable")
    same = np.flatnonzero(codes[order][1:] == codes[order][:-1])
    if len(same) > SAMPLE:
        same = same[np.linspace(0, len(same) - 1, SAMPLE).astype(np.int64)]
    return order[same], order[same + 1]


def _agreement(values: Any, column: Column, first: Places, second: Places) -> tuple[float, float]:
    """Return in which share of the pairs a column agrees, and in which it would by chance."""
    share = float(pc.mean(pc.equal(values.take(first), values.take(second))).as_py() or 0.0)
    return share, sum((count / max(column.present, 1)) ** 2 for count in column.levels.values())


def time_parts(text: TextTable, column: Column, target: Target) -> str:
    """Return why a split by this date is not possible; empty where it is."""
    if column.dates is None or column.dates.others or column.missing:
        return "not every row has a date"
    if _DATE_OF_OTHERS.search(column.name):
        return "by its name not the time at which a row came to be"
    if column.dates.days < _MANY_DAYS:
        return f"{column.dates.days} different days only"
    if target.task == "regression":
        return ""
    coded = text.columns[column.name].dictionary_encode()
    texts = pd.Series(coded.dictionary.to_pylist(), dtype="str")
    days = pd.to_datetime(texts, format=column.dates.format or "ISO8601", utc=True).to_numpy()
    order = np.argsort(days[coded.indices.to_numpy(zero_copy_only=False)], kind="stable")
    return _part_without_class(target, order, text)


def _part_without_class(target: Target, order: Places, text: TextTable) -> str:
    """Return which part of a split in this order would lack a class."""
    wanted = target.values(text.columns[target.name].dictionary_encode())[order]
    ends = [round(end * len(wanted)) for end in _PART_ENDS]
    parts = zip(("train", "stop", "choose", "test"), [0, *ends], ends, strict=False)
    for part, start, stop in parts:
        rows = wanted[start:stop]
        counts = np.unique(rows[~np.isnan(rows)], return_counts=True)[1]
        is_rare = target.task == "binary" and len(counts) and counts.min() < _FEWEST
        if len(counts) < 2 or is_rare:
            return f"the part '{part}' would hold too few rows of a class"
    return ""
