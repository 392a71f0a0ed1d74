"""A second process that works while this one imports what it needs afterwards.

MLflow and the model libraries take a second each to import: in parallel a prediction starts sooner.
Nothing heavy is imported here, so that both begin at once.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any

from lockstep.errors import RegistryError, leave_objects_to_the_system


@contextmanager
def started(work: Callable[..., Any], *arguments: Any) -> Iterator[Callable[[], Any]]:
    """Call a function in a second process; yield what waits for its answer."""
    # Ctrl-C is for the main process, which then ends this one.
    ignore_interrupts = signal.signal, (signal.SIGINT, signal.SIG_IGN)
    with ProcessPoolExecutor(1, get_context("spawn"), *ignore_interrupts) as pool:
        answer: Future[Any] = pool.submit(_call, work, *arguments)

        def wait() -> Any:
            try:
                return answer.result()
            except BrokenProcessPool:
                raise RegistryError(
                    "the process that asked the registry was killed; run the command again"
                ) from None

        yield wait


def _call(work: Callable[..., Any], *arguments: Any) -> Any:
    """Call the function, and skip this process's last garbage collections, which take long."""
    found = work(*arguments)
    leave_objects_to_the_system()
    return found
