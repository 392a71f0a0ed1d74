"""The board at /board, read and drawn in a thread of its own, at most once in some seconds.

A registry that can't be read never delays other requests: the last known board is answered, with
since when the registry is away.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from lockstep.config.settings import load_settings
from lockstep.errors import LockstepError
from lockstep.promotion.board_facts import VerdictFiles, board_facts
from lockstep.registry.store.connection import one_line, store_errors
from lockstep.registry.store.opening import open_to_read
from lockstep.registry.store.uris import resolve_uri
from lockstep.reports.board import Away, Board
from lockstep.reports.board_page import board_page
from lockstep.serving.http_request import HTML, Headers, Refusal, Reply

FRESH_SECONDS = 5.0
"""So long a board is answered again before the registry is asked."""
PATIENCE_SECONDS = 10.0
"""So long a request waits for the registry; then it gets the last known board."""
ABANDON_SECONDS = 60.0
"""After so long a reading is given up: another one begins, and its own result is ignored."""
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src"
HEADERS: Headers = (
    (b"cache-control", b"no-store"),
    # Vega compiles its expressions; nothing is loaded from anywhere.
    (b"content-security-policy", f"{_POLICY} 'unsafe-inline' 'unsafe-eval'".encode()),
)
Read = Callable[[], Board]


class BoardPage:
    """The board of the registry that a server follows; without one there is none."""

    def __init__(self, root: Path, follows: bool, read: Read | None = None) -> None:
        self.root, self.follows = root, follows
        self._read = read or self._from_registry
        self._files = VerdictFiles()
        self._changing = threading.Lock()
        self._known: Board | None = None
        self._away_since: datetime | None = None
        self._page = Reply(503, b"")
        self._fresh_until = 0.0
        self._reading: asyncio.Future[None] | None = None
        self._began = 0.0

    async def reply(self) -> Reply:
        """Return the board; Refusal 404 where the server follows no registry."""
        if not self.follows:
            raise Refusal(
                404, "this server follows no registry, so it has no board; run `make board`"
            )
        if time.monotonic() < self._fresh_until:
            return self._page
        if self._is_to_read():
            self._begin()
        if not await self._has_read():
            silent = f"it did not answer within {PATIENCE_SECONDS:g} s"
            await asyncio.to_thread(self._is_away, silent, self._reading)
        return self._page

    def _is_to_read(self) -> bool:
        """Tell whether no reading is under way, or only one that seems never to end."""
        if self._reading is None or self._reading.done():
            return True
        if time.monotonic() - self._began < ABANDON_SECONDS:
            return False
        self._files = VerdictFiles()  # the old reading may still hold the others
        return True

    async def _has_read(self) -> bool:
        """Wait for the registry as long as there is patience; raise what a fault of ours raised."""
        assert self._reading is not None
        left = max(self._began + PATIENCE_SECONDS - time.monotonic(), 0)
        done, _ = await asyncio.wait({self._reading}, timeout=left)
        for one in done:
            one.result()
        return bool(done)

    def _begin(self) -> None:
        """Read in a thread that ends with the process: a registry may never answer."""
        loop = asyncio.get_running_loop()
        reading: asyncio.Future[None] = loop.create_future()
        self._reading, self._began = reading, time.monotonic()

        def work() -> None:
            fault: Exception | None = None
            try:
                self._look(reading)
            except Exception as error:  # noqa: BLE001  the request that waits raises it
                fault = error
            with suppress(RuntimeError):  # the server has ended meanwhile
                loop.call_soon_threadsafe(_settle, reading, fault)

        threading.Thread(target=work, name="read the board", daemon=True).start()

    def _look(self, reading: asyncio.Future[None]) -> None:
        """Read the registry; change nothing if this reading was given up meanwhile."""
        try:
            board = self._read()
        except store_errors() as error:
            self._is_away(one_line(error), reading)
        except (LockstepError, OSError) as error:
            self._is_away(str(error), reading)
        else:
            body = board_page(board, datetime.now(UTC)).encode()
            with self._changing:
                if reading is self._reading:
                    self._known, self._away_since = board, None
                    self._answer(Reply(200, body, HTML, HEADERS))

    def _is_away(self, why: str, reading: asyncio.Future[None] | None) -> None:
        """Answer what was known before, if anything was, with the reason why there is no more."""
        now = datetime.now(UTC)
        with self._changing:
            if reading is not self._reading:
                return
            self._away_since = self._away_since or now
            body = board_page(self._known, now, Away(why, self._away_since)).encode()
            status = 503 if self._known is None else 200
            self._answer(Reply(status, body, HTML, HEADERS))

    def _answer(self, page: Reply) -> None:
        self._page, self._fresh_until = page, time.monotonic() + FRESH_SECONDS

    def _from_registry(self) -> Board:
        place = resolve_uri(load_settings(self.root), self.root)
        reader = open_to_read(self.root)
        return board_facts(reader, self.root, place, datetime.now(UTC), self._files)


def _settle(reading: asyncio.Future[None], fault: Exception | None) -> None:
    if reading.done():
        return
    if fault is None:
        reading.set_result(None)
    else:
        reading.set_exception(fault)
