"""A column of texts as its distinct values and each row's place among them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


class CodedTexts:
    """Texts, None where missing: ``values[places]``. Work on the distinct values is done once."""

    def __init__(self, values: Sequence[str | None], places: NDArray[np.integer[Any]]) -> None:
        self.values, self.places = list(values), places

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, rows: Any) -> CodedTexts:
        """Return the texts of some rows: a mask, a slice or places."""
        return CodedTexts(self.values, self.places[rows])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Return the texts as an array of objects."""
        return np.array(self.values, dtype=object)[self.places]

    def tolist(self) -> list[str | None]:
        """Return the texts row by row."""
        return list(np.asarray(self).tolist())

    def each(self, meant: Sequence[Any]) -> NDArray[Any]:
        """Return for each row what is meant by its value; ``meant`` goes with ``values``."""
        return np.asarray(meant)[self.places]
