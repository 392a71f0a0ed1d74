"""SIGTERM as an error, so that a terminated command cleans up as after Ctrl-C; Ctrl-C in time."""

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


@contextmanager
def interrupt_held() -> Iterator[None]:
    """Let Ctrl-C wait for the end of the block; a second one does not wait.

    Amid an import Python can lose an interrupt in a callback, or, where the import executes text,
    end by the signal after the command has handled it.
    """
    held: list[int] = []

    def hold(number: int, _: object) -> None:
        if held:
            raise KeyboardInterrupt
        held.append(number)

    before = signal.signal(signal.SIGINT, hold)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if held:
        raise KeyboardInterrupt
