"""Curves of numbers as small tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lockstep.models.scored import Scored

if TYPE_CHECKING:
    import pandas as pd


def tables(rows: Scored) -> dict[str, pd.DataFrame]:
    """Return the curves of scored rows by name."""
    return {}
