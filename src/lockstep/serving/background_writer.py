"""Background writing: requests queue what is to be written, and a thread writes it."""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from typing import Any


class BackgroundWriter:
    """A bounded queue, and the thread that writes its items in batches.

    ``put`` never waits: a full queue drops the item and counts it.
    """

    def __init__(
        self,
        write: Callable[[list[Any]], None],
        most_bytes: int,
        *,
        every: float = 0.2,
        name: str = "writer",
        close: Callable[[], None] | None = None,
    ) -> None:
        self.write, self.most_bytes, self.every = write, most_bytes, every
        self.dropped = 0
        self.fault = ""
        self._finish = close
        self._waiting: deque[Any] = deque()
        self._bytes = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    def start(self) -> None:
        """Start writing."""
        self._thread.start()

    def put(self, item: Any, size: int) -> bool:
        """Queue an item of about ``size`` bytes; False if the queue is full and drops it."""
        with self._lock:
            if self._bytes + size > self.most_bytes:
                self.dropped += 1
                return False
            self._bytes += size
            self._waiting.append(item)
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
            self.write(list(taken))
            self.fault = ""
        except (OSError, sqlite3.Error) as error:  # a full disk must not stop answers
            self.dropped += len(taken)
            self.fault = str(error)
