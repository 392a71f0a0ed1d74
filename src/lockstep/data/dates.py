"""The one reader of dates: texts by a format, of ISO 8601, or seconds since 1970."""

from __future__ import annotations

from typing import Literal

import pandas as pd

EPOCHS: dict[str, Literal["s", "ms"]] = {"epoch_s": "s", "epoch_ms": "ms"}
"""Formats of dates that count from 1970, UTC."""


def parse_dates(texts: pd.Series, format: str) -> pd.Series:
    """Return texts as dates without a zone, in UTC where they have one; NaT where they are none.

    ``format`` is strptime's, one of ``EPOCHS``, or empty for ISO 8601.
    """
    if format in EPOCHS:
        counted = pd.to_numeric(texts, errors="coerce")
        return pd.to_datetime(counted, unit=EPOCHS[format], errors="coerce")
    read = pd.to_datetime(texts, format=format or "ISO8601", errors="coerce", utc=True)
    return read.dt.tz_localize(None)
