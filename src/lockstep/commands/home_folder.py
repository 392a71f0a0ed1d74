"""Paths that a person types with ~, as the home folder of this or another user."""

from __future__ import annotations

from pathlib import Path

from lockstep.errors import UsageError


def expanded(text: str) -> Path:
    """Return a path with ~ and ~NAME replaced; UsageError for a user without a home folder."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise UsageError(f"{text} begins with no known home folder; write the whole path") from None
