"""HTTP/1.1 by uvicorn and httptools, with limits for slow and hostile clients.

This is the only module that relies on uvicorn's internals.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

import httptools
import orjson
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

HEADER_SECONDS = 10.0
"""Longest time for a request's line and headers, or for an unread body, to arrive."""
HEADER_BYTES = 32 * 1024
_LONG_HEADERS = f"the headers are longer than {HEADER_BYTES:,} bytes"
MOST_PIPELINED = 64
"""Most requests that may wait on one connection for earlier answers."""
STALL_SECONDS = 20.0
"""Longest time in which a client may read nothing of a waiting answer."""
SPARE_CONNECTIONS = 64
"""Connections above the limit that are still accepted, so that /health stays reachable."""
FULL = "lockstep.full"
"""Set in the scope of a request that arrives at a full server."""
_ALWAYS_ANSWERED = (b"/health", b"/metrics")


class _Stop(Exception):
    """Stops the parser: the connection is refused."""


class BoundedProtocol(HttpToolsProtocol):
    """Closes connections with late or endless headers, or with answers that nobody reads."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # uvicorn would answer in plain text, without log line, metrics and request id.
        self._most, self.limit_concurrency = self.limit_concurrency, None
        self._last: bytes | None = None
        self._running: RequestResponseCycle | None = None
        self._unsent = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start waiting for the first request."""
        super().connection_made(transport)
        self._await_headers()
        self._moved = self._since
        self._clock = self.loop.call_later(HEADER_SECONDS, self._check_progress)
        if self._most is not None and len(self.connections) > self._most + SPARE_CONNECTIONS:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._clock.cancel()
        super().connection_lost(exc)
        self.pipeline.clear()
        running = self._running  # uvicorn notifies the newest request only
        if running is not None and not running.response_complete:
            running.disconnected = True
            running.message_event.set()

    # ---- events of the parser -------------------------------------------------------------------
    def on_message_begin(self) -> None:
        """Start waiting for a request's headers."""
        if len(self.pipeline) >= MOST_PIPELINED:
            self._stop(503, f"more than {MOST_PIPELINED} requests wait on this connection")
        super().on_message_begin()
        self._await_headers()
        self._begun += 1

    def on_headers_complete(self) -> None:
        """Check the headers; the application limits the body."""
        self._in_headers = False
        if self.parser.should_upgrade():
            return  # the head is parsed again, without Upgrade
        size = sum(len(name) + len(value) for name, value in self.headers) + len(self.url)
        if size > HEADER_BYTES:
            self._stop(431, _LONG_HEADERS)
        most = self._most
        is_full = most is not None and (len(self.connections) > most or len(self.tasks) >= most)
        if is_full and not self.url.startswith(_ALWAYS_ANSWERED):
            cast("dict[str, Any]", self.scope)[FULL] = True
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Pass on a part of the body."""
        if not self.parser.should_upgrade():
            super().on_body(body)

    def on_message_complete(self) -> None:
        """End the body."""
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Go on to the next request; send the refusal of one that was invalid."""
        super().on_response_complete()
        self._since = self.loop.time()
        if self._last is not None and self._is_idle():
            self._end(self._last)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def _await_headers(self) -> None:
        self._in_headers, self._received = True, 0
        self._since = self.loop.time()

    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    # ---- limits ---------------------------------------------------------------------------------
    def data_received(self, data: bytes) -> None:
        """Parse what arrives, unless the connection is closing or its headers do not end."""
        if self.transport.is_closing() or self.parser is None or self._last is not None:
            return
        self._unset_keepalive_if_required()
        self._begun, was_idle = 0, self._is_idle()
        self._feed(data)
        # After other requests in the same data the start of the headers is unknown.
        if self._in_headers and self._begun <= was_idle:
            self._received += len(data)
            if self._received > HEADER_BYTES:
                self.refuse(431, _LONG_HEADERS)

    def _feed(self, data: bytes) -> None:
        """Parse data. An Upgrade to another protocol is ignored, as HTTP allows."""
        while data:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as upgrade:
                if self.parser.get_method() == b"CONNECT":
                    self.send_400_response("")
                    return
                data = self._head_without_upgrade() + data[upgrade.args[0] :]
            except httptools.HttpParserError:
                self.send_400_response("")
                return

    def _head_without_upgrade(self) -> bytes:
        """Return the last head without its Upgrade, with which the parser would skip the body."""
        version = self.parser.get_http_version().encode()
        lines = [b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, version)]
        lines += [b"%s: %s" % header for header in self.headers if header[0] != b"upgrade"]
        return b"\r\n".join([*lines, b"", b""])

    def _check_progress(self) -> None:
        """Close a connection that is too slow, else check again later: one timer a connection."""
        now = self.loop.time()
        unsent = self.transport.get_write_buffer_size()
        if unsent != self._unsent:
            self._unsent, self._moved = unsent, now
        if unsent and now - self._moved >= STALL_SECONDS:
            self.transport.abort()
            return
        left = HEADER_SECONDS
        if self._is_idle() and (self._in_headers or self.timeout_keep_alive_task is None):
            left += self._since - now
        if left <= 0 and self._in_headers:
            self.refuse(408, f"the request did not arrive within {HEADER_SECONDS:g} s")
        elif left <= 0:
            self.transport.close()  # the body that it still sends was not needed
        left = left if left > 0 else HEADER_SECONDS
        self._clock = self.loop.call_later(left, self._check_progress)

    def send_400_response(self, msg: str) -> None:
        """Answer invalid HTTP in JSON, as every other error."""
        self.refuse(400, "this is no valid HTTP request")

    def _stop(self, status: int, message: str) -> None:
        self.refuse(status, message)
        raise _Stop

    def refuse(self, status: int, message: str) -> None:
        """Answer without the application and close, after the answers to earlier requests."""
        if self.transport.is_closing() or self._last is not None:
            return
        body = orjson.dumps({"error": message, "request_id": ""})
        head = (
            b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
            % len(body)
        )
        self._last = STATUS_LINE[status] + head + body
        cycle = self.cycle
        in_body = cycle and cycle.more_body and not cycle.response_started and not self.pipeline
        if self._is_idle() or in_body:
            self._end(self._last)

    def _end(self, answer: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(answer)
            self.transport.close()
