"""The application: its routes, and around each of them the limits, the metrics and the logs.

FastAPI carries only the API description and its pages. The frequent routes are plain functions from
a request to a reply, called from one table before FastAPI's routing. Validation uses the schema.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import orjson
from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html

from lockstep.config.layout import PROJECT
from lockstep.config.monitoring import METRICS_FILE
from lockstep.config.serving import ServingSettings
from lockstep.errors import ConfigError
from lockstep.monitoring.log_files import Entry
from lockstep.serving.api_keys import ApiKeys
from lockstep.serving.board_page import BoardPage
from lockstep.serving.connection_limits import FULL
from lockstep.serving.day_keeper import DayKeeper
from lockstep.serving.feedback import read_labels
from lockstep.serving.http_request import (
    CLOSE,
    HTML,
    JSON,
    TABLES,
    TEXT,
    ClientDisconnected,
    Headers,
    HttpRequest,
    Receive,
    Refusal,
    Reply,
    Scope,
    Send,
    refused,
    send_reply,
)
from lockstep.serving.loaded_model import ServedModel
from lockstep.serving.microbatch import MicroBatcher
from lockstep.serving.model_source import ModelSource
from lockstep.serving.openapi import STAGING
from lockstep.serving.prediction_log import PredictionLog
from lockstep.serving.responses import Answer, explained, predicted, predictions
from lockstep.serving.shadow import Shadow
from lockstep.serving.siblings import WRITE_SECONDS, Siblings, worst
from lockstep.serving.static_files import PATHS, docs_file, static_file
from lockstep.serving.table_answers import TableAnswer, predicted_table
from lockstep.serving.table_bodies import open_table
from lockstep.serving.telemetry import JsonLog, Metrics, utc
from lockstep.serving.worker_threads import WorkerThreads

Handler = Callable[[HttpRequest], Awaitable[Reply]]
Answering = Callable[[ServedModel], Answer | TableAnswer]
"""Makes the answer of one request by a model."""

INLINE_BYTES = 64 * 1024
"""Bodies up to this size (about 200 records) are answered in the event loop, larger in a thread."""
_THREADS, _MOST_WAITING = 2, 32
_LARGE_BODIES = 8
"""Large bodies under way may take so many times ``table_bytes`` of memory together."""
_MOST_IN_STAGING = 4
"""How many requests for Staging may be under way: they only compare, and a load keeps all."""
_NUMPY = orjson.OPT_SERIALIZE_NUMPY


class Wanted(NamedTuple):
    """What a request wants beside its answer: that of Staging; not to be noted as one given."""

    staging: bool
    noted: bool


_PLAIN = Wanted(staging=False, noted=True)


class Api(FastAPI):
    """The application over one source of models."""

    def __init__(
        self,
        settings: ServingSettings,
        source: ModelSource,
        log: JsonLog,
        siblings: Siblings | None = None,
    ) -> None:
        super().__init__(docs_url=None, redoc_url=None, openapi_url=None, lifespan=self._life)
        self.settings, self.source, self.log = settings, source, log
        self.siblings = siblings
        self.limits, self.metrics = settings.limits, Metrics(siblings is not None)
        self.keys = None if settings.api_keys_file is None else ApiKeys(settings.api_keys_file)
        folder = settings.prediction_folder
        # Where there is neither a project nor a registry, no version has a reference.
        is_project = all((source.root / name).is_file() for name in PROJECT)
        is_watched = source.registry is not None or is_project
        keeper = DayKeeper(source.root) if is_watched else None
        prunes = siblings is None or siblings.number == 1
        self.predictions = (
            None
            if folder is None
            else PredictionLog(folder, settings.prediction_log, keeper, prunes)
        )
        self.shadow = _shadow_of(settings, source)
        self.board = BoardPage(source.root, source.registry is not None)
        self._threads = WorkerThreads("batches", _THREADS, _MOST_WAITING)
        # One thread: to load the version in Staging, or to score with it, takes no other's place.
        self._staging_thread = WorkerThreads("staging", 1, _MOST_IN_STAGING)
        self._batcher = MicroBatcher()
        self._reserved = 0
        self._announced: ServedModel | None = None
        self._ended = threading.Event()
        self._fault_log = logging.getLogger("uvicorn.lockstep")
        self._table: dict[str, dict[str, Handler]] = {
            "/predict": {"POST": self._predict},
            "/explain": {"POST": self._explain},
            "/feedback": {"POST": self._feedback},
            "/version": {"GET": self._version},
            "/health": {"GET": self._health},
            "/health/live": {"GET": _live},
            "/health/ready": {"GET": self._ready},
            "/metrics": {"GET": self._metrics},
            "/openapi.json": {"GET": self._openapi},
            "/": {"GET": self._page},
            "/board": {"GET": self._board},
            "/docs": {"GET": _docs},
            **{path: {"GET": static_file} for path in PATHS},
        }
        self._watch_others()

    # ---- around every request -------------------------------------------------------------------
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; count it and log its line."""
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        request = HttpRequest(scope, receive)
        try:
            reply = await self._reply(request)
            await send_reply(send, reply, request.request_id)
            status = reply.status
        except ClientDisconnected:
            status = 499
        finally:
            self._reserved -= request.reserved
        seconds = time.perf_counter() - request.began
        self.metrics.count(request.route, status, seconds, request.rows)
        self.log.request(request, status, seconds)

    async def _reply(self, request: HttpRequest) -> Reply:
        try:
            return await self._handler(request)(request)
        except Refusal as refusal:
            refusal.headers += await request.drain(self.limits.body_seconds)
            return refused(refusal, request.request_id)
        except ClientDisconnected:
            raise
        except Exception:  # noqa: BLE001  a bug of ours: its place is logged, the client gets a 500
            self._fault_log.exception("a request failed")
            failure = Refusal(500, "the server failed; its log says where", headers=CLOSE)
            return refused(failure, request.request_id)

    def _handler(self, request: HttpRequest) -> Handler:
        """Return the handler of a path and method; Refusal 404 or 405 where there is none."""
        methods = self._table.get(request.scope["path"])
        if methods is None:
            known = [path for path in self._table if not path.startswith("/docs/")]
            raise Refusal(404, f"there is nothing here; known: {', '.join(known)}")
        request.route = request.scope["path"]
        if FULL in request.scope:
            raise _busy(CLOSE)
        method = request.scope["method"]
        handler = methods.get("GET" if method == "HEAD" else method)
        if handler is None:
            allowed = ", ".join(methods)
            raise Refusal(405, f"use {allowed} here", headers=((b"allow", allowed.encode()),))
        return handler

    # ---- routes ---------------------------------------------------------------------------------
    async def _predict(self, request: HttpRequest) -> Reply:
        body = await self._checked_body(request, TABLES)
        wanted = _wanted(request)
        if wanted.staging:
            return await self._by_staging(request, self._answering(request, body))
        served = self._served(request)
        if len(body) > INLINE_BYTES or request.kind != JSON:
            answering = self._answering(request, body)
            return await self._in_thread(
                request, lambda: self._work(request, served, answering, wanted.noted)
            )
        read = served.reader.read(body, self.limits.rows)
        scores = await self._batcher.score(served.scorer, read)
        answer = predictions(served, read, scores)
        if wanted.noted:
            self._note(request, served, answer)
        return _answered(request, answer)

    def _answering(self, request: HttpRequest, body: bytes) -> Answering:
        """Return what makes the answer to a body of any kind."""
        if request.kind == JSON:
            return lambda served: predicted(served, body, self.limits.rows)
        table = partial(open_table, body, request.kind, self.limits)
        return lambda served: predicted_table(served, table(), request.wants_json)

    def _work(
        self, request: HttpRequest, served: ServedModel, answering: Answering, noted: bool
    ) -> Reply:
        answer = answering(served)
        if noted and not request.abandoned:  # what nobody got is no answer
            self._note(request, served, answer)
        return _answered(request, answer)

    async def _explain(self, request: HttpRequest) -> Reply:
        body = await self._checked_body(request)
        most_rows = self.limits.explain_rows

        def answering(served: ServedModel) -> Answer:
            return explained(served, body, most_rows)

        if _wanted(request).staging:
            return await self._by_staging(request, answering)
        served = self._served(request)
        return await self._in_thread(request, lambda: _answered(request, answering(served)))

    async def _by_staging(self, request: HttpRequest, answering: Answering) -> Reply:
        """Answer with the version in Staging; Refusal 404 where no registry is followed."""
        staging = self.source.staging
        if staging is None:
            raise Refusal(404, "this server follows no registered model, so it has no Staging")

        def work() -> Reply:
            served = staging.current()
            request.model, request.version = served.model.name, served.model.version
            return _answered(request, answering(served))

        return await self._in_thread(request, work, self._staging_thread)

    async def _feedback(self, request: HttpRequest) -> Reply:
        body = await self._checked_body(request)
        if self.predictions is None:
            raise Refusal(503, "this server keeps no prediction log (PREDICTION_LOG is off)")
        labels = read_labels(self._served(request).model.schema, body)
        if not self.predictions.label(labels):
            raise _busy()
        content = {"accepted": len(labels), "request_id": request.request_id}
        return Reply(202, orjson.dumps(content))

    async def _version(self, request: HttpRequest) -> Reply:
        self._check_key(request)
        served = self._served(request)
        content = {
            **served.version_body,
            "served_since": utc(served.since),
            "source_state": self.source.health(),
            "request_id": request.request_id,
        }
        return Reply(200, orjson.dumps(content, option=_NUMPY))

    async def _ready(self, request: HttpRequest) -> Reply:
        if self.source.served is None:
            return Reply(503, b'{"status":"not ready"}')
        return Reply(200, b'{"status":"ready"}')

    async def _health(self, request: HttpRequest) -> Reply:
        content = self._state()
        if self.siblings is not None:
            states = self.siblings.read(self._shown(content))
            content["workers"] = states
            content["status"] = worst(states) if content["ready"] else content["status"]
        return Reply(200 if content["ready"] else 503, orjson.dumps(content))

    def _state(self) -> dict[str, Any]:
        """Return what /health reports about this process."""
        served, faults = self.source.served, self._faults()
        degraded = self.source.degraded or bool(faults)
        return {
            "status": "not ready" if served is None else "degraded" if degraded else "ok",
            "ready": served is not None,
            "model": served and served.model.name,
            "version": served and served.model.version,
            "needs_key": self.keys is not None,
            "source": self.source.health(),
            "faults": faults,
            **({} if self.shadow is None else {"shadow": self.shadow.status}),
        }

    def _share(self) -> None:
        """Tell the other workers, from time to time, what this one would report."""
        assert self.siblings is not None
        while not self._ended.wait(WRITE_SECONDS):
            self._announce(self.source.served)
            self.metrics.refresh()
            self._tell(self.siblings)

    def _tell(self, siblings: Siblings) -> None:
        """Write for the other workers what this one would report now."""
        try:
            siblings.write(self._shown(self._state()))
        except OSError:  # the disk is full: an old state counts as none
            self._fault_log.exception("the state for the other workers is not written")

    @staticmethod
    def _shown(state: dict[str, Any]) -> dict[str, Any]:
        """Return what /health shows of one worker."""
        shown = {key: state[key] for key in ("status", "model", "version", "faults")}
        return {**shown, "pid": os.getpid()}

    async def _metrics(self, request: HttpRequest) -> Reply:
        self._announce(self.source.served)
        return Reply(200, self.metrics.text() + self._monitored(), TEXT)

    def _monitored(self) -> bytes:
        """Return what `make monitor` last wrote about this problem, if it did."""
        try:
            return self._monitor_file.read_bytes()
        except OSError:  # never written, or about to be replaced
            return b""

    def _monitor_age(self) -> float:
        """Return the seconds since `make monitor` wrote; NaN if it never did."""
        try:
            return time.time() - self._monitor_file.stat().st_mtime
        except OSError:
            return float("nan")

    @property
    def _monitor_file(self) -> Path:
        return self.settings.monitoring_folder / self._problem() / METRICS_FILE

    def _problem(self) -> str:
        """Return the problem of the model that answers; before one does, that of the settings."""
        served = self.source.served
        return self.settings.problem if served is None else served.model.schema.name

    async def _openapi(self, request: HttpRequest) -> Reply:
        return Reply(200, self._served(request).openapi)

    async def _page(self, request: HttpRequest) -> Reply:
        served = self._served(request)
        page = asyncio.wrap_future(served.page.begun())
        await asyncio.wait({page}, timeout=self.limits.request_seconds)
        if not page.done():
            raise Refusal(503, "the page is still being made; try again later")
        if (fault := page.exception()) is not None:
            raise RuntimeError("the page could not be made") from fault
        return Reply(200, page.result(), HTML)

    async def _board(self, request: HttpRequest) -> Reply:
        self._check_key(request)
        return await self.board.reply()

    # ---- steps of a route -----------------------------------------------------------------------
    async def _checked_body(self, request: HttpRequest, more: Sequence[bytes] = ()) -> bytes:
        """Return the body of a request with a valid key and content type; Refusal otherwise.

        The body is JSON, or of a content type in ``more``.
        """
        self._check_key(request)
        request.check_kind(more)
        limits = self.limits
        most = limits.body_bytes if request.kind == JSON else limits.table_bytes
        declared, grown = request.declared_bytes, None
        if declared is not None or request.kind != JSON:
            self._reserve(request, most if declared is None else min(declared, most))
        else:  # most are small, so memory is set aside as it is needed
            grown = partial(self._reserve, request)
        return await request.body(most, limits.body_seconds, grown)

    def _reserve(self, request: HttpRequest, needed: int) -> None:
        """Set bytes aside for a large body; Refusal 503 where others have taken all of them."""
        more = needed - request.reserved
        if needed <= INLINE_BYTES or more <= 0:
            return
        if self._reserved + more > _LARGE_BODIES * self.limits.table_bytes:
            raise _busy()
        request.reserved += more
        self._reserved += more

    def _check_key(self, request: HttpRequest) -> None:
        if self.keys is None:
            return
        scheme, _, token = request.headers.get(b"authorization", b"").partition(b" ")
        own = request.headers.get(b"x-api-key", b"")
        key = token.strip() if scheme.lower() == b"bearer" else own
        if self.keys.name_of(key.decode("latin-1")) is None:
            message = "no valid API key; send Authorization: Bearer KEY or X-API-Key: KEY"
            raise Refusal(401, message, headers=((b"www-authenticate", b"Bearer"),))

    def _served(self, request: HttpRequest) -> ServedModel:
        """Return the model. Each request reads it once, so no answer mixes two models."""
        served = self.source.served
        if served is None:
            raise Refusal(503, "there is no model yet; see /health")
        self._announce(served)
        request.model, request.version = served.model.name, served.model.version
        return served

    def _announce(self, served: ServedModel | None) -> None:
        """Tell the metrics which model answers, also before a request came."""
        if served is not None and served is not self._announced:
            self._announced = served
            self.metrics.serve(served.model.name, served.model.version, served.model.digest)

    def _note(
        self, request: HttpRequest, served: ServedModel, answer: Answer | TableAnswer
    ) -> None:
        """Count the decisions of an answer, log it, and send it to the challenger."""
        decisions = answer.decisions
        if served.model.schema.task != "regression":
            self.metrics.decide(decisions)
        if self.predictions is None:
            return
        model, now = served.model, time.time_ns() // 1_000_000
        origin = (request.request_id, now, model.name, model.version, model.digest)
        given = (answer.rows, answer.scores, decisions, answer.records)
        entry = Entry(*origin, *given, *served.decided_by)
        self.predictions.add(entry)
        if self.shadow is not None:
            self.shadow.add(entry)

    async def _in_thread(
        self,
        request: HttpRequest,
        work: Callable[[], Reply],
        threads: WorkerThreads | None = None,
    ) -> Reply:
        """Answer by what ``work`` returns in a thread; Refusal 503 where that takes too long."""
        threads, seconds = threads or self._threads, self.limits.request_seconds
        if threads.are_full:
            raise _busy()

        def wanted_work() -> Reply:
            if request.abandoned:
                raise _busy()
            return work()

        try:
            return await asyncio.wait_for(asyncio.shield(threads.begin(wanted_work)), seconds)
        except TimeoutError:
            request.abandoned = True
            message = f"no answer within {seconds:g} s; send fewer records at a time"
            raise Refusal(503, message, headers=CLOSE) from None

    # ---- start, end and surroundings ------------------------------------------------------------
    @asynccontextmanager
    async def _life(self, _: FastAPI) -> AsyncIterator[None]:
        """Start the background threads, and end them after the last request."""
        self.log.writer.start()
        if self.predictions is not None:
            self.predictions.start()
        if self.shadow is not None:
            self.shadow.start()
        self.source.follow()
        if self.siblings is not None:
            self._tell(self.siblings)  # before it takes a request: no worker misses one that does
            threading.Thread(target=self._share, name="siblings", daemon=True).start()
        yield
        self._ended.set()
        self.source.stop()
        for threads in (self._threads, self._staging_thread):
            threads.end()
        if self.shadow is not None:
            self.shadow.close()
        if self.predictions is not None:
            self.predictions.writer.close()
        self.log.event("stopped")
        self.log.writer.close()

    def _faults(self) -> list[str]:
        faults = [self.keys.fault] if self.keys and self.keys.fault else []
        if self.log.writer.fault:
            faults.append(f"the log is not written: {self.log.writer.fault}")
        if self.predictions is not None and self.predictions.writer.fault:
            faults.append(f"the prediction log is not written: {self.predictions.writer.fault}")
        return faults

    def _watch_others(self) -> None:
        source, predictions, watch = self.source, self.predictions, self.metrics.watch
        text = "Time since the log was analysed"
        watch("monitor_age_seconds", text, self._monitor_age, "same")
        watch("reloads", "Models put in place of another", lambda: source.state.reloads, "livemax")
        watch("reload_failures", "Refused models, registry failures", lambda: source.state.failures)
        watch("log_dropped", "Log lines dropped", lambda: self.log.writer.dropped)
        if predictions is not None:
            text = "Entries of the prediction log dropped"
            watch("prediction_log_dropped", text, lambda: predictions.writer.dropped)
        if (shadow := self.shadow) is not None:
            text = "Requests that the challenger was not sent"
            watch("shadow_dropped", text, lambda: shadow.dropped)
            text = "Rows that the challenger scored"
            watch("shadow_rows", text, lambda: shadow.status["rows"])
        text = "Whether a model can answer"
        watch("ready", text, lambda: source.served is not None, "livemin")
        text = "Whether another model is served than wanted"
        watch("degraded", text, lambda: source.degraded, "livemax")


