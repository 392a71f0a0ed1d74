"""The one place where scores become classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lockstep.decision.policies import Array, Costs, matrix
from lockstep.decision.score_scale import PROBABILITY, Scale
from lockstep.errors import DataError

DEFAULT_THRESHOLD = 0.5
"""Evaluates a binary model that records no threshold. Predictions of such a model are refused."""


_PROBABILITY = Scale(PROBABILITY)


@dataclass(frozen=True)
class DecisionRule:
    """How a model's scores become classes, and the scale that they are on.

    Binary: a score at ``threshold`` or above it is class 1. Multiclass: the most probable of
    ``classes``, or the one with the least expected cost by ``costs``. Scores within ``band`` of the
    threshold go to a person.
    """

    task: str
    threshold: float | None = None
    classes: Sequence[Any] = ()
    costs: Costs | None = None
    scale: Scale = _PROBABILITY
    band: float = 0.0

    @property
    def evaluation_threshold(self) -> float | None:
        """The threshold that metrics use: None except for two classes."""
        if self.task != "binary":
            return None
        return DEFAULT_THRESHOLD if self.threshold is None else self.threshold

    def apply(self, score: Array) -> NDArray[np.int64]:
        """Return the class of each row: 0 or 1, or its place among ``classes``; of ties the first.

        ``score`` has the shape (rows,), or (rows, classes) for a multiclass model.
        """
        if self.task == "binary":
            return (score >= self._recorded_threshold()).astype(np.int64)
        if self.costs is None:
            return np.argmax(score, axis=1)
        # Summed class by class: the last bits of a matrix product differ between processors.
        expected = np.zeros(score.shape)
        for actual, row in enumerate(matrix(self.costs, self.classes)):
            expected += score[:, [actual]] * row
        return np.argmin(expected, axis=1)

    def needs_review(self, score: Array) -> NDArray[np.bool_]:
        """Return which scores of two classes lie within the band around the threshold."""
        return np.abs(score - self._recorded_threshold()) <= self.band

    def _recorded_threshold(self) -> float:
        if self.threshold is None:
            raise DataError("the model records no threshold to decide between two classes by")
        return self.threshold
