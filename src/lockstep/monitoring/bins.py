"""How the values of a column are counted: numbers in bins, categories by value; never a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lockstep.problems.schema import Column

FINE = 50
"""Bins of a number, of about equal counts."""
MOST_VALUES = 500
"""How many values of a category are counted one by one; the rest are ``other``."""
FEWEST_GROUPS = 10
"""How many groups of rows must have a value that the schema doesn't list, so that it is named."""
DIGITS = 8

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Bins:
    """The bins of one column.

    Numbers: bin i holds ``edges[i - 1]`` <= value < ``edges[i]``, and ``centers`` are the means of
    the bins. Categories: a bin a value of ``values``, then one for any other. The last bin always
    counts missing values.
    """

    edges: tuple[float, ...] = ()
    centers: tuple[float, ...] = ()
    values: tuple[float | str, ...] | None = None

    @property
    def size(self) -> int:
        """The number of bins, the one of missing values included."""
        known = len(self.edges) + 1 if self.values is None else len(self.values) + 1
        return known + 1

    @property
    def missing(self) -> int:
        """The place of the bin of missing values."""
        return self.size - 1

    @property
    def other(self) -> int | None:
        """The place of the bin of values that are not listed; None for numbers."""
        return None if self.values is None else self.size - 2

    def places(self, column: Any) -> NDArray[np.int64]:
        """Return the bin of each value: floats with NaN, or texts with None or NaN, if missing."""
        if self.values is None:
            numbers = np.asarray(column, dtype=np.float64)
            places = np.searchsorted(np.asarray(self.edges), numbers, side="right")
            return np.where(np.isnan(numbers), self.missing, places)
        values = pd.Series(column)
        found = self._index.get_indexer(pd.Index(values))
        found = np.where(found < 0, self.size - 2, found)
        return np.where(values.isna().to_numpy(), self.missing, found)

    @cached_property
    def _index(self) -> pd.Index[Any]:
        assert self.values is not None
        texts = any(isinstance(value, str) for value in self.values)
        return pd.Index(list(self.values), dtype="str" if texts else "float64")

    @property
    def content(self) -> dict[str, Any]:
        """The bins as plain JSON values."""
        if self.values is not None:
            return {"values": list(self.values)}
        return {"edges": list(self.edges), "centers": list(self.centers)}

    @classmethod
    def read(cls, content: dict[str, Any]) -> Bins:
        """Return the bins of their JSON values."""
        if "values" in content:
            return cls(values=tuple(content["values"]))
        return cls(tuple(content["edges"]), tuple(content["centers"]))


def bins_of(column: Column, values: pd.Series, groups: NDArray[Any]) -> Bins:
    """Return the bins of a feature for the values of a reference; ``groups`` (rows,) are theirs."""
    if column.kind == "categorical" or column.codes:
        return Bins(values=_listed(column, values, groups))
    return number_bins(values.to_numpy(dtype=np.float64), FINE)


def number_bins(values: NDArray[np.float64], count: int, more: Sequence[float] = ()) -> Bins:
    """Return at most ``count`` bins of about equal counts; ``more`` are edges of their own."""
    known = np.sort(values[np.isfinite(values)])
    if not len(known):
        return Bins((), (0.0,))
    cuts = known[np.arange(1, count) * len(known) // count]
    edges = np.unique(np.concatenate([_rounded(cuts), np.asarray(more, dtype=np.float64)]))
    edges = edges[edges > known[0]]
    place = np.searchsorted(edges, known, side="right")
    rows = np.bincount(place, minlength=len(edges) + 1)
    sums = np.bincount(place, known, minlength=len(edges) + 1)
    ends = np.concatenate([[known[0]], edges, [max([known[-1], *edges[-1:]])]])
    centers = np.where(rows > 0, sums / np.maximum(rows, 1), (ends[:-1] + ends[1:]) / 2)
    return Bins(tuple(edges.tolist()), tuple(_rounded(centers).tolist()))


def _rounded(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return numbers with few digits, as files hold them."""
    return np.array([float(f"{value:.{DIGITS}g}") for value in values])


def _listed(column: Column, values: pd.Series, groups: NDArray[Any]) -> tuple[float | str, ...]:
    """Return the values that are counted one by one: the schema's codes, or those not rare."""
    if column.codes:
        return tuple(sorted(column.known_codes, key=str))
    known = values.notna().to_numpy()
    table = pd.DataFrame({"value": values[known].to_numpy(), "group": groups[known]})
    found = table.groupby("value")["group"].nunique()
    common = found[found >= FEWEST_GROUPS].sort_values(ascending=False, kind="stable")
    return tuple(sorted(common.index[:MOST_VALUES].tolist()))


def counted(places: NDArray[np.int64], size: int) -> Counts:
    """Return how many rows lie in each bin."""
    return np.bincount(places, minlength=size).astype(np.int64)


def counted_by(rows: NDArray[np.int64], many: int, places: NDArray[np.int64], size: int) -> Counts:
    """Return how many rows lie in each bin, for each of ``many`` kinds of rows: (many, size)."""
    return counted(rows * size + places, many * size).reshape(many, size)
