"""What evidence across columns is judged by: the target's values, names of ids, the sample."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lockstep.drafting.profile import Column, as_numbers
from lockstep.drafting.target import Reading, class_places
from lockstep.problems.schema import Task
from lockstep.problems.text_tables import TextTable

Floats = NDArray[np.float64]
Places = NDArray[np.int64]

Evidence = tuple[bool, str]
"""Whether a column wholly determines the target, and how well in words."""
SAMPLE = 50_000
"""Rows examined at most: shares need not be exact."""


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

    def of(self, text: TextTable) -> Floats:
        """Return the ``values`` of all rows of a table."""
        return self.values(text.columns[self.name].dictionary_encode())

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
