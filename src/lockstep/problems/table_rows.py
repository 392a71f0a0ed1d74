"""Rows of a file that are no data: empty ones, header lines below the first, totals, remarks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lockstep.errors import listed
from lockstep.problems.dialects import counted
from lockstep.problems.headers import (
    footer_rows,
    has_second_line,
    repeated_lines,
    row_of_names,
)

_EXAMPLES = 5


class NamesBelow(Exception):
    """A row below the header holds the names: a title is above them."""

    def __init__(self, row: int, names: list[str]) -> None:
        super().__init__(f"row {row + 1} holds the names")
        self.row, self.names = row, names


@dataclass
class Rows:
    """Columns (pyarrow arrays of trimmed texts) with their names, and what was passed over."""

    written: list[str]
    columns: list[Any]
    notes: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    def tidy(self) -> None:
        """Leave out what is no data; NamesBelow if the first line is a title."""
        self._drop_nameless()
        self._drop(_empty_rows(self.columns), "empty_rows", "{} passed over", "empty row")
        again = "the header comes up again: {} passed over"
        self._drop(repeated_lines(self.columns, self.written), "header_rows", again, "row")
        self._refuse_title()
        self._drop_second_line()
        self._drop_footers()

    def _drop_nameless(self) -> None:
        """Leave out empty columns at the end that have no name."""
        width = len(self.written)
        while not self.written[-1] and len(self.written) > 1 and not _has_values(self.columns[-1]):
            self.written, self.columns = self.written[:-1], self.columns[:-1]
        if left_out := width - len(self.written):
            self.notes.append(f"{counted(left_out, 'empty column')} without a name left out")

    def _drop(self, rows: NDArray[np.bool_] | None, reason: str, note: str, what: str) -> None:
        """Leave out these rows, count them and note it."""
        if rows is None:
            return
        kept = pa.array(~rows)
        self.columns = [column.filter(kept) for column in self.columns]
        self._count(reason, int(rows.sum()))
        self.notes.append(note.format(counted(int(rows.sum()), what)))

    def _count(self, reason: str, rows: int) -> None:
        self.counts[reason] = self.counts.get(reason, 0) + rows

    def _refuse_title(self) -> None:
        """Raise NamesBelow if most columns have no name, and a row below holds names."""
        if sum(not name for name in self.written) <= len(self.written) / 2:
            return
        row = 0 if has_second_line(self.columns) else row_of_names(self.columns)
        if row is not None:
            raise NamesBelow(row, [column[row].as_py() for column in self.columns])

    def _drop_second_line(self) -> None:
        """Leave out a second header line: names, units, dashes or the columns' numbers."""
        if not has_second_line(self.columns):
            return
        shown = listed([f"'{column[0].as_py()}'" for column in self.columns], _EXAMPLES)
        self.notes.append(f"a second header line below the first ({shown}) passed over")
        self.columns = [column.slice(1) for column in self.columns]
        self._count("header_rows", 1)

    def _drop_footers(self) -> None:
        """Leave out totals and remarks at the end."""
        found = footer_rows(self.columns)
        if not found:
            return
        shown = listed([f"'{text}'" for text in found], _EXAMPLES)
        what = counted(len(found), "row")
        self.notes.append(f"{what} at the end passed over as totals or remarks ({shown})")
        self.columns = [column.slice(0, len(column) - len(found)) for column in self.columns]
        self._count("footer_rows", len(found))


def _empty_rows(columns: list[Any]) -> NDArray[np.bool_] | None:
    """Return which rows have no value in any column, or None if there are none."""
    if len(columns) < 2:
        return None
    found = pc.equal(columns[0], "")
    for column in columns[1:]:
        if not pc.any(found).as_py():
            return None
        found = pc.and_(found, pc.equal(column, ""))
    rows: NDArray[np.bool_] = found.to_numpy(zero_copy_only=False)
    return rows if rows.any() else None


def _has_values(column: Any) -> bool:
    return bool(pc.any(pc.not_equal(column, "")).as_py())
