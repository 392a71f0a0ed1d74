"""Numbers that agree between processors: rounded to significant digits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def significant(values: NDArray[np.float64], digits: int) -> NDArray[np.float64]:
    """Return an array with every number rounded to so many significant digits."""
    flat = [float(f"{value:.{digits}g}") for value in np.ravel(values)]
    return np.array(flat).reshape(np.shape(values))
