"""The typical record of a training: for each feature the median, or the most frequent value.

Each value is that of its own column: the record is copied from no row. The card that a model
travels with holds it; the API's page, its description and the checklist begin with it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from lockstep.config.layout import ProblemLayout
from lockstep.data.values import fit_check
from lockstep.errors import DataError
from lockstep.features.matrix_columns import GROUP, ROW
from lockstep.io import read_parquet
from lockstep.problems.schema import Column, Schema

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

CARD_KEY = "typical_record"
FEWEST_GROUPS = 10
"""How many groups of rows must have a value that the schema doesn't list; else it may name one."""
DIGITS = 4
"""How many digits a median has that is no whole number."""


def typical_record(schema: Schema, rows: pd.DataFrame, groups: NDArray[Any]) -> dict[str, Any]:
    """Return a typical value of each feature of tidy rows, as JSON has it; null if none is known.

    ``groups`` holds each row's group, any values. A feature that may not be missing is left out if
    no value of it is typical.
    """
    found = {c.name: _typical(c, rows[c.name], groups) for c in schema.features}
    may_lack = {c.name for c in schema.features if c.missing}
    return {k: value for k, value in found.items() if value is not None or k in may_lack}


def typical_of_training(
    layout: ProblemLayout, schema: Schema, card: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Return the typical record of the training rows in this workspace; None without them."""
    found = training_rows(layout, schema, card)
    return None if found is None else typical_record(schema, *found)


def training_rows(
    layout: ProblemLayout, schema: Schema, card: Mapping[str, Any]
) -> tuple[pd.DataFrame, NDArray[Any]] | None:
    """Return the tidy training rows in this workspace, and the group of each.

    None if its tables are missing, or are not those that the model of this card was trained on.
    """
    try:
        train = read_parquet(layout.matrix("train"), [ROW, GROUP])
        table = read_parquet(layout.tidy, schema.feature_names)
    except DataError:  # a copy of the models alone
        return None
    place = train[ROW].to_numpy()
    if len(place) != card.get("rows", {}).get("train") or not _is_in(table, place, schema):
        return None
    return table.iloc[place], train[GROUP].to_numpy()


def _is_in(table: pd.DataFrame, place: NDArray[Any], schema: Schema) -> bool:
    """Tell whether a tidy table has these rows, and the schema's kinds of values."""
    kinds = [(table[c.name].dtype.kind in "fiu") == c.holds_numbers for c in schema.features]
    return all(kinds) and len(place) > 0 and 0 <= place.min() <= place.max() < len(table)


def fitting(schema: Schema, record: Any) -> dict[str, Any]:
    """Return those values of a record that the schema takes; none of what is no record."""
    given = record if isinstance(record, Mapping) else {}
    return {
        c.name: given[c.name]
        for c in schema.features
        if c.name in given and fit_check(c)(given[c.name])
    }


def _typical(column: Column, values: pd.Series, groups: NDArray[Any]) -> Any:
    known = values.notna().to_numpy()
    if not known.any():
        return None
    if column.holds_numbers and column.kind != "categorical" and not column.codes:
        return _median(column, values.to_numpy()[known])
    return _most_frequent(column, values[known], groups[known])


def _median(column: Column, numbers: NDArray[np.float64]) -> int | float | None:
    """Return the median with few digits; of whole numbers the lower one, which is whole."""
    finite = numbers[np.isfinite(numbers)]
    if not len(finite):
        return None
    half = (len(finite) - 1) // 2
    middle = float(np.partition(finite, half)[half] if column.integer else np.median(finite))
    short = _short(middle)
    return _plain(short if fit_check(column)(short) else middle)


def _short(number: float) -> float:
    """Return a number with at least ``DIGITS`` digits, all of them if it is whole."""
    if number.is_integer():
        return number
    return round(number, max(0, DIGITS - 1 - math.floor(math.log10(abs(number)))))


def _most_frequent(column: Column, values: pd.Series, groups: NDArray[Any]) -> Any:
    """Return the most frequent value, of equally frequent ones the first in order."""
    counts = values.value_counts()
    top = min(counts.index[counts == counts.iloc[0]])
    if not column.codes and len(np.unique(groups[(values == top).to_numpy()])) < FEWEST_GROUPS:
        return None
    return _plain(float(top)) if column.holds_numbers else str(top)


def _plain(number: float) -> int | float:
    return int(number) if number.is_integer() else number
