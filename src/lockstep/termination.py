"""SIGTERM as an error, so that a terminated command cleans up as after Ctrl-C."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from lockstep.errors import LockstepError


@contextmanager
def terminated_as_error(outcome: str) -> Iterator[None]:
    """Let SIGTERM raise within the block; its message ends with the outcome."""

    def terminate(*_: object) -> NoReturn:
        raise LockstepError(f"terminated; {outcome}")

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
