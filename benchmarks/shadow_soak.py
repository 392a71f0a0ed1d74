"""A long run with a challenger in the shadow, while versions are promoted, rolled back and staged.

Every answer must be what the answering version gives by itself, and every score of the challenger
what that version gives. Each request must be accounted for, and memory must stay flat. It makes a
small registry of its own: `make soak-shadow`.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).parent))
import small_registry
from serve import free_port, request_rows
from soak import wait_ready

MOVES = ("promote 2", "rollback", "stage 3", "promote 2", "unstage 3", "stage 1", "rollback")
"""One round: each pair of versions answers and is staged; twice nothing is in Staging."""
MOST_GROWTH = 0.1
MOVE_SECONDS = 120.0


class Seen(NamedTuple):
    """An answer: which record was sent, and what came back."""

    record: int
    status: int
    content: dict[str, Any]


@dataclass
class Soak:
    """One server over a registry, its clients, and what every version gives for each record."""

    root: Path
    name: str
    problem: str
    records: list[dict[str, Any]]
    requests: int
    rate: float
    clients: int = 2
    answers: dict[str, Seen] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    """Resident bytes of the server and of the challenger's process, after each move."""

    def run(self, moves: Sequence[str]) -> dict[str, Any]:
        """Ask, move versions meanwhile, end the server; return what was found, with all faults."""
        self.client = client_of(self.root)
        self.models = {number: model_of(self, number) for number in versions_of(self)}
        self.given = {number: given_by(model, self) for number, model in self.models.items()}
        self.port, self.end = free_port(), threading.Event()
        command = [sys.executable, "-m", "lockstep.serving"]
        with subprocess.Popen(command, cwd=self.root, env=self.environment) as server:
            try:
                wait_ready(self.port, server)
                self.process = psutil.Process(server.pid)
                self.ask_and_move(moves)
                status = self.settled()
            finally:
                server.send_signal(signal.SIGTERM)
            code = server.wait(timeout=60)
        return self.findings(status, code)

    @property
    def environment(self) -> dict[str, str]:
        """The server's variables."""
        return {
            **os.environ,
            **small_registry.LOCAL,
            "PORT": str(self.port),
            "PROBLEM": self.problem,
            "MLFLOW_MODEL_NAME": self.name,
            "MODEL_PATH": "",
            "PREDICTION_LOG": "predictions",
            "SERVING_LOG": "requests.jsonl",
            "SHADOW": "Staging",
        }

    # ---- load and moves -------------------------------------------------------------------------
    def ask_and_move(self, moves: Sequence[str]) -> None:
        """Send requests; at each move's turn make it, and wait until server and challenger follow.

        The clients go on until all requests are answered and all moves are made.
        """
        self.await_versions()
        self.numbers, self.began = itertools.count(), time.monotonic()
        threads = [threading.Thread(target=self.ask) for _ in range(self.clients)]
        for thread in threads:
            thread.start()
        try:
            for place, move in enumerate(moves, start=1):
                self.wait_for(lambda n=place: self.due(n / (len(moves) + 1)), "its turn", move)
                make_move(self.client, self.name, move)
                self.await_versions(move)
                self.sizes.append((self.process.memory_info().rss, self.scorer().memory_info().rss))
            self.wait_for(lambda: self.due(1), "the last request", "the moves")
        finally:
            self.end.set()
            for thread in threads:
                thread.join(timeout=60)

    def due(self, share: float) -> bool:
        """Tell whether a share of the requests is answered."""
        return len(self.answers) >= share * self.requests

    def ask(self) -> None:
        """Send requests at the rate until the end; each has an id of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            while not self.end.is_set():
                number = next(self.numbers)
                ahead = self.began + number / self.rate - time.monotonic()
                if ahead > 0 and self.end.wait(ahead):
                    break
                record = number % len(self.records)
                headers = {"Content-Type": "application/json", "X-Request-ID": f"r{number}"}
                body = json.dumps(self.records[record])
                connection.request("POST", "/predict", body, headers)
                got = connection.getresponse()
                self.answers[f"r{number}"] = Seen(record, got.status, json.loads(got.read()))
        except (OSError, http.client.HTTPException) as error:
            self.errors.append(repr(error))
        finally:
            connection.close()

    def await_versions(self, move: str = "the start") -> None:
        """Wait until the server answers with Production, and the challenger is Staging's."""
        staged = newest(self, "Staging")
        wanted = (newest(self, "Production"), staged)

        def follows() -> bool:
            health = self.health()
            return wanted == (health["version"], health["shadow"].get("version"))

        self.wait_for(follows, f"versions {wanted}", move)

    def wait_for(self, true: Callable[[], bool], what: str, move: str) -> None:
        """Wait for a condition; SystemExit where a client failed or it takes too long."""
        end = time.monotonic() + max(MOVE_SECONDS, 3 * self.requests / self.rate)
        while not true():
            if self.errors or time.monotonic() > end:
                state = self.errors or self.health()
                raise SystemExit(f"after {move}, waiting for {what}: {state}")
            time.sleep(0.05)

    def health(self) -> dict[str, Any]:
        """Return what /health answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with closing(connection):
            connection.request("GET", "/health")
            found: dict[str, Any] = json.loads(connection.getresponse().read())
            return found

    def scorer(self) -> psutil.Process:
        """Return the challenger's process."""
        own = str(self.root.resolve())
        (found,) = (
            process
            for process in psutil.process_iter(["cmdline", "cwd"])
            if "lockstep.serving.shadow_scorer" in (process.info["cmdline"] or [])
            and process.info["cwd"] == own
        )
        return found

    def settled(self) -> dict[str, Any]:
        """Return the challenger's state when every request is accounted for."""
        self.wait_for(lambda: accounted(self.health()["shadow"]) >= len(self.answers), "it", "all")
        status: dict[str, Any] = self.health()["shadow"]
        return status

    # ---- checks ---------------------------------------------------------------------------------
    def findings(self, status: dict[str, Any], code: int) -> dict[str, Any]:
        """Return figures, and by kind how many faults there are; each must be 0."""
        logged = shadow_rows(self.root / "predictions")
        growth = [grown([size[side] for size in self.sizes]) for side in (0, 1)]
        scored = Counter((row.champion, row.version) for row in logged)
        faults = {
            "failed connections": len(self.errors),
            "answers that are not 200": sum(one.status != 200 for one in self.answers.values()),
            "wrong answers": sum(self.is_wrong(one) for one in self.answers.values()),
            "wrong challenger's scores": sum(self.is_wrong_score(row) for row in logged),
            "entries logged twice": len(logged) - len({row.request_id for row in logged}),
            "requests unaccounted": abs(len(self.answers) - accounted(status)),
            "entries missing": abs(status["requests"] - len(logged)) + status["log_dropped"],
            "requests failed in the shadow": status["failed"],
            "server's exit code": code,
            "memory that grew": sum(size > MOST_GROWTH for size in growth),
        }
        return {
            "requests": len(self.answers),
            "answered by version": dict(
                Counter(a.content["version"] for a in self.answers.values())
            ),
            "scored by champion and challenger": {str(key): n for key, n in sorted(scored.items())},
            "shadow": {name: status[name] for name in ("requests", "skipped", "failed", "dropped")},
            "megabytes of server": [round(size[0] / 1e6) for size in self.sizes],
            "megabytes of challenger": [round(size[1] / 1e6) for size in self.sizes],
            "growth": [round(size, 3) for size in growth],
            "faults": faults,
        }

    def is_wrong(self, answer: Seen) -> bool:
        """Tell whether an answer is not exactly that of the version it names."""
        content = answer.content
        model = self.models.get(content.get("version"))
        if model is None:
            return True
        score, decision = (part[answer.record] for part in self.given[model.version])
        found = (content["probability"], content["decision"], content["model_digest"])
        return found != (score, decision, model.digest)

    def is_wrong_score(self, row: Logged) -> bool:
        """Tell whether an entry is not exactly its version's, or names another champion."""
        answer, model = self.answers.get(row.request_id), self.models.get(row.version)
        if answer is None or model is None:
            return True
        score, decision = (part[answer.record] for part in self.given[row.version])
        found = (row.champion, row.digest, row.scores.tolist(), row.decisions)
        right = (answer.content["version"], model.digest, [score], [decision])
        return found != right or row.champion == row.version


