"""HTTP/1.1 by uvicorn and httptools, with bounds on what a slow or hostile client may hold."""

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
"""Longest that a request's line and headers, or a body that was not waited for, may take to arrive."""
HEADER_BYTES = 32 * 1024
MOST_PIPELINED = 64
"""So many requests may wait on one connection for the answers to those before them."""
STALL_SECONDS = 20.0
"""Longest that a client may take nothing of an answer that waits for it."""
SPARE_CONNECTIONS = 64
"""So many more than are answered are listened to, so that /health can still be asked."""
FULL = "lockstep.full"
"""Set in a request's scope where more is under way than the server takes on."""
_ASKED_ALWAYS = (b"/health", b"/metrics")


class _Stop(Exception):
    """Ends the parser's work: the connection is refused."""


class BoundedProtocol(HttpToolsProtocol):
    """Ends connections whose headers are late or endless, or whose answers nobody fetches."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        # uvicorn would answer in plain text, beside the log, the metrics and the request's id.
        self._most, self.limit_concurrency = self.limit_concurrency, None
        self._last: bytes | None = None
        self._running: RequestResponseCycle | None = None
        self._unsent = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._await_headers()
        self._moved = self._since
        self._clock = self.loop.call_later(HEADER_SECONDS, self._look)
        if self._most is not None and len(self.connections) > self._most + SPARE_CONNECTIONS:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._clock.cancel()
        super().connection_lost(exc)
        self.pipeline.clear()
        running = self._running
        if (
            running is not None and not running.response_complete
        ):  # uvicorn tells the newest request only
            running.disconnected = True
            running.message_event.set()

    # ---- what the parser tells ------------------------------------------------------------------
    def on_message_begin(self) -> None:
        """Begin to wait for a request's headers."""
        if len(self.pipeline) >= MOST_PIPELINED:
            self._stop(503, f"more than {MOST_PIPELINED} requests wait on this connection")
        super().on_message_begin()
        self._await_headers()
        self._begun += 1

    def on_headers_complete(self) -> None:
        """Go on to the body, which the application bounds."""
        self._in_headers = False
        if self.parser.should_upgrade():
            return  # it is read again, without the wish
        if (
            sum(len(name) + len(value) for name, value in self.headers) + len(self.url)
            > HEADER_BYTES
        ):
            self._stop(431, f"the headers are longer than {HEADER_BYTES:,} bytes")
        if self._is_full() and not self.url.startswith(_ASKED_ALWAYS):
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
        """Go on to the next request; where that was no HTTP, it is told now."""
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

    def _is_full(self) -> bool:
        most = self._most
        return most is not None and (len(self.connections) > most or len(self.tasks) >= most)

    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _is_in_body(self) -> bool:
        """Tell whether what arrives belongs to the one request under way, which nobody has answered yet."""
        return self.cycle.more_body and not self.cycle.response_started and not self.pipeline

    # ---- bounds ---------------------------------------------------------------------------------
    def data_received(self, data: bytes) -> None:
        """Read on, unless the connection is being closed or its headers do not end."""
        if self.transport.is_closing() or self.parser is None or self._last is not None:
            return
        self._unset_keepalive_if_required()
        self._begun, was_idle = 0, self._is_idle()
        self._feed(data)
        # Behind other requests it is not known where the headers begin.
        if self._in_headers and self._begun <= was_idle:
            self._received += len(data)
            if self._received > HEADER_BYTES:
                self.refuse(431, f"the headers are longer than {HEADER_BYTES:,} bytes")

    def _feed(self, data: bytes) -> None:
        """Parse what has come. A wish for another protocol (h2c, websocket) is passed over, as HTTP says it may be."""
        while data:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as wish:
                if self.parser.get_method() == b"CONNECT":
                    self.send_400_response("")
                    return
                data = self._head_without_wish() + data[wish.args[0] :]
            except httptools.HttpParserError:
                self.send_400_response("")
                return

    def _head_without_wish(self) -> bytes:
        """Return the head that was read last without its Upgrade: with it, the parser would leave the body out."""
        version = self.parser.get_http_version().encode()
        lines = [b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, version)]
        lines += [b"%s: %s" % header for header in self.headers if header[0] != b"upgrade"]
        return b"\r\n".join([*lines, b"", b""])

    def _look(self) -> None:
        """End a connection that keeps us waiting, else look again when it could be: one timer a connection."""
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
            self.transport.close()  # what it goes on sending was answered without it
        left = left if left > 0 else HEADER_SECONDS
        self._clock = self.loop.call_later(left, self._look)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP as everything else is answered: in JSON."""
        self.refuse(400, "this is no valid HTTP request")

    def _stop(self, status: int, message: str) -> None:
        self.refuse(status, message)
        raise _Stop

    def refuse(self, status: int, message: str) -> None:
        """Answer without the application and close, once the requests that came before have their answers."""
        if self.transport.is_closing() or self._last is not None:
            return
        body = orjson.dumps({"error": message, "request_id": ""})
        head = (
            b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
            % len(body)
        )
        self._last = STATUS_LINE[status] + head + body
        if self._is_idle() or self._is_in_body():
            self._end(self._last)

    def _end(self, answer: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(answer)
            self.transport.close()
