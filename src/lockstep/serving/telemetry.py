"""What the server reports about itself: metrics for Prometheus, and one JSON log line a request.

Neither contains anything of what was sent.
"""

from __future__ import annotations

import logging
import select
import sys
import time
import traceback
from collections import Counter as tally
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import IO, Any

import numpy as np
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
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from lockstep.errors import ConfigError
from lockstep.serving.background_writer import BackgroundWriter
from lockstep.serving.http_request import HttpRequest

_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_LOG_BYTES = 8 * 1024 * 1024
_LINE_BYTES = 400


class Metrics:
    """The server's own metrics, in a registry of their own.

    ``shared``: those of all workers together, by files in PROMETHEUS_MULTIPROC_DIR. Counts of a
    worker that has ended stay; numbers that are counted elsewhere are those of living workers.
    """

    def __init__(self, shared: bool = False) -> None:
        self.registry, self.local, self.shared = CollectorRegistry(), CollectorRegistry(), shared
        self._watched: list[tuple[Gauge, Callable[[], float]]] = []
        if not shared:
            ProcessCollector(registry=self.registry)
            PlatformCollector(registry=self.registry)
        own: dict[str, Any] = {"registry": self.registry, "namespace": "lockstep"}
        self.requests = Counter("requests", "Requests answered", ["route", "status"], **own)
        text = "Time from the first byte read to the answer"
        self.seconds = Histogram("request_seconds", text, ["route"], buckets=_BUCKETS, **own)
        self.rows = Counter("rows", "Records answered", ["route"], **own)
        text = "1 for the model that answers"
        names = ["model", "version", "digest"]
        self.model = Gauge("model_info", text, names, multiprocess_mode="livemax", **own)
        self._info: Gauge | None = None
        text = "Number of the version that answers; 0 for a file"
        self.version = Gauge("model_version", text, multiprocess_mode="livemin", **own)
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

    def watch(
        self, name: str, text: str, read: Callable[[], float], together: Any = "livesum"
    ) -> None:
        """Export a number that is counted elsewhere.

        ``together`` says what becomes of the workers' numbers; "same": any of them tells it.
        """
        if together == "same":
            self.local.register(_Same(f"lockstep_{name}", text, read))
            return
        own: dict[str, Any] = {"registry": self.registry, "namespace": "lockstep"}
        gauge = Gauge(name, text, multiprocess_mode=together, **own)
        if self.shared:
            self._watched.append((gauge, read))
        else:
            gauge.set_function(read)

    def refresh(self) -> None:
        """Write the numbers that are counted elsewhere where the other workers read them."""
        for gauge, read in self._watched:
            gauge.set(read())

    def count(self, route: str, status: int, seconds: float, rows: int) -> None:
        """Count one request."""
        request, observe, counted = self.labelled(route, status)
        request()
        observe(seconds)
        if rows:
            counted(rows)

    def decide(self, decisions: Any) -> None:
        """Count decisions, an array or a list; None is a person's."""
        counts: Iterable[tuple[Any, int]]
        if isinstance(decisions, np.ndarray):
            found, many_of = np.unique(decisions, return_counts=True)
            counts = zip(found.tolist(), many_of.tolist(), strict=True)
        else:
            counts = tally(decisions).items()
        for decision, many in counts:
            self.decided("review" if decision is None else str(decision))(many)

    def serve(self, model: str, version: int | None, digest: str | None) -> None:
        """Record which model answers from now on."""
        labels = (model, str(version or ""), digest or "")
        if not self.shared:
            self.model.clear()
        elif self._info is not None:  # a shared one can't be removed
            self._info.set(0)
        self._info = self.model.labels(*labels)
        self._info.set(1)
        self.version.set(version or 0)

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format; of all workers, if they are shared."""
        together = self.registry
        if self.shared:
            self.refresh()
            together = CollectorRegistry()
            MultiProcessCollector(together)
        return generate_latest(together) + generate_latest(self.local)


class _Same(Collector):
    """A number that is the same in all workers, read whenever it is asked for."""

    def __init__(self, name: str, text: str, read: Callable[[], float]) -> None:
        self.name, self.text, self.read = name, text, read

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the number."""
        yield GaugeMetricFamily(self.name, self.text, self.read())


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
        for piece in pieces(lines):
            self.stream.write(piece)
            self.stream.flush()


def pieces(lines: Sequence[bytes]) -> Iterator[bytes]:
    """Yield lines in pieces that the system writes whole, so that workers' lines don't mix."""
    piece = b""
    for line in lines:
        if piece and len(piece) + len(line) >= select.PIPE_BUF:
            yield piece
            piece = b""
        piece += line + b"\n"
    if piece:
        yield piece


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
