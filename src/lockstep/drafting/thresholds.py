"""Two classes that a weighted sum of a few columns tells apart: a label made by a threshold."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from sklearn.linear_model import LogisticRegression

Floats = NDArray[np.float64]

_MOST_ROWS, _FEWEST_ROWS = 4000, 100
_MOST_COLUMNS = 4
"""A sum of more columns is an easy problem rather than a formula."""
_MOST_WRONG, _MOST_UPPER = 0.03, 0.1
"""Shares of the rarer class's rows that the sum may get wrong: found, and at the upper end."""
_WEAK_PENALTY, _STEPS = 1e6, 500


def find_threshold(columns: Mapping[str, Floats], wanted: Floats) -> tuple[list[str], float] | None:
    """Return two to four columns whose weighted sum tells two classes apart, or None.

    They have the largest weights in the sum of all columns, each in its own spread. The share is
    that of the rows that the sum gets right, of those that it has not learned from. ``columns``
    and ``wanted`` are rows in random order, NaN where missing.
    """
    names = [name for name, values in columns.items() if np.isfinite(values).all()]
    names = [name for name in names if _varies(columns[name])]
    if len(names) < 2 or len(wanted) < _FEWEST_ROWS or len(np.unique(wanted)) != 2:
        return None
    table = np.column_stack([columns[name] for name in names])[:_MOST_ROWS]
    table = (table - table.mean(axis=0)) / (table.std(axis=0) + 1e-300)
    label = wanted[:_MOST_ROWS] == wanted.max()
    order = np.argsort(-np.abs(_judged(table, label)[0]), kind="stable")
    for count in range(2, min(_MOST_COLUMNS, len(names)) + 1):
        used = sorted(order[:count].tolist())
        wrong = _judged(table[:, used], label)[1]
        if _is_formula(wrong, label):
            return [names[place] for place in used], 1 - wrong / (len(label) - len(label) // 2)
    return None


def _varies(values: Floats) -> bool:
    """Tell whether values differ, by a spread that a float64 holds."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(0 < values.std() < np.inf)


def _judged(table: Floats, label: NDArray[np.bool_]) -> tuple[Floats, int]:
    """Return the weights learned on one half, and how many rows of the other they get wrong."""
    half = len(label) // 2
    if len(np.unique(label[:half])) < 2:
        return np.zeros(table.shape[1]), len(label)
    model = LogisticRegression(C=_WEAK_PENALTY, max_iter=_STEPS).fit(table[:half], label[:half])
    return model.coef_[0], int((model.predict(table[half:]) != label[half:]).sum())


def _is_formula(wrong: int, label: NDArray[np.bool_]) -> bool:
    """Tell whether the rows that are wrong are few, beside those of the rarer class."""
    held = label[len(label) // 2 :]
    rarer = int(min(held.sum(), (~held).sum()))
    upper = float(stats.beta.ppf(0.975, wrong + 1, max(len(held) - wrong, 1))) * len(held)
    return wrong <= _MOST_WRONG * rarer and upper <= _MOST_UPPER * rarer