class Logged(NamedTuple):
    """An entry of the challenger."""

    request_id: str
    version: int
    digest: str
    champion: int
    scores: np.ndarray
    decisions: list[Any]


def shadow_rows(folder: Path) -> list[Logged]:
    """Return the challenger's entries of a prediction log."""
    query = "SELECT request_id, version, digest, champion, scores, decisions FROM shadow"
    found = []
    for path in sorted(folder.glob("shadow-*.sqlite")):
        with closing(sqlite3.connect(path)) as connection:
            for *known, scores, decisions in connection.execute(query):
                values = np.frombuffer(scores, dtype="<f8")
                found.append(Logged(*known, values, json.loads(decisions)))
    return found


def accounted(status: dict[str, Any]) -> int:
    """Return how many requests were scored, skipped, refused or dropped."""
    return sum(int(status[name]) for name in ("requests", "skipped", "failed", "dropped"))


def grown(sizes: Sequence[int]) -> float:
    """Return how far memory grew after the first third, whose loads fill caches."""
    settled = sizes[len(sizes) // 3 :]
    return max(settled) / settled[0] - 1


def client_of(root: Path) -> Any:
    """Return a client of a workspace's registry."""
    from lockstep.config.settings import load_settings
    from lockstep.registry.store.connection import connect

    return connect(load_settings(root, environ={}), root)


def versions_of(soak: Soak) -> list[int]:
    """Return the numbers of the registered versions."""
    from lockstep.registry.record.registered_models import get_model

    return sorted(get_model(soak.client, soak.name).numbers)


def newest(soak: Soak, stage: str) -> int | None:
    """Return the newest version in a stage; None if there is none."""
    from lockstep.registry.record.registered_models import get_model

    found = get_model(soak.client, soak.name).in_stage(stage)
    return found[-1].version if found else None


def model_of(soak: Soak, number: int) -> Any:
    """Open a version, as no server does."""
    from lockstep.registry.artifact.loading import open_version
    from lockstep.registry.artifact.locating import find_version, locate

    found = find_version(soak.client, soak.name, version=number)
    return open_version(locate(soak.client, found, soak.root))


def given_by(model: Any, soak: Soak) -> tuple[list[float], list[int]]:
    """Return the model's own probability and decision of each record."""
    import pandas as pd

    from lockstep.config.serving import load_serving

    names = model.schema.feature_names
    table = pd.DataFrame(soak.records, columns=list(names))
    for column in model.schema.features:
        kind = "float64" if column.holds_numbers else object
        table[column.name] = table[column.name].astype(kind)
    scores = model.score(table)
    threshold = load_serving(soak.root, {}).decision_for(soak.problem).threshold
    threshold = model.threshold if threshold is None else threshold
    return scores.tolist(), (scores >= threshold).astype(int).tolist()


def make_move(client: Any, name: str, move: str) -> None:
    """Make a move of MOVES in the registry."""
    from lockstep.registry.lifecycle.moves import promote, rollback, transition

    word, _, number = move.partition(" ")
    if word == "promote":
        promote(client, name, int(number))
    elif word == "rollback":
        rollback(client, name)
    else:
        transition(client, name, int(number), "Staging" if word == "stage" else "None")


def main() -> int:
    """Make a registry, run, report, and fail where anything was wrong."""
    options = parser().parse_args()
    from lockstep.problems.schema import load_schema

    records = request_rows(load_schema(options.problem), 200)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "workspace"
        name = small_registry.make(root, options.problem, (4, 3, 5))
        client = client_of(root)
        make_move(client, name, "promote 1")
        make_move(client, name, "stage 2")
        soak = Soak(root, name, options.problem, records, options.requests, options.rate)
        found = soak.run(MOVES * options.rounds)
    print(json.dumps(found, indent=2))
    if options.output is not None:
        options.output.write_text(json.dumps(found, indent=2) + "\n")
    return 1 if any(found["faults"].values()) else 0


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    top = argparse.ArgumentParser(description=__doc__)
    top.add_argument("--problem", default="credit_risk")
    top.add_argument("--requests", type=int, default=20_000)
    top.add_argument("--rate", type=float, default=300.0, help="requests a second")
    top.add_argument("--rounds", type=int, default=2, help="how often all moves are made")
    top.add_argument("--output", type=Path, help="file for the figures, as JSON")
    return top


if __name__ == "__main__":
    sys.exit(main())
