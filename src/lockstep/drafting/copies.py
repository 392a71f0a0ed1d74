"""Copies in a table: rows equal in every column, and rows equal in every feature."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lockstep.data.copies import cell_hashes, repeats
from lockstep.drafting.profile import Column, Profile, as_numbers
from lockstep.drafting.wording import rows_do, share
from lockstep.features.split import joined, mixed
from lockstep.problems.dialects import counted
from lockstep.problems.text_tables import MISSING, TextTable

Hashes = NDArray[np.uint64]
FEWEST_KINDS = 100
"""With fewer different kinds of rows, some part may get no row of a class."""
LARGEST_SHARE = 0.1
"""A kind with a larger share of the rows would fill a part."""

ENOUGH = 2
"""Columns of many values that hardly agree by chance."""
_MOST_KNOWN, _FEW_PAIRS = 0.7, 1.15
"""Distinct values as a share of the rows; distinct pairs of values as a multiple of the values."""


@dataclass(frozen=True)
class Alike:
    """How many rows equal another row in every feature, and whether a split can join them."""

    rows: int
    twins: int
    """Rows that equal another row in every feature."""
    other_label: int
    """Rows that equal a row of another label."""
    kinds: int
    largest: int
    """Rows of the largest set that must stay together, its groups included."""

    @property
    def can_part(self) -> bool:
        """Whether whole kinds can be split into train, stop, choose and test."""
        return self.kinds >= FEWEST_KINDS and self.largest <= LARGEST_SHARE * self.rows

    def question(self, label: str) -> str:
        """Return how many rows are equal, with another label or not, and where they go."""
        shares = (
            f"{self.twins:,} of {self.rows:,} rows ({share(self.twins / self.rows)}) equal another "
            f"row in every feature; {self.other_label:,} ({share(self.other_label / self.rows)}) "
            f"equal a row with another {label}"
        )
        if self.can_part:
            return f"{shares}. Equal rows stay in one part (split.alike: together)"
        return (
            f"{shares}. Equal rows may be in training and test, so the metrics may be too good. "
            f"Kept together, the rows form {counted(self.kinds, 'set')}, the largest with "
            f"{counted(self.largest, 'row')}. A split needs at least {FEWEST_KINDS} sets, none "
            f"above {LARGEST_SHARE:.0%} of the rows"
        )


def why_no_copies(text: TextTable, found: Profile) -> str:
    """Return why equal rows can be different things; empty if they hardly can.

    Things that only look alike come with more that differ in one column. Copied rows do not, if
    there are columns of many values.
    """
    columns = found.columns.values()
    many = [c for c in columns if c.numbers and c.distinct > 0.05 * c.present > 5]
    apart = _independent(text, many)
    if len(apart) < ENOUGH:
        numbers = "1 column holds" if apart else "no column holds"
        known = " that no other column gives" if len(many) > len(apart) else ""
        return (
            f"of {counted(len(found.columns), 'column')}, {numbers} numbers of many values{known}"
        )
    for place, name in enumerate(found.columns):
        cells = cell_hashes(text.columns[name].dictionary_encode(), place)
        more = int(repeats(found.hashes - cells).sum()) - found.copies
        if more > found.copies:
            differ = rows_do(more, "differs", "differ", "more row")
            return f"{differ} from another row in '{name}' alone"
    return ""


def _independent(text: TextTable, columns: list[Column]) -> list[Column]:
    """Return two columns of many values that don't repeat each other, as in another unit.

    Fewer if there are no two.
    """
    kept: list[tuple[Column, Hashes]] = []
    for column in columns:
        coded = text.columns[column.name].dictionary_encode()
        second = cell_hashes(coded, 1)
        if not any(_repeats(column, second, *other) for other in kept):
            kept.append((column, cell_hashes(coded, 0)))
        if len(kept) == ENOUGH:  # of hundreds of columns, each pair would take a look at all rows
            break
    return [column for column, _ in kept]


def _repeats(column: Column, cells: Hashes, other: Column, others: Hashes) -> bool:
    """Tell whether two columns have hardly more pairs of values than values."""
    most = max(column.distinct, other.distinct)
    if most > _MOST_KNOWN * len(cells):  # values that differ in most rows pair up by chance
        return False
    return len(np.unique(cells + others)) <= _FEW_PAIRS * most


def feature_hashes(text: TextTable, columns: Iterable[Column]) -> Hashes:
    """Return a hash of each row over these columns: numbers by value, missing ones alike."""
    seen = np.zeros(text.rows, dtype=np.uint64)
    for place, column in enumerate(columns):
        coded = text.columns[column.name].dictionary_encode()
        if column.numbers:
            read = as_numbers(coded.dictionary, column.numbers.decimal, column.numbers.words)
            _, known = np.unique(np.append(read, np.nan), return_inverse=True)
        else:
            absent = pc.is_in(coded.dictionary, value_set=pa.array(sorted(MISSING)))
            absent = absent.to_numpy(zero_copy_only=False)
            known = np.append(np.where(absent, 0, np.arange(1, len(absent) + 1)), 0)
        codes = known[coded.indices.fill_null(len(known) - 1).to_numpy(zero_copy_only=False)]
        seen = mixed(seen ^ codes.astype(np.uint64), place)
    return seen


def count_alike(kinds: Hashes, labels: Hashes, groups: Hashes) -> Alike:
    """Count rows that share their kind (hash of the features) with others, and their labels."""
    _, place, size = np.unique(kinds, return_inverse=True, return_counts=True)
    _, label = np.unique(labels, return_inverse=True)
    first = np.full(len(size), -1)
    first[place] = label
    differs = np.zeros(len(size), dtype=bool)
    np.logical_or.at(differs, place, label != first[place])
    _, together = np.unique(joined(groups, kinds), return_counts=True)
    return Alike(
        len(kinds), int((size[place] > 1).sum()), int(differs[place].sum()),
        len(together), int(together.max(initial=0)),
    )  # fmt: skip
