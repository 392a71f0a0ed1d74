"""How many tasks must run at once, by what is trained: known before any session is opened."""

from __future__ import annotations

from lockstep.models.types import model_type
from lockstep.models.types._booster import Booster


def slots_of(name: str, partitions: int) -> int:
    """Return how many tasks of a fit must run at the same time."""
    return partitions if isinstance(model_type(name), Booster) else 1
