"""One request and its reply: request ids, bounded bodies, and errors of one form."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, NamedTuple

import orjson

from lockstep.errors import LockstepError

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = tuple[tuple[bytes, bytes], ...]

JSON, HTML = b"application/json", b"text/html; charset=utf-8"
TEXT = b"text/plain; version=0.0.4; charset=utf-8"
ARROW_STREAM = b"application/vnd.apache.arrow.stream"
ARROW_FILE = b"application/vnd.apache.arrow.file"
PARQUET = b"application/vnd.apache.parquet"
TABLES = (ARROW_STREAM, ARROW_FILE, PARQUET)
CLOSE: Headers = ((b"connection", b"close"),)
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_IS_JSON = re.compile(
    rb"application/(?:json|[\w.-]+\+json)(?:\s*;\s*charset=\"?utf-8\"?)?\s*", re.IGNORECASE
)


class Reply(NamedTuple):
    """A reply without its request id."""

    status: int
    body: bytes
    kind: bytes = JSON
    headers: Headers = ()


class Refusal(LockstepError):
    """Raised to answer a request with an error: status, message, faults by record, more fields."""

    def __init__(
        self,
        status: int,
        message: str,
        faults: Any = None,
        headers: Headers = (),
        details: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.faults, self.headers = status, message, faults, headers
        self.details = details or {}


class ClientDisconnected(Exception):
    """The client disconnected before its request had arrived."""


class HttpRequest:
    """A request under way."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.began = time.perf_counter()
        self.scope, self.receive = scope, receive
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.request_id = request_id(self.headers.get(b"x-request-id"))
        self.route, self.rows, self.all_read = "other", 0, False
        self.kind = JSON
        self.abandoned = False
        """Whether nobody waits for the answer any more."""
        self.reserved = 0
        """Bytes of memory that are set aside for its body."""
        self.model: str | None = None
        self.version: int | None = None

    def check_kind(self, more: Sequence[bytes] = ()) -> None:
        """Set ``kind``: the body's content type, JSON or one of ``more``; else Refusal 415."""
        given = self.headers.get(b"content-type", b"")
        kind = JSON if given == JSON or _IS_JSON.fullmatch(given) else given.strip().lower()
        if kind != JSON and kind not in more:
            found = f"not {given.decode('latin-1')[:100]!r}" if given else "the header is missing"
            known = b" or ".join([JSON, *more]).decode()
            raise Refusal(415, f"send Content-Type: {known}, {found}")
        if self.headers.get(b"content-encoding", b"identity") != b"identity":
            raise Refusal(415, "send the body as it is, without Content-Encoding")
        self.kind = kind

    @property
    def wants_json(self) -> bool:
        """Whether the client accepts JSON and no table."""
        accepted = self.headers.get(b"accept", b"").lower()
        return JSON in accepted and ARROW_STREAM not in accepted

    @property
    def declared_bytes(self) -> int | None:
        """How long the body is, as its headers say; None where they don't."""
        declared = self.headers.get(b"content-length")
        return None if declared is None else int(declared)

    async def body(
        self, most_bytes: int, seconds: float, grown: Callable[[int], None] | None = None
    ) -> bytes:
        """Return the whole body; Refusal 413 for one too large, 408 for one too late.

        ``grown`` hears how many bytes are held, and may raise a Refusal.
        """
        if (self.declared_bytes or 0) > most_bytes and b"expect" in self.headers:
            raise _too_large(most_bytes)  # the client waits for an answer before it sends
        try:
            async with asyncio.timeout(seconds):
                return await self._received(most_bytes, grown)
        except TimeoutError:
            message = f"the body did not arrive within {seconds:g} s"
            raise Refusal(408, message, headers=CLOSE) from None

    async def _received(self, most_bytes: int, grown: Callable[[int], None] | None) -> bytes:
        """Read to the end, also a body that is too large: many clients listen only afterwards."""
        chunks: list[bytes] = []
        size = 0
        while not self.all_read:
            chunk = await self._next()
            size += len(chunk)
            if size > most_bytes:
                chunks.clear()
            else:
                chunks.append(chunk)
                if grown is not None:
                    grown(size)
        if size > most_bytes:
            raise _too_large(most_bytes)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def drain(self, seconds: float) -> Headers:
        """Read and drop a refused body: most clients listen only after they have sent it.

        Returns the header that closes the connection if the body did not arrive in time, or if the
        client waits for permission to send it.
        """
        if self.all_read or b"expect" in self.headers:
            return () if self.all_read else CLOSE
        try:
            async with asyncio.timeout(seconds):
                while not self.all_read:
                    await self._next()
        except TimeoutError:
            return CLOSE
        return ()

    async def _next(self) -> bytes:
        message = await self.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnected
        self.all_read = not message.get("more_body")
        return message.get("body", b"")


def _too_large(most_bytes: int) -> Refusal:
    message = f"the body is larger than {most_bytes:,} bytes; send fewer records at a time"
    return Refusal(413, message)


def request_id(given: bytes | None) -> str:
    """Return the client's own id if it is valid, else a new one."""
    text = "" if given is None else given.decode("latin-1")
    return text if REQUEST_ID.fullmatch(text) else os.urandom(12).hex()


def refused(refusal: Refusal, request: str) -> Reply:
    """Return the reply to a refused request."""
    content = {"error": refusal.message, "request_id": request, **refusal.details}
    if refusal.faults is not None:
        content["faults"] = refusal.faults
    body = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY, default=str)
    return Reply(refusal.status, body, JSON, refusal.headers)


async def send_reply(send: Send, reply: Reply, request: str) -> None:
    """Send a reply with its request's id."""
    headers = [
        (b"content-type", reply.kind),
        (b"content-length", b"%d" % len(reply.body)),
        (b"x-request-id", request.encode()),
        *reply.headers,
    ]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})
