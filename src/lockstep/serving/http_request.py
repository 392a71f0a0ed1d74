"""One request and its answer: ids, bodies within bounds, and errors that are all of one form."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, NamedTuple

import orjson

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = tuple[tuple[bytes, bytes], ...]

JSON, HTML, TEXT = (
    b"application/json",
    b"text/html; charset=utf-8",
    b"text/plain; version=0.0.4; charset=utf-8",
)
CLOSE: Headers = ((b"connection", b"close"),)
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_IS_JSON = re.compile(
    rb"application/(?:json|[\w.-]+\+json)(?:\s*;\s*charset=\"?utf-8\"?)?\s*", re.IGNORECASE
)


class Reply(NamedTuple):
    """An answer before it has a request id."""

    status: int
    body: bytes
    kind: bytes = JSON
    headers: Headers = ()


class Refusal(Exception):
    """A request that is answered with a status and a message of ours."""

    def __init__(
        self,
        status: int,
        message: str,
        faults: Any = None,
        headers: Headers = (),
        told: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.faults, self.headers = status, message, faults, headers
        self.told = told or {}


class Gone(Exception):
    """The client went away before its request had arrived."""


class Exchange:
    """A request under way."""

    __slots__ = (
        "all_read",
        "began",
        "headers",
        "model",
        "receive",
        "request_id",
        "route",
        "rows",
        "scope",
        "version",
    )

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.began = time.perf_counter()
        self.scope, self.receive = scope, receive
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.request_id = request_id(self.headers.get(b"x-request-id"))
        self.route, self.rows, self.all_read = "other", 0, False
        self.model: str | None = None
        self.version: int | None = None

    def check_json(self) -> None:
        """Refuse a body that does not say it is JSON."""
        kind = self.headers.get(b"content-type", b"")
        if kind != JSON and not _IS_JSON.fullmatch(kind):
            told = f"not {kind.decode('latin-1')[:100]!r}" if kind else "and nothing is said"
            raise Refusal(415, f"send Content-Type: application/json, {told}")
        if self.headers.get(b"content-encoding", b"identity") != b"identity":
            raise Refusal(415, "send the body as it is, without Content-Encoding")

    async def body(self, most: int, seconds: float) -> bytes:
        """Return the whole body; Refusal 413 where it is larger than ``most`` bytes, 408 where it takes too long."""
        told = self.headers.get(b"content-length")
        if told is not None and int(told) > most and b"expect" in self.headers:
            raise _too_large(most)  # the client waits for a word before it sends
        try:
            async with asyncio.timeout(seconds):
                return await self._received(most)
        except TimeoutError:
            raise Refusal(
                408, f"the body did not arrive within {seconds:g} s", headers=CLOSE
            ) from None

    async def _received(self, most: int) -> bytes:
        """Read to the end; of a body that is too large nothing is kept, as many clients listen only afterwards."""
        chunks: list[bytes] = []
        size = 0
        while not self.all_read:
            chunk = await self._next()
            size += len(chunk)
            if size > most:
                chunks.clear()
            else:
                chunks.append(chunk)
        if size > most:
            raise _too_large(most)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def drain(self, seconds: float) -> Headers:
        """Let a body that nobody wants arrive: most clients listen for an answer only afterwards.

        Returns what ends the connection, where it did not arrive in time or the client waits to be told to send.
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
            raise Gone
        self.all_read = not message.get("more_body")
        return message.get("body", b"")


def _too_large(most: int) -> Refusal:
    return Refusal(413, f"the body is larger than {most:,} bytes; send fewer records at a time")


def request_id(given: bytes | None) -> str:
    """Return the client's own id where it is one, else a new one."""
    if given is not None:
        text = given.decode("latin-1")
        if _ID.fullmatch(text):
            return text
    return os.urandom(12).hex()


def refused(refusal: Refusal, request: str) -> Reply:
    """Return the answer to what is refused."""
    told: dict[str, Any] = {"error": refusal.message, "request_id": request, **refusal.told}
    if refusal.faults is not None:
        told["faults"] = refusal.faults
    body = orjson.dumps(told, option=orjson.OPT_SERIALIZE_NUMPY, default=str)
    return Reply(refusal.status, body, JSON, refusal.headers)


async def send_reply(send: Send, reply: Reply, request: str) -> None:
    """Send an answer with its request's id."""
    headers = [
        (b"content-type", reply.kind),
        (b"content-length", b"%d" % len(reply.body)),
        (b"x-request-id", request.encode()),
        *reply.headers,
    ]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})
