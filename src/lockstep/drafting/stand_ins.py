"""Numbers that stand for a missing value: one far-off value that is frequent (-1, 999, 0 …)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lockstep.drafting.profile import Column, as_numbers
from lockstep.drafting.wording import both
from lockstep.problems.dialects import counted

_FEWEST, _LEAST_SHARE = 5, 0.002
"""Rows, and the share of them, that a value needs to be frequent."""
_MOST_VALUES = 3
"""Values beside each other that may stand for missing (998 and 999)."""
_FEWEST_OTHERS = 10
"""Different other values that are needed to tell where they end."""
_TIMES_OFTENER = 3
"""How many times oftener than the other values it is, at least."""
_FAR, _NEAR, _STEPS = 1.0, 0.4, 5.0
"""Distances to the others: in interquartile ranges (far; for known stand-ins), in usual steps."""
_OTHERS = (0, -1, 7, 77, 777, 7777, 8, 88, 888, 8888, 99.9, 999.9, 9999.9)
_WIDEST = (32767, 65535, 2147483647)
_NINES = (float(10**digits - 1) for digits in range(1, 10))
_KNOWN = frozenset(map(float, (*_OTHERS, *_WIDEST))).union(_NINES)
"""Numbers that people and programs write where a value is missing, with either sign but -1."""
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class StandIn:
    """Values that may stand for missing, with their rows, and the range of the others."""

    texts: dict[str, int]
    low: float
    high: float
    far: bool
    """Whether they are far off, or the only ones below 0: not only near a usual stand-in."""

    @property
    def question(self) -> str:
        """Return the question with counts, and what to declare if the answer is yes."""
        absent = ", ".join(f'"{text}"' for text in self.texts)
        is_one = len(self.texts) == 1
        return (
            f"{self.shown} {'is' if is_one else 'are'} apart from the other values "
            f"({self.low:g} … {self.high:g}) and read as {'a number' if is_one else 'numbers'}. "
            f"If {'it means' if is_one else 'they mean'} missing, declare absent: [{absent}]"
        )

    @property
    def shown(self) -> str:
        """Return the values with their rows."""
        return both(f"{text} ({counted(rows, 'row')})" for text, rows in self.texts.items())


def stand_in(column: Column, levels: Mapping[str, int]) -> StandIn | None:
    """Return which values of a column of numbers may stand for missing; None without."""
    numbers = column.numbers
    if numbers is None:
        return None
    known = as_numbers(pa.array(list(levels), pa.string()), numbers.decimal, numbers.words)
    rows = {t: n for t, n, v in zip(levels, levels.values(), known, strict=True) if v == v}
    values, counts = known[np.isfinite(known)], np.array(list(rows.values()))
    texts_of = dict(zip(rows, values.tolist(), strict=True))
    order = np.argsort(values, kind="stable")
    values, counts = values[order], counts[order]
    below, above = _apart(values, counts), _apart(-values[::-1], counts[::-1])
    if below:
        size, far = below
        chosen, others = values[:size], values[size:]
    elif above:
        size, far = above
        chosen, others = values[-size:], values[:-size]
    else:
        return None
    texts = {text: n for text, n in rows.items() if texts_of[text] in chosen}
    return StandIn(texts, float(others[0]), float(others[-1]), far)


def _apart(values: Floats, counts: NDArray[np.int64]) -> tuple[int, bool] | None:
    """Return how many of the lowest values stand apart, and whether they are far off."""
    for size in range(min(_MOST_VALUES, len(values) - _FEWEST_OTHERS), 0, -1):
        far = _how_far(values, counts, size)
        if far is not None:
            return size, far
    return None


def _how_far(values: Floats, counts: NDArray[np.int64], size: int) -> bool | None:
    others, rows = values[size:], counts[size:]
    own = counts[:size]
    needed = max(_FEWEST, _LEAST_SHARE * counts.sum(), _TIMES_OFTENER * float(np.median(rows)))
    if len(others) < _FEWEST_OTHERS or own.min() < _FEWEST or own.sum() < needed:
        return None
    order = np.cumsum(rows) / rows.sum()
    lower, upper = others[np.searchsorted(order, [0.25, 0.75])]
    gap, spread = float(others[0] - values[size - 1]), float(upper - lower)
    if spread <= 0 or gap < _STEPS * float(np.median(np.diff(others))):
        return _below_zero(values, size)
    if gap >= _FAR * spread:
        return True
    is_known = bool(set(np.abs(values[:size])) & _KNOWN)
    return False if is_known and gap >= _NEAR * spread else _below_zero(values, size)


def _below_zero(values: Floats, size: int) -> bool | None:
    """Return True for one known value below 0 where all others are not below 0."""
    is_one = size == 1 and _is_known(values[0]) and values[0] < 0 <= values[1]
    return True if is_one else None


def class_stand_in(codes: Mapping[int | str, int]) -> str:
    """Return which code beside two others may stand for missing (0, 1 and 9), empty without."""
    for two in ({0, 1}, {1, 2}):
        more = codes.keys() - two
        is_known = len(more) == 1 and all(isinstance(c, int) and _is_known(c) for c in more)
        if two < codes.keys() and is_known and 0 not in more:
            code = more.pop()
            return f"{code} in {counted(codes[code], 'row')}, beside {min(two)} and {max(two)}"
    return ""


def _is_known(value: float) -> bool:
    return value in _KNOWN or -value in _KNOWN
