"""Codes drawn from published shares, and the figures they are drawn from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lockstep.problems.draws import MILLION, figures
from lockstep.problems.draws import Draws as UniformDraws

CODE_FILES = {"calibration.json": (), "effects.json": ()}
LOGIT_LIMIT = 12_000
"""Largest logit, in thousandths, that a probability is looked up for."""
_LOGITS = range(-LOGIT_LIMIT, LOGIT_LIMIT + 1)
SIGMOIDS = np.array([round(1 / (1 + math.exp(-logit / 1000)), 6) for logit in _LOGITS])

calibration = partial(figures, Path(__file__).with_name("calibration.json"))
"""Returns the published figures that the sample is drawn from: shares by code, a row a level."""
effects = partial(figures, Path(__file__).with_name("effects.json"))
"""Returns the severity model's effects, in logits by level."""


class Draws(UniformDraws):
    """Draws by name, codes among them."""

    def code(self, name: str, table: Choice, level: np.ndarray) -> np.ndarray:
        """Return for each row the index of a code, drawn from the shares of its ``level``."""
        return table.pick(level, self.uniform(name, len(level)))

    def value(self, name: str, level: np.ndarray, table: Choice | None = None) -> np.ndarray:
        """Return for each row an integer code of ``table``, or of the figures' table ``name``."""
        table = table or Choice.named(name)
        return table.values(self.code(name, table, level))


@dataclass(frozen=True)
class Choice:
    """Codes with their shares by level."""

    codes: list[Any]
    bounds: np.ndarray
    """Upper ends in millionths plus a million a level, all levels in one ascending array."""

    @classmethod
    def of(cls, codes: Sequence[Any], shares: Any) -> Choice:
        """Return the choice among ``codes``; ``shares`` (levels, codes) need not add up to 1."""
        upto = np.cumsum(np.asarray(shares, dtype=float), axis=1)
        parts = np.round(upto / upto[:, -1:] * MILLION).astype(np.int64)
        return cls(list(codes), (parts + MILLION * np.arange(len(parts))[:, None]).ravel())

    @classmethod
    def named(cls, name: str) -> Choice:
        """Return a table of the calibration figures."""
        return cls.of(**calibration()[name])

    def pick(self, level: np.ndarray, uniform: np.ndarray) -> np.ndarray:
        """Return the index of the code into whose share each uniform number falls."""
        flat = np.searchsorted(self.bounds, level * MILLION + uniform, side="right")
        return flat - level * len(self.codes)

    def values(self, index: np.ndarray) -> np.ndarray:
        """Return the codes themselves; all of them must be integers."""
        return np.asarray(self.codes, dtype=np.int64)[index]


def sigmoid(logit: np.ndarray) -> np.ndarray:
    """Return probabilities with six digits, looked up by the logit in thousandths."""
    place = np.clip(np.round(logit * 1000), -LOGIT_LIMIT, LOGIT_LIMIT).astype(np.int64)
    return SIGMOIDS[place + LOGIT_LIMIT]


def within(group: np.ndarray) -> np.ndarray:
    """Return each row's number, from 0, within its run of equal values."""
    starts = np.flatnonzero(np.r_[True, group[1:] != group[:-1]])
    lengths = np.diff(np.r_[starts, len(group)])
    return np.arange(len(group)) - np.repeat(starts, lengths)