def _shadow_of(settings: ServingSettings, source: ModelSource) -> Shadow | None:
    """Return what sends requests to the challenger; ConfigError where it could not work."""
    if not settings.shadow:
        return None
    given = f"SHADOW={settings.shadow} (from {settings.source_of('shadow')})"
    if settings.prediction_folder is None:
        raise ConfigError(f"{given} needs the prediction log; remove PREDICTION_LOG=0")
    if source.registry is None or source.registry.kind == "fixed":
        raise ConfigError(
            f"{given} needs a registered model to follow; set MLFLOW_MODEL_NAME in place of "
            "MODEL_PATH and MODEL_URI"
        )
    return Shadow(source.root, settings.prediction_log)


async def _live(request: HttpRequest) -> Reply:
    return Reply(200, b'{"status":"alive"}')


async def _docs(request: HttpRequest) -> Reply:
    page = get_swagger_ui_html(
        openapi_url="/openapi.json",
        title="API description",
        swagger_js_url=docs_file("swagger-ui-bundle.js"),
        swagger_css_url=docs_file("swagger-ui.css"),
        swagger_favicon_url=docs_file("favicon-32x32.png"),
    )
    return Reply(200, bytes(page.body), HTML)


def _wanted(request: HttpRequest) -> Wanted:
    """Return what the query asks for; Refusal 400 for values of ours that are unknown."""
    query = request.scope["query_string"]
    if not query:
        return _PLAIN
    given = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True))
    stage, log = given.get("stage"), given.get("log", "1")
    if stage not in (None, STAGING):
        message = f"give stage={STAGING}, or no stage for the model that answers"
        raise Refusal(400, f"stage={stage[:40]!r} is unknown; {message}")
    if log not in ("0", "1"):
        raise Refusal(400, f"log={log[:40]!r} is unknown; give log=0, or no log to keep the answer")
    return Wanted(stage is not None, log == "1")


def _answered(request: HttpRequest, answer: Answer | TableAnswer) -> Reply:
    request.rows = answer.rows
    return answer.reply(request.request_id)


def _busy(more: Headers = ()) -> Refusal:
    headers = ((b"retry-after", b"1"), *more)
    return Refusal(503, "too much is under way; try again in a second", headers=headers)
