"""The shape of a model's strongest effects: partial dependence as one small table.

The effect of a value is the mean score of some rows, all of which have one input set to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lockstep.evaluation.plot_data import thinned
from lockstep.evaluation.scored_rows import Array
from lockstep.features.level_names import MISSING

FEATURES = 6
"""Inputs whose effects are shown."""
ROWS = 400
"""Most rows that are scored for a value."""
VALUES = 12
"""Most values of an input, beside a missing one."""
CLASSES = 10
"""Most classes."""
EXACT = 1e15
"""Whole numbers below this are written with all their digits."""

Score = Callable[[pd.DataFrame], Array]
"""From encoded rows to scores: (rows,), or (rows, classes)."""


@dataclass(frozen=True)
class Setting:
    """A value that an input is set to: its encoded number, its text, the sample rows it is of."""

    encoded: float
    text: str
    rows: int


def effects_table(
    features: pd.DataFrame,
    inputs: Sequence[str],
    names: Mapping[str, Mapping[float, str]],
    score: Score,
    classes: Mapping[int, str] | None = None,
) -> pd.DataFrame:
    """Return the effect of each value of some inputs, in the order of ``inputs``.

    ``features`` are encoded rows, ``names`` the texts of the codes of inputs that are categories,
    ``classes`` the labels of the score's columns to show. Columns of the result:

    - feature: the encoded column
    - kind: number or category
    - value: a number, or a category's text; empty if missing, which comes last
    - class: its label, of several classes only
    - rows: sampled rows with this category; of a number, above the value before and up to this
      one, for the last value also those above it
    - effect: the mean score
    """
    sample = thinned(features, ROWS)
    tables = [_effects(sample, name, names.get(name), score, classes) for name in inputs]
    return pd.concat(tables, ignore_index=True)


def _effects(
    sample: pd.DataFrame,
    name: str,
    texts: Mapping[float, str] | None,
    score: Score,
    classes: Mapping[int, str] | None,
) -> pd.DataFrame:
    column = sample[name].to_numpy(dtype=np.float64)
    settings = numbers(column) if texts is None else categories(column, texts)
    means = mean_scores(sample, name, [one.encoded for one in settings], score)
    table = pd.DataFrame(
        {
            "feature": name,
            "kind": "number" if texts is None else "category",
            "value": [one.text for one in settings],
            "rows": [one.rows for one in settings],
        }
    )
    if classes is None:
        return table.assign(effect=means[:, 0])
    parts = [table.assign(effect=means[:, k], **{"class": label}) for k, label in classes.items()]
    return pd.concat(parts)[["feature", "kind", "value", "class", "rows", "effect"]]


def strongest(importance: Mapping[str, float], features: pd.DataFrame) -> list[str]:
    """Return the most important encoded columns, in the order of the table of importance."""
    own = {name: share for name, share in importance.items() if name in features}
    return sorted(own, key=lambda name: (-own[name], name))[:FEATURES]


def frequent_classes(target: NDArray[Any], labels: Sequence[Any]) -> dict[int, str]:
    """Return the most frequent classes: their places among ``labels``, and their labels."""
    count = np.bincount(target.astype(np.int64), minlength=len(labels))
    places = np.argsort(-count, kind="stable")[:CLASSES]
    return {int(place): str(labels[place]) for place in places}


def numbers(column: Array) -> list[Setting]:
    """Return quantiles of a column's known values, which occur in it, to 6 digits.

    They are the middles of equal parts: beyond the outer ones few rows tell of an effect.
    """
    values = np.array([_shown(value) for value in column.tolist()])
    known = np.sort(values[~np.isnan(values)])
    grid = np.unique(known)
    if len(grid) > VALUES:
        grid = np.unique(known[(2 * np.arange(VALUES) + 1) * len(known) // (2 * VALUES)])
    place = np.minimum(np.searchsorted(grid, known), len(grid) - 1)
    rows = np.bincount(place, minlength=len(grid))
    pairs = zip(grid.tolist(), rows.tolist(), strict=True)
    found = [Setting(value, _text(value), count) for value, count in pairs]
    return [*found, *_missing(np.nan, len(values) - len(known))]


def _shown(value: float) -> float:
    """Return a number as a table of 6 digits has it, a whole one as it is."""
    return value if value.is_integer() else float(f"{value:.6g}")


def _text(value: float) -> str:
    whole = value.is_integer() and abs(value) < EXACT
    return str(int(value)) if whole else f"{value:.6g}"


def categories(column: Array, texts: Mapping[float, str]) -> list[Setting]:
    """Return a column's most frequent levels in the order of their codes."""
    is_missing = np.array([texts.get(value, MISSING) == MISSING for value in column.tolist()])
    codes, rows = np.unique(column[~is_missing], return_counts=True)
    frequent = np.sort(np.argsort(-rows, kind="stable")[:VALUES])
    pairs = zip(codes[frequent].tolist(), rows[frequent].tolist(), strict=True)
    found = [Setting(code, texts[code], count) for code, count in pairs]
    encoded = column[is_missing][0] if is_missing.any() else np.nan
    return [*found, *_missing(float(encoded), int(is_missing.sum()))]


def _missing(encoded: float, rows: int) -> list[Setting]:
    return [Setting(encoded, MISSING, rows)] if rows else []


def mean_scores(sample: pd.DataFrame, name: str, values: Sequence[float], score: Score) -> Array:
    """Return the mean score with a column set to each value: (values, classes), or (values, 1).

    Sums are exact, so that they do not depend on how a processor adds.
    """
    rows = sample.to_numpy(dtype=np.float64)
    variants = np.tile(rows, (len(values), 1, 1))
    variants[:, :, sample.columns.get_loc(name)] = np.reshape(values, (-1, 1))
    scores = score(pd.DataFrame(variants.reshape(-1, rows.shape[1]), columns=sample.columns))
    by_value = scores.reshape(len(values), len(rows), -1)
    return np.array([[fsum(one) / len(rows) for one in found.T.tolist()] for found in by_value])
