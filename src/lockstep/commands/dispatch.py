"""The work of a command, imported when the command runs, so that --help and listings stay light."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any


def load(place: str) -> Callable[..., Any]:
    """Return the function that ``module:function`` names in this room."""
    module, _, function = place.partition(":")
    found: Callable[..., Any] = getattr(import_module(f"lockstep.commands.{module}"), function)
    return found
