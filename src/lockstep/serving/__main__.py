"""Serve one model over HTTP: `make serve`, or `python -m lockstep.serving`."""

from __future__ import annotations

import argparse
import os
import socket
from pathlib import Path

from lockstep.config.layout import project_root
from lockstep.config.serving import ServingSettings, load_serving
from lockstep.console import Parser
from lockstep.errors import ConfigError, run_command
from lockstep.extras import require_extra
from lockstep.serving.api_keys import new_key


def main() -> int | None:
    """Read the settings, take the port, load the first model, and answer until stopped."""
    options = parser().parse_args()
    if options.new_key:
        key, line = new_key(options.new_key)
        print(f"key, shown this once: {key}\nline for API_KEYS_FILE: {line}")
        return 0
    try:
        root = project_root()
    except ConfigError:  # in a container there is no project
        root = Path.cwd()
    given = {"HOST": options.host, "PORT": options.port}
    environ = {**os.environ, **{name: value for name, value in given.items() if value}}
    settings = load_serving(root, environ)
    require_extra("serve", "serving")
    if options.worker:
        from lockstep.serving.server import serve_beside

        serve_beside(settings, root, options.worker)
        return 0
    listening = take_port(settings)
    if settings.workers > 1:
        from lockstep.serving.workers import Workers

        return Workers(settings, root, listening).run()
    from lockstep.serving.server import serve

    serve(settings, root, listening)
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    top = Parser(prog="python -m lockstep.serving", description=__doc__)
    top.add_argument("--host", help="address to listen on (HOST); the default is loopback only")
    top.add_argument("--port", help="port to listen on (PORT); 0 takes a free one")
    top.add_argument("--worker", nargs=5, help=argparse.SUPPRESS)
    top.add_argument("--new-key", metavar="NAME", help="print a new API key and its file line")
    return top


def take_port(settings: ServingSettings) -> socket.socket:
    """Return a socket bound to the address; ConfigError if it is taken. No model is loaded yet."""
    try:
        found = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(found[0], found[1])
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(found[4])
    except OSError as error:
        host = f"HOST={settings.host} (from {settings.source_of('host')})"
        port = f"PORT={settings.port} (from {settings.source_of('port')})"
        fault = f"cannot listen at {host}, {port}: {error.strerror or error}"
        raise ConfigError(f"{fault}; set another") from None
    return listening


if __name__ == "__main__":
    run_command(main)
