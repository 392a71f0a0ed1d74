"""Rows with a known target and a model's scores: the input of metrics and curves."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lockstep.decision.decision_rule import DecisionRule
from lockstep.decision.policies import Array

Weighted = Callable[[Array], dict[str, Array]]
"""From weights (rows, resamples) to metrics by name (resamples,)."""


@dataclass(frozen=True)
class Scored:
    """Rows with a known target and a model's score.

    Binary: ``score`` (rows,) is the positive class's probability, decided by ``threshold``.
    Multiclass: ``score`` (rows, classes) in the order of the encoded classes; ``decision`` (rows,)
    is the decided class, without it the most probable one. Regression: ``score`` (rows,) is the
    prediction, ``threshold`` is None.
    """

    target: NDArray[Any]
    score: Array
    threshold: float | None = None
    decision: NDArray[Any] | None = None

    @property
    def task(self) -> str:
        """The task these rows belong to."""
        if self.score.ndim == 2:
            return "multiclass"
        return "regression" if self.threshold is None else "binary"

    def take(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> Scored:
        """Return the chosen rows, by a mask or by their places."""
        decision = None if self.decision is None else self.decision[chosen]
        return Scored(self.target[chosen], self.score[chosen], self.threshold, decision)

    @property
    def decided(self) -> NDArray[Any]:
        """The decided class of each row: 0 or 1, or a place among several."""
        if self.decision is not None:
            return self.decision
        return DecisionRule(self.task, self.threshold).apply(self.score)


def decimals_for(values: Array, decimals: int) -> int:
    """Return ``decimals``, and one more for each zero after the point of the largest value."""
    largest = float(np.abs(values).max(initial=0.0))
    zeros = -math.floor(math.log10(largest)) - 1 if 0 < largest < np.inf else 0
    return decimals + max(0, zeros)


def ratio(top: Array, bottom: Array) -> Array:
    """Return top / bottom, and 0 where ``bottom`` is 0."""
    top, bottom = np.broadcast_arrays(top, bottom)
    return np.divide(top, bottom, out=np.zeros(top.shape), where=bottom != 0)
