"""A long run under load while versions are promoted and rolled back.

No request may fail, no answer may mix versions, and memory must stay flat. It works in a copy of a
workspace's registry: `python benchmarks/soak.py --model-name NAME` needs two versions there whose
models differ. Version, threshold and probability of every answer must belong together.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[1]


def main() -> int:
    """Run, report, and fail where something was wrong."""
    options = parser().parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary) / "workspace"
        root.mkdir()
        for name in ("mlflow.db", "mlruns", "dvc.yaml", "params.yaml", "src/config"):
            copy(options.root / name, root / name)
        return soak(root, options)


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    top = argparse.ArgumentParser(description=__doc__)
    top.add_argument("--model-name", required=True)
    top.add_argument("--problem", default="credit_risk")
    top.add_argument("--versions", type=int, nargs=2, default=(1, 2))
    top.add_argument("--requests", type=int, default=100_000)
    top.add_argument("--moves", type=int, default=20)
    top.add_argument("--clients", type=int, default=4)
    top.add_argument(
        "--root", type=Path, default=ROOT, help="the workspace whose registry is copied"
    )
    return top


def copy(source: Path, target: Path) -> None:
    """Copy a file or folder where there is one."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target)
    elif source.is_file():
        shutil.copyfile(source, target)


class Clients:
    """Closed loops over open connections; answers are counted by what belongs together."""

    def __init__(self, port: int, bodies: list[bytes], count: int) -> None:
        self.port, self.bodies = port, bodies
        self.seen: dict[tuple[Any, ...], int] = {}
        self.statuses: dict[int, int] = {}
        self.errors: list[str] = []
        self.done, self.end, self.lock = 0, threading.Event(), threading.Lock()
        self.threads = [
            threading.Thread(target=self.ask, args=(number,)) for number in range(count)
        ]
        for thread in self.threads:
            thread.start()

    def ask(self, number: int) -> None:
        """Send requests until the end."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            while not self.end.is_set():
                number = (number + 1) % len(self.bodies)
                connection.request(
                    "POST", "/predict", self.bodies[number], {"Content-Type": "application/json"}
                )
                got = connection.getresponse()
                self.note(number, got.status, json.loads(got.read()))
        except (OSError, http.client.HTTPException) as error:
            self.errors.append(repr(error))

    def note(self, number: int, status: int, answer: dict[str, Any]) -> None:
        """Count an answer."""
        names = ("version", "threshold", "probability", "model_digest")
        key = (number, *(answer.get(name) for name in names))
        with self.lock:
            self.done += 1
            self.statuses[status] = self.statuses.get(status, 0) + 1
            self.seen[key] = self.seen.get(key, 0) + 1


def soak(root: Path, options: argparse.Namespace) -> int:
    """Serve, ask and move versions; return 1 if a request failed, answers mixed or memory grew."""
    from lockstep.config.settings import load_settings
    from lockstep.problems.schema import load_schema
    from lockstep.registry.lifecycle.moves import promote, rollback
    from lockstep.registry.store.connection import connect

    sys.path.insert(0, str(Path(__file__).parent))
    from serve import free_port, request_rows

    client = connect(load_settings(root, environ={}), root)
    first, second = options.versions
    promote(client, options.model_name, first)
    bodies = [json.dumps(row).encode() for row in request_rows(load_schema(options.problem), 20)]
    port = free_port()
    variables = {
        "PORT": str(port),
        "PROBLEM": options.problem,
        "MLFLOW_MODEL_NAME": options.model_name,
        "MLFLOW_TRACKING_URI": "sqlite:///mlflow.db",
        "SERVING_LOG": "requests.jsonl",
    }
    command = [sys.executable, "-m", "lockstep.serving"]
    with subprocess.Popen(command, cwd=root, env={**os.environ, **variables}) as server:
        try:
            wait_ready(port, server)
            process = psutil.Process(server.pid)
            clients = Clients(port, bodies, options.clients)
            sizes = []
            for move in range(options.moves):
                wait_for(clients, (move + 1) * options.requests // (options.moves + 1))
                if move % 2:
                    rollback(client, options.model_name)
                else:
                    promote(client, options.model_name, second)
                sizes.append(process.memory_info().rss)
            wait_for(clients, options.requests)
            sizes.append(process.memory_info().rss)
            clients.end.set()
            for thread in clients.threads:
                thread.join(timeout=30)
        finally:
            server.terminate()
        return report(clients, sizes, server.wait(timeout=60))


def wait_ready(port: int, server: subprocess.Popen[bytes]) -> None:
    """Wait for the server to have a model."""
    end = time.monotonic() + 120
    while time.monotonic() < end and server.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/health/ready")
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.1)
        finally:
            connection.close()
    raise SystemExit("the server did not start")


def wait_for(clients: Clients, count: int) -> None:
    """Wait until ``count`` requests are answered."""
    while clients.done < count and not clients.errors:
        time.sleep(0.05)


def report(clients: Clients, sizes: list[int], code: int) -> int:
    """Print the results and return the exit code."""
    versions: dict[tuple[int, Any], set[Any]] = {}
    for number, version, *rest in clients.seen:
        versions.setdefault((number, version), set()).add(tuple(rest))
    mixed = [key for key, found in versions.items() if len(found) > 1]
    settled = sizes[len(sizes) // 3 :]  # the first loads fill caches
    growth = max(settled) / settled[0] - 1
    print(f"{clients.done:,} requests, statuses {clients.statuses}, errors {clients.errors[:3]}")
    answering = sorted({version for _, version in versions})
    print(f"versions that answered: {answering}; mixed answers: {len(mixed)}")
    start, then, most = (f"{size / 1e6:.0f} MB" for size in (sizes[0], settled[0], max(settled)))
    print(f"memory: {start}, then {then}, at most {most} ({growth:+.1%})")
    print(f"the server ended with code {code}")
    good = (
        set(clients.statuses) == {200}
        and not clients.errors
        and not mixed
        and growth < 0.1
        and code == 0
    )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
