"""Serve one model over HTTP: `make serve`, or `python -m lockstep.serving`."""

from __future__ import annotations

import argparse
import gc
import os
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lockstep.config.layout import project_root
from lockstep.errors import ConfigError, run_command

if TYPE_CHECKING:
    from lockstep.serving.app import Api
    from lockstep.serving.settings import ServingSettings

_SWITCH_SECONDS = 0.0005
"""How long a thread that loads or writes may keep requests waiting for the interpreter: a tenth of Python's default."""
_GRACE_SECONDS = 20
_OTHER_FILES = 512
"""Open files besides the connections': spare connections, logs, databases, and those of a registry."""
_KEEP_ALIVE_SECONDS = 30


def main() -> int | None:
    """Read the settings, take the port, load the first model, and answer until told to stop."""
    options = parser().parse_args()
    if options.new_key:
        return _print_key(options.new_key)
    root = _root()
    from lockstep.serving.settings import load_serving

    settings = load_serving(root, _with_options(options))
    taken = take_port(settings)
    return serve(settings, root, taken)


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    top = argparse.ArgumentParser(prog="python -m lockstep.serving", description=__doc__)
    top.add_argument("--host", help="address to listen on (HOST); the default is loopback only")
    top.add_argument("--port", help="port to listen on (PORT); 0 takes a free one")
    top.add_argument(
        "--new-key",
        metavar="NAME",
        help="print a new API key and its line for API_KEYS_FILE, and end",
    )
    return top


def serve(settings: ServingSettings, root: Path, taken: socket.socket) -> int:
    """Load the model and answer requests on a socket until SIGTERM or Ctrl-C; requests under way are ended first."""
    from lockstep.serving.app import Api
    from lockstep.serving.model_source import Source
    from lockstep.serving.telemetry import JsonLog

    # A registry that does not answer is asked again by us; MLflow alone would hold a reload up for minutes.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
    source = Source(settings, root)
    served = source.start()
    api = Api(settings, source, JsonLog(settings.log_file))
    host, port = taken.getsockname()[:2]
    place = f"http://{_shown(host)}:{port}"
    print(
        f"serving {served.where} ({served.opened.source}) at {place}", file=sys.stderr, flush=True
    )
    if source.degraded:
        print(
            f"warning: {source.fault}; serving {served.opened.place} meanwhile",
            file=sys.stderr,
            flush=True,
        )
    if settings.api_keys_file is None and not _is_loopback(host):
        fix = "set API_KEYS_FILE, or HOST=127.0.0.1"
        print(
            f"warning: whoever reaches {place} may ask it, as no key is asked for; {fix}",
            file=sys.stderr,
            flush=True,
        )
    run(api, taken)
    return 0


def run(api: Api, taken: socket.socket) -> None:
    """Run uvicorn on a socket until a signal ends it."""
    import logging

    from uvicorn import Config, Server

    from lockstep.serving.connection_limits import BoundedProtocol
    from lockstep.serving.telemetry import ToJson

    for name in ("uvicorn.error", "uvicorn"):
        logging.getLogger(name).handlers = []
    logger = logging.getLogger("uvicorn")
    logger.addHandler(ToJson(api.log))
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
    gc.freeze()  # what was imported is never looked through again: that took a tenth of a second now and then
    for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn raises them once more when all is done
        signal.signal(number, lambda *_: None)
    Server(config).run(sockets=[taken])


def _allow_files(connections: int) -> None:
    """Raise this process's limit of open files, where it may, so that connections are what ends first."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        highest = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest, hard))


def take_port(settings: ServingSettings) -> socket.socket:
    """Return a socket bound to the address, before anything is loaded; a taken one is a ConfigError."""
    try:
        found = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        taken = socket.socket(found[0], found[1])
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(found[4])
    except OSError as error:
        told = f"HOST={settings.host} (from {settings.source_of('host')}), PORT={settings.port}"
        raise ConfigError(
            f"cannot listen at {told} (from {settings.source_of('port')}): {error.strerror or error}; set another"
        ) from None
    return taken


def _is_loopback(host: str) -> bool:
    from ipaddress import ip_address

    return ip_address(host.partition("%")[0]).is_loopback


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _root() -> Path:
    """Return the project's folder; where there is none, as in a container, the current one."""
    try:
        return project_root()
    except ConfigError:
        return Path.cwd()


def _with_options(options: argparse.Namespace) -> dict[str, str]:
    """Return the environment with the options before it."""
    given = {"HOST": options.host, "PORT": options.port}
    return {**os.environ, **{name: value for name, value in given.items() if value}}


def _print_key(name: str) -> int:
    from lockstep.serving.api_keys import new_key

    key, line = new_key(name)
    print(f"key, shown this once: {key}\nline for API_KEYS_FILE: {line}")
    return 0


if __name__ == "__main__":
    run_command(main)
