"""HTTP/1.1 by uvicorn and httptools, with bounds on what a slow or hostile client may hold."""

from __future__ import annotations

import asyncio

import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

HEADER_SECONDS = 10.0
"""Longest that a request's line and headers may take to arrive."""
HEADER_BYTES = 32 * 1024
LINGER_SECONDS = 10.0
"""Longest that a client may take to fetch the end of an answer once its connection is being closed."""


class BoundedProtocol(HttpToolsProtocol):
    """Ends connections whose headers are late or endless, or whose answers nobody fetches."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._await_headers()
        self._clock = self.loop.call_later(HEADER_SECONDS, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._clock.cancel()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Begin to wait for a request's headers."""
        super().on_message_begin()
        self._await_headers()

    def on_headers_complete(self) -> None:
        """Go on to the body, which the application bounds."""
        self._in_headers = False
        super().on_headers_complete()

    def _await_headers(self) -> None:
        self._in_headers, self._received = True, 0
        self._since = self.loop.time()

    def _look(self) -> None:
        """End a connection whose headers are late, else look again when they could be: one timer a connection."""
        idle = self.cycle is None or self.cycle.response_complete
        left = HEADER_SECONDS
        if self._in_headers and idle:
            left += self._since - self.loop.time()
        if left > 0:
            self._clock = self.loop.call_later(left, self._look)
        else:
            self.refuse(408, f"the request did not arrive within {HEADER_SECONDS:g} s")

    def data_received(self, data: bytes) -> None:
        """Read on, unless the connection is being closed or its headers do not end."""
        if self.transport.is_closing() or self.parser is None:
            return
        super().data_received(data)
        if self._in_headers:
            self._received += len(data)
            if self._received > HEADER_BYTES:
                self.refuse(431, f"the headers are longer than {HEADER_BYTES:,} bytes")

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection, and drop it where the client does not take what is left for it."""
        super().timeout_keep_alive_handler()
        self.loop.call_later(LINGER_SECONDS, self.transport.abort)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP as everything else is answered: in JSON."""
        self.refuse(400, "this is no valid HTTP request")

    def refuse(self, status: int, message: str) -> None:
        """Answer without the application and close."""
        if self.transport.is_closing():
            return
        body = orjson.dumps({"error": message, "request_id": ""})
        head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(
            body
        )
        self.transport.write(STATUS_LINE[status] + head + body)
        self.transport.close()
