"""What the server tells of itself: counters for Prometheus, and one JSON line a request that holds nobody's data."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
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
from lockstep.serving.background_writer import Spool
from lockstep.serving.http_request import Exchange

_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_LOG_BYTES = 8 * 1024 * 1024


class Metrics:
    """The server's own metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        known: dict[str, Any] = {"registry": self.registry, "namespace": "lockstep"}
        self.requests = Counter("requests", "Requests answered", ["route", "status"], **known)
        self.seconds = Histogram(
            "request_seconds",
            "Time from the first byte read to the answer",
            ["route"],
            buckets=_SECONDS,
            **known,
        )
        self.rows = Counter("rows", "Records answered", ["route"], **known)
        self.model = Gauge(
            "model_info", "1 for the model that answers", ["model", "version", "digest"], **known
        )
        self.version = Gauge(
            "model_version", "Number of the version that answers; 0 for a file", **known
        )
        self.labelled = cache(self._labelled)

    def _labelled(
        self, route: str, status: int
    ) -> tuple[Callable[[], None], Callable[[float], None], Any]:
        """Return what counts a request of a route and status: looking labels up costs more than counting."""
        return (
            self.requests.labels(route, str(status)).inc,
            self.seconds.labels(route).observe,
            self.rows.labels(route).inc,
        )

    def watch(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Show a number that somebody else counts."""
        Gauge(name, text, registry=self.registry, namespace="lockstep").set_function(read)

    def count(self, route: str, status: int, seconds: float, rows: int) -> None:
        """Count one request."""
        request, observe, counted = self.labelled(route, status)
        request()
        observe(seconds)
        if rows:
            counted(rows)

    def serve(self, model: str, version: int | None, digest: str | None) -> None:
        """Say which model answers from now on."""
        self.model.clear()
        self.model.labels(model, str(version or ""), digest or "").set(1)
        self.version.set(version or 0)

    def text(self) -> bytes:
        """Return all of them in Prometheus' text format."""
        return generate_latest(self.registry)


class JsonLog:
    """Writes one JSON line an event, to a file or to standard error, off the requests' way."""

    def __init__(self, path: Path | None) -> None:
        self.stream = sys.stderr.buffer if path is None else _opened(path)
        self.spool = Spool(self._write, _LOG_BYTES, every=0.1, name="log", close=self._flush)

    def say(self, event: str, level: str = "info", **told: Any) -> None:
        """Queue a line."""
        self.spool.put({"time": time.time(), "level": level, "event": event, **told}, 400)

    def request(self, exchange: Exchange, status: int, seconds: float) -> None:
        """Queue the line of a request: route, status, time, rows, model; nothing of what was sent."""
        self.spool.put(
            {
                "time": time.time(),
                "level": "info",
                "event": "request",
                "request_id": exchange.request_id,
                "method": exchange.scope["method"],
                "route": exchange.route,
                "status": status,
                "ms": round(1000 * seconds, 3),
                "rows": exchange.rows,
                "model": exchange.model,
                "version": exchange.version,
            },
            400,
        )

    def _write(self, events: list[dict[str, Any]]) -> None:
        lines = [
            orjson.dumps(event | {"time": utc(event["time"])}, default=str) for event in events
        ]
        self.stream.write(b"\n".join([*lines, b""]))
        self.stream.flush()

    def _flush(self) -> None:
        self.stream.flush()


def _opened(path: Path) -> IO[bytes]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("ab")
    except OSError as error:
        raise ConfigError(
            f"SERVING_LOG {path} cannot be written: {error.strerror}; name another file"
        ) from error


def utc(seconds: float) -> str:
    """Return a time of day (Unix seconds) as ISO 8601 in UTC."""
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{whole}.{int(seconds % 1 * 1000):03d}Z"


class ToJson(logging.Handler):
    """Passes what libraries log on as JSON lines."""

    def __init__(self, log: JsonLog) -> None:
        super().__init__()
        self.log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a record; of an exception its kind and place, as its text may hold what somebody sent."""
        told: dict[str, Any] = {"logger": record.name, "message": record.getMessage()}
        if record.exc_info and record.exc_info[0] is not None:
            told["exception"] = record.exc_info[0].__name__
            trace = record.exc_info[2]
            while trace is not None and trace.tb_next is not None:
                trace = trace.tb_next
            if trace is not None:
                told["at"] = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
        self.log.say("library", record.levelname.lower(), **told)
