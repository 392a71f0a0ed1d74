"""Threads that answer large requests, with a limit to how many of them wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from lockstep.serving.http_request import Reply


class WorkerThreads:
    """Some threads of one purpose; ``most`` requests may be under way in them, or wait."""

    def __init__(self, name: str, threads: int, most: int) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._most, self._under_way = most, 0

    @property
    def are_full(self) -> bool:
        """Whether no further request may wait."""
        return self._under_way >= self._most

    def begin(self, work: Callable[[], Reply]) -> asyncio.Future[Reply]:
        """Begin to answer in a thread. It counts until its end, even if nobody waits for it."""
        self._under_way += 1
        running = asyncio.get_running_loop().run_in_executor(self._threads, work)
        running.add_done_callback(self._one_less)
        return running

    def end(self) -> None:
        """Begin no further work; that under way ends with the process."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _one_less(self, work: asyncio.Future[Reply]) -> None:
        self._under_way -= 1
        if not work.cancelled():
            work.exception()  # nobody waits for it any more: its request was answered with 503
