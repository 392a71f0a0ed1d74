"""The application: its routes, and around each of them the bounds, the counting and the log.

FastAPI carries the description and its pages. The routes that are asked thousands of times a second are called from
one table before its routing, as plain functions from a request to an answer: validation comes from the schema.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path

import orjson
from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from swagger_ui_bundle import swagger_ui_path

from lockstep.serving.api_keys import Keys
from lockstep.serving.connection_limits import FULL
from lockstep.serving.feedback import read_labels
from lockstep.serving.http_request import (
    CLOSE,
    HTML,
    TEXT,
    Exchange,
    Gone,
    Headers,
    Receive,
    Refusal,
    Reply,
    Scope,
    Send,
    refused,
    send_reply,
)
from lockstep.serving.loaded_model import Served
from lockstep.serving.microbatch import Together
from lockstep.serving.model_source import Source
from lockstep.serving.prediction_log import Entry, PredictionLog
from lockstep.serving.request_parsing import Refused
from lockstep.serving.responses import Answered, answered, explained, predicted
from lockstep.serving.settings import ServingSettings
from lockstep.serving.telemetry import JsonLog, Metrics, utc

Handler = Callable[[Exchange], Awaitable[Reply]]
Answer = Callable[[Served, bytes, int], Answered]

INLINE_BYTES = 64 * 1024
"""Bodies up to this size (about 200 records) are answered at once, larger ones in a thread, so that nobody waits."""
_THREADS, _MOST_WAITING = 2, 32
_NUMPY = orjson.OPT_SERIALIZE_NUMPY
_DOCS_FILES = {
    "swagger-ui-bundle.js": b"text/javascript; charset=utf-8",
    "swagger-ui.css": b"text/css; charset=utf-8",
    "favicon-32x32.png": b"image/png",
}
"""What the page of /docs fetches, and what it is."""
_KEPT: Headers = ((b"cache-control", b"max-age=86400"),)


class Api(FastAPI):
    """The application over one source of models."""

    def __init__(self, settings: ServingSettings, source: Source, log: JsonLog) -> None:
        super().__init__(docs_url=None, redoc_url=None, openapi_url=None, lifespan=self._life)
        self.settings, self.source, self.log = settings, source, log
        self.limits, self.metrics = settings.limits, Metrics()
        self.keys = None if settings.api_keys_file is None else Keys(settings.api_keys_file)
        folder = settings.prediction_folder
        self.predictions = (
            None if folder is None else PredictionLog(folder, settings.prediction_log)
        )
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="batches")
        self._waiting = 0
        self._together = Together()
        self._announced: Served | None = None
        self._fault_log = logging.getLogger("uvicorn.lockstep")
        self._table: dict[str, dict[str, Handler]] = {
            "/predict": {"POST": self._predict},
            "/explain": {"POST": self._explain},
            "/feedback": {"POST": self._feedback},
            "/version": {"GET": self._version},
            "/health": {"GET": self._health},
            "/health/live": {"GET": self._live},
            "/health/ready": {"GET": self._ready},
            "/metrics": {"GET": self._metrics},
            "/openapi.json": {"GET": self._openapi},
            "/": {"GET": self._page},
            "/docs": {"GET": _docs},
            **{f"/docs/files/{name}": {"GET": _docs_file} for name in _DOCS_FILES},
        }
        self._watch_others()

    # ---- around every request -------------------------------------------------------------------
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, whatever it is; count it and write its line."""
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        exchange = Exchange(scope, receive)
        methods = self._table.get(scope["path"])
        try:
            reply = await self._replied(exchange, methods)
            await send_reply(send, reply, exchange.request_id)
            status = reply.status
        except Gone:
            status = 499
        self._note(exchange, status)

    async def _replied(self, exchange: Exchange, methods: dict[str, Handler] | None) -> Reply:
        try:
            return await self._handler(exchange, methods)(exchange)
        except Refusal as refusal:
            closing = await exchange.drain(self.limits.body_seconds)
            refusal.headers += closing
            return refused(refusal, exchange.request_id)
        except Refused as fault:
            return refused(_as_refusal(fault), exchange.request_id)
        except Gone:
            raise
        except Exception:  # noqa: BLE001  a fault of ours: told in the log by its place, and answered like all else
            self._fault_log.exception("a request failed")
            return refused(
                Refusal(500, "the server failed; its log says where", headers=CLOSE),
                exchange.request_id,
            )

    def _handler(self, exchange: Exchange, methods: dict[str, Handler] | None) -> Handler:
        """Return what answers a path and method; Refusal 404 or 405 where nothing does."""
        if methods is None:
            known = [path for path in self._table if not path.startswith("/docs/")]
            raise Refusal(404, f"there is nothing here; known: {', '.join(known)}")
        exchange.route = exchange.scope["path"]
        if FULL in exchange.scope:
            raise _busy(CLOSE)
        method = exchange.scope["method"]
        handler = methods.get("GET" if method == "HEAD" else method)
        if handler is None:
            allowed = ", ".join(methods)
            raise Refusal(405, f"use {allowed} here", headers=((b"allow", allowed.encode()),))
        return handler

    def _note(self, exchange: Exchange, status: int) -> None:
        seconds = time.perf_counter() - exchange.began
        self.metrics.count(exchange.route, status, seconds, exchange.rows)
        self.log.request(exchange, status, seconds)

    # ---- routes ---------------------------------------------------------------------------------
    async def _predict(self, exchange: Exchange) -> Reply:
        body = await self._asked(exchange)
        served = self._served(exchange)
        if len(body) > INLINE_BYTES:
            return await self._in_thread(exchange, served, body, predicted, self.limits.rows)
        read = served.reader.read(body, self.limits.rows)
        scores = await self._together.score(served.scorer, read)
        found = answered(served, read, scores)
        self._keep(exchange, served, found)
        return _replied(exchange, found)

    async def _explain(self, exchange: Exchange) -> Reply:
        body = await self._asked(exchange)
        served = self._served(exchange)
        return await self._in_thread(exchange, served, body, explained, self.limits.explain_rows)

    async def _feedback(self, exchange: Exchange) -> Reply:
        body = await self._asked(exchange)
        if self.predictions is None:
            raise Refusal(503, "this server keeps no prediction log (PREDICTION_LOG is off)")
        labels = read_labels(self._served(exchange).model.schema, body)
        if not self.predictions.label(labels):
            raise _busy()
        told = {"accepted": len(labels), "request_id": exchange.request_id}
        return Reply(202, orjson.dumps(told))

    async def _version(self, exchange: Exchange) -> Reply:
        self._check_key(exchange)
        served = self._served(exchange)
        told = {
            **served.version_body,
            "served_since": utc(served.since),
            "source_state": self.source.health(),
        }
        return Reply(200, orjson.dumps(told | {"request_id": exchange.request_id}, option=_NUMPY))

    async def _live(self, exchange: Exchange) -> Reply:
        return Reply(200, b'{"status":"alive"}')

    async def _ready(self, exchange: Exchange) -> Reply:
        ready = self.source.served is not None
        return Reply(
            200 if ready else 503, b'{"status":"ready"}' if ready else b'{"status":"not ready"}'
        )

    async def _health(self, exchange: Exchange) -> Reply:
        served, faults = self.source.served, self._faults()
        degraded = self.source.degraded or bool(faults)
        told = {
            "status": "not ready" if served is None else "degraded" if degraded else "ok",
            "ready": served is not None,
            "model": served and served.model.name,
            "version": served and served.model.version,
            "source": self.source.health(),
            "faults": faults,
        }
        return Reply(503 if served is None else 200, orjson.dumps(told))

    async def _metrics(self, exchange: Exchange) -> Reply:
        return Reply(200, self.metrics.text(), TEXT)

    async def _openapi(self, exchange: Exchange) -> Reply:
        return Reply(200, self._served(exchange).openapi)

    async def _page(self, exchange: Exchange) -> Reply:
        return Reply(200, self._served(exchange).page, HTML)

    # ---- steps of a route -----------------------------------------------------------------------
    async def _asked(self, exchange: Exchange) -> bytes:
        """Return the body of a request that may be made; Refusal otherwise."""
        self._check_key(exchange)
        exchange.check_json()
        return await exchange.body(self.limits.body_bytes, self.limits.body_seconds)

    def _check_key(self, exchange: Exchange) -> None:
        if self.keys is None:
            return
        scheme, _, token = exchange.headers.get(b"authorization", b"").partition(b" ")
        given = (
            token.strip()
            if scheme.lower() == b"bearer"
            else exchange.headers.get(b"x-api-key", b"")
        )
        if self.keys.name_of(given.decode("latin-1")) is None:
            fix = "send Authorization: Bearer KEY or X-API-Key: KEY"
            raise Refusal(
                401, f"no valid API key; {fix}", headers=((b"www-authenticate", b"Bearer"),)
            )

    def _served(self, exchange: Exchange) -> Served:
        """Return the model, read once a request: an answer never mixes two."""
        served = self.source.served
        if served is None:
            raise Refusal(503, "there is no model yet; see /health")
        if served is not self._announced:
            self._announced = served
            self.metrics.serve(served.model.name, served.model.version, served.model.digest)
        exchange.model, exchange.version = served.model.name, served.model.version
        return served

    def _answered(
        self, exchange: Exchange, served: Served, body: bytes, answer: Answer, most: int
    ) -> Reply:
        found = answer(served, body, most)
        if answer is predicted:
            self._keep(exchange, served, found)
        return _replied(exchange, found)

    def _keep(self, exchange: Exchange, served: Served, found: Answered) -> None:
        """Leave what was predicted to the prediction log."""
        if self.predictions is None:
            return
        model, now = served.model, time.time_ns() // 1_000_000
        origin = (exchange.request_id, now, model.name, model.version, model.digest)
        self.predictions.add(
            Entry(*origin, found.rows, found.scores, found.decisions, found.records)
        )

    async def _in_thread(
        self, exchange: Exchange, served: Served, body: bytes, answer: Answer, most: int
    ) -> Reply:
        if self._waiting >= _MOST_WAITING:
            raise _busy()
        self._waiting += 1
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(
            self._threads, self._answered, exchange, served, body, answer, most
        )
        work.add_done_callback(self._one_less)
        try:
            return await asyncio.wait_for(asyncio.shield(work), self.limits.request_seconds)
        except TimeoutError:
            seconds = self.limits.request_seconds
            raise Refusal(
                503, f"no answer within {seconds:g} s; send fewer records at a time", headers=CLOSE
            ) from None

    def _one_less(self, work: asyncio.Future[Reply]) -> None:
        self._waiting -= 1
        if not work.cancelled():
            work.exception()  # of one that nobody waits for any more: it was answered with 503

    # ---- life and surroundings ------------------------------------------------------------------
    @asynccontextmanager
    async def _life(self, _: FastAPI) -> AsyncIterator[None]:
        """Start what runs beside the requests, and end it after the last of them."""
        self.log.spool.start()
        if self.predictions is not None:
            self.predictions.start()
        self.source.follow()
        yield
        self.source.stop()
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self.predictions is not None:
            self.predictions.spool.close()
        self.log.say("stopped")
        self.log.spool.close()

    def _faults(self) -> list[str]:
        """Return what is wrong beside the model."""
        told = [self.keys.fault if self.keys else ""]
        told.append(
            f"the log is not written: {self.log.spool.fault}" if self.log.spool.fault else ""
        )
        if self.predictions is not None and self.predictions.spool.fault:
            told.append(f"the prediction log is not written: {self.predictions.spool.fault}")
        return [one for one in told if one]

    def _watch_others(self) -> None:
        state, watch = self.source.state, self.metrics.watch
        watch("reloads", "Models put in place of another", lambda: state.reloads)
        watch("reload_failures", "Models refused and registry failures", lambda: state.failures)
        watch("log_dropped", "Log lines dropped", lambda: self.log.spool.dropped)
        predictions = self.predictions
        if predictions is not None:
            watch(
                "prediction_log_dropped",
                "Entries of the prediction log dropped",
                lambda: predictions.spool.dropped,
            )
        watch(
            "ready",
            "Whether there is a model to answer with",
            lambda: self.source.served is not None,
        )
        watch(
            "degraded",
            "Whether something else is served than is wanted",
            lambda: self.source.degraded,
        )


