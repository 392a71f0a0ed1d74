"""The server process: it loads the first model and runs uvicorn until a signal ends it."""

from __future__ import annotations

import gc
import logging
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path

from uvicorn import Config, Server

from lockstep.config.serving import ServingSettings
from lockstep.serving.app import Api
from lockstep.serving.connection_limits import BoundedProtocol
from lockstep.serving.loaded_model import ServedModel
from lockstep.serving.model_source import ModelSource
from lockstep.serving.siblings import Siblings
from lockstep.serving.telemetry import JsonLog, JsonLogHandler
from lockstep.serving.workers import say_ready, taken_over

_SWITCH_SECONDS = 0.0005
"""Longest time a thread keeps the interpreter from requests: a tenth of Python's default."""
_GRACE_SECONDS = 20
_OTHER_FILES = 512
"""Open files besides connections: spare connections, logs, databases, those of a registry."""
_KEEP_ALIVE_SECONDS = 30


def serve_beside(settings: ServingSettings, root: Path, words: list[str]) -> None:
    """Serve as one of several workers, until the parent ends it or has ended."""
    siblings, listening, link = taken_over(words)
    serve(settings, root, listening, siblings, lambda: say_ready(link))


def serve(
    settings: ServingSettings,
    root: Path,
    listening: socket.socket,
    siblings: Siblings | None = None,
    when_ready: Callable[[], None] = lambda: None,
) -> None:
    """Load the model and answer requests on a socket until SIGTERM or Ctrl-C.

    Requests under way are finished first.
    """
    # ModelSource retries a registry itself; MLflow's retries would delay a reload by minutes.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
    source = ModelSource(settings, root)
    served = source.start()
    api = Api(settings, source, JsonLog(settings.log_file), siblings)
    if siblings is None or siblings.number == 1:
        _announce(settings, source, served, listening)
    when_ready()
    run(api, listening)


def _announce(
    settings: ServingSettings, source: ModelSource, served: ServedModel, listening: socket.socket
) -> None:
    host, port = listening.getsockname()[:2]
    address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    _report(f"serving {served.checked.title} ({served.checked.source}) at {address}")
    if source.degraded:
        _report(f"warning: {source.fault}; serving {served.checked.place} meanwhile")
    if settings.api_keys_file is None and not ip_address(host.partition("%")[0]).is_loopback:
        fix = "set API_KEYS_FILE, or HOST=127.0.0.1"
        _report(f"warning: anybody who reaches {address} can use it without a key; {fix}")


def _report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def run(api: Api, listening: socket.socket) -> None:
    """Run uvicorn on a socket until a signal ends it."""
    for name in ("uvicorn.error", "uvicorn"):
        logging.getLogger(name).handlers = []
    logger = logging.getLogger("uvicorn")
    logger.addHandler(JsonLogHandler(api.log))
    logger.setLevel(logging.WARNING)
    config = Config(
        api,
        http=BoundedProtocol,
        loop="uvloop",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=api.limits.connections,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        backlog=2048,
    )
    _allow_files(api.limits.connections)
    sys.setswitchinterval(_SWITCH_SECONDS)
    gc.collect()
    gc.freeze()  # without it, collecting the imported objects sometimes took a tenth of a second
    for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn raises them again at its end
        signal.signal(number, lambda *_: None)
    Server(config).run(sockets=[listening])


def _allow_files(connections: int) -> None:
    """Raise the limit of open files, where allowed, so that connections run out first.

    macOS names no limit and refuses numbers above one of its own.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        highest = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (highest, hard))
