"""What the server reports about itself: metrics for Prometheus, and one JSON log line a request.

Neither contains anything of what was sent.
"""

from __future__ import annotations

import logging
import sys
import time
import traceback
from collections import Counter as tally
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import IO, Any

import orjson
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

from lockstep.errors import ConfigError
from lockstep.serving.background_writer import BackgroundWriter
from lockstep.serving.http_request import HttpRequest

_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_LOG_BYTES = 8 * 1024 * 1024
_LINE_BYTES = 400


class Metrics:
    """The server's own metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        own: dict[str, Any] = {"registry": self.registry, "namespace": "lockstep"}
        self.requests = Counter("requests", "Requests answered", ["route", "status"], **own)
        text = "Time from the first byte read to the answer"
        self.seconds = Histogram("request_seconds", text, ["route"], buckets=_BUCKETS, **own)
        self.rows = Counter("rows", "Records answered", ["route"], **own)
        text = "1 for the model that answers"
        self.model = Gauge("model_info", text, ["model", "version", "digest"], **own)
        text = "Number of the version that answers; 0 for a file"
        self.version = Gauge("model_version", text, **own)
        text = "Decisions answered by /predict"
        self.decisions = Counter("decisions", text, ["decision"], **own)
        self.decided = cache(lambda decision: self.decisions.labels(decision).inc)
        self.labelled = cache(self._labelled)

    def _labelled(
        self, route: str, status: int
    ) -> tuple[Callable[[], None], Callable[[float], None], Any]:
        """Return what counts requests of a route and status: looking up labels costs more."""
        return (
            self.requests.labels(route, str(status)).inc,
            self.seconds.labels(route).observe,
            self.rows.labels(route).inc,
        )

    def watch(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Export a number that is counted elsewhere."""
        Gauge(name, text, registry=self.registry, namespace="lockstep").set_function(read)

    def count(self, route: str, status: int, seconds: float, rows: int) -> None:
        """Count one request."""
        request, observe, counted = self.labelled(route, status)
        request()
        observe(seconds)
        if rows:
            counted(rows)

    def decide(self, decisions: Sequence[Any]) -> None:
        """Count decisions; None is a person's."""
        for decision, many in tally(decisions).items():
            self.decided("review" if decision is None else str(decision))(many)

    def serve(self, model: str, version: int | None, digest: str | None) -> None:
        """Record which model answers from now on."""
        self.model.clear()
        self.model.labels(model, str(version or ""), digest or "").set(1)
        self.version.set(version or 0)

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self.registry)


class JsonLog:
    """Writes one JSON line an event, to a file or to standard error, in the background."""

    def __init__(self, path: Path | None) -> None:
        self.stream = sys.stderr.buffer if path is None else _opened(path)
        self.writer = BackgroundWriter(
            self._write, _LOG_BYTES, every=0.1, name="log", close=self.stream.flush
        )

    def event(self, event: str, level: str = "info", **details: Any) -> None:
        """Queue a line."""
        line = {"time": time.time(), "level": level, "event": event, **details}
        self.writer.put(line, _LINE_BYTES)

    def request(self, request: HttpRequest, status: int, seconds: float) -> None:
        """Queue the line of a request: route, status, time, rows, model; nothing it sent."""
        self.event(
            "request",
            request_id=request.request_id,
            method=request.scope["method"],
            route=request.route,
            status=status,
            ms=round(1000 * seconds, 3),
            rows=request.rows,
            model=request.model,
            version=request.version,
        )

    def _write(self, events: list[dict[str, Any]]) -> None:
        lines = [
            orjson.dumps(event | {"time": utc(event["time"])}, default=str) for event in events
        ]
        self.stream.write(b"\n".join([*lines, b""]))
        self.stream.flush()


def _opened(path: Path) -> IO[bytes]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("ab")
    except OSError as error:
        fault = f"cannot be written: {error.strerror}; name another file"
        raise ConfigError(f"SERVING_LOG {path} {fault}") from error


def utc(seconds: float) -> str:
    """Return Unix seconds as ISO 8601 in UTC, with milliseconds."""
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{whole}.{int(seconds % 1 * 1000):03d}Z"


class JsonLogHandler(logging.Handler):
    """Passes log records of libraries on as JSON lines."""

    def __init__(self, log: JsonLog) -> None:
        super().__init__()
        self.log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a record; an exception by kind and place only: its text may quote a request."""
        details: dict[str, Any] = {"logger": record.name, "message": record.getMessage()}
        if record.exc_info and record.exc_info[0] is not None:
            details["exception"] = record.exc_info[0].__name__
            if frames := traceback.extract_tb(record.exc_info[2]):
                details["at"] = f"{frames[-1].filename}:{frames[-1].lineno}"
        self.log.event("library", record.levelname.lower(), **details)