async def _docs(exchange: Exchange) -> Reply:
    page = get_swagger_ui_html(
        openapi_url="/openapi.json",
        title="API description",
        swagger_js_url="/docs/files/swagger-ui-bundle.js",
        swagger_css_url="/docs/files/swagger-ui.css",
        swagger_favicon_url="/docs/files/favicon-32x32.png",
    )
    return Reply(200, bytes(page.body), HTML)


async def _docs_file(exchange: Exchange) -> Reply:
    name = exchange.scope["path"].rpartition("/")[2]
    return Reply(200, _docs_content(name), _DOCS_FILES[name], _KEPT)


@cache
def _docs_content(name: str) -> bytes:
    return Path(swagger_ui_path, name).read_bytes()


def _replied(exchange: Exchange, found: Answered) -> Reply:
    exchange.rows = found.rows
    found.content["request_id"] = exchange.request_id
    return Reply(200, orjson.dumps(found.content, option=_NUMPY))


def _busy(more: Headers = ()) -> Refusal:
    headers = ((b"retry-after", b"1"), *more)
    return Refusal(503, "too much is under way; try again in a second", headers=headers)


def _as_refusal(fault: Refused) -> Refusal:
    more = {} if fault.count <= len(fault.faults) else {"fault_count": fault.count}
    return Refusal(fault.status, str(fault), fault.faults or None, told=more)
