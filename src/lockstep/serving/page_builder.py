"""The page of one model: made when it is first asked for, once, in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future


class PageBuilder:
    """Makes a page at most once, however many ask for it; a failure is kept as the result."""

    def __init__(self, make: Callable[[], bytes]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._page: Future[bytes] | None = None

    def begun(self) -> Future[bytes]:
        """Return the page as it is being made; the first call starts that."""
        with self._lock:
            if self._page is None:
                self._page = Future()
                work = threading.Thread(target=self._work, args=(self._page,), daemon=True)
                work.start()
            return self._page

    def _work(self, page: Future[bytes]) -> None:
        try:
            page.set_result(self._make())
        except Exception as error:  # noqa: BLE001  each request for the page raises it
            page.set_exception(error)
