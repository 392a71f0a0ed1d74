"""Work put off: what a request leaves to be written is queued, bounded, and written by a thread of its own."""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from typing import Any


class Spool:
    """A bounded queue and the thread that writes what is in it in batches. ``put`` never waits: it drops and counts."""

    def __init__(
        self,
        write: Callable[[list[Any]], None],
        most_bytes: int,
        *,
        every: float = 0.2,
        name: str = "spool",
        close: Callable[[], None] | None = None,
    ) -> None:
        self.write, self.most_bytes, self.every = write, most_bytes, every
        self.dropped = 0
        self.fault = ""
        self._finish = close
        self._waiting: deque[tuple[Any, int]] = deque()
        self._bytes = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def put(self, item: Any, size: int) -> bool:
        """Queue an item of about ``size`` bytes; False where the queue is full and it was dropped."""
        with self._lock:
            if self._bytes + size > self.most_bytes:
                self.dropped += 1
                return False
            self._bytes += size
            self._waiting.append((item, size))
        return True

    def close(self, seconds: float = 5.0) -> None:
        """Write what is left and end the thread, within ``seconds``."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=seconds)

    def _work(self) -> None:
        while not self._stop.wait(self.every):
            self._drain()
        self._drain()
        if self._finish is not None:
            self._finish()

    def _drain(self) -> None:
        with self._lock:
            taken, self._waiting, self._bytes = self._waiting, deque(), 0
        if not taken:
            return
        try:
            self.write([item for item, _ in taken])
            self.fault = ""
        except (OSError, sqlite3.Error) as error:  # a full disk: requests are answered all the same
            self.dropped += len(taken)
            self.fault = str(error)
