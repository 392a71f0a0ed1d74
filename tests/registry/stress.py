"""Moves killed half-way, moves of many processes at once, and a server that dies under them.

    python -m tests.registry.stress kill URI --trials 100
    python -m tests.registry.stress crowd URI --processes 8 --moves 200
    python -m tests.registry.stress many URI --versions 1000
    python -m tests.registry.stress shared
    python -m tests.registry.stress all

URI is a store of its own, initialised. Each operation runs in a forked process of its own, so that
MLflow is imported once; the coordinating process never opens the store. Used by the tests in a
short form.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sqlite3
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

NAME = "Stress_XGBoost"
STAGES = ("None", "Staging", "Production", "Archived")


def forked(work: Callable[[], Any]) -> tuple[int, int]:
    """Run a function in a forked process; return its pid and a pipe's end with its JSON result."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writer)
        return pid, reader
    os.close(reader)
    code = 0
    try:
        told: Any = {"result": work()}
    except BaseException as error:  # noqa: BLE001 (its parent raises it: a fork has nobody above)
        told, code = (
            {"error": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()},
            1,
        )
    with os.fdopen(writer, "w") as stream:
        json.dump(told, stream)
    os._exit(code)


def outcome(pid: int, reader: int) -> Any:
    """Wait for a forked process and return its result; an error of its own is an AssertionError."""
    with os.fdopen(reader) as stream:
        text = stream.read()
    os.waitpid(pid, 0)
    told = json.loads(text) if text else {"error": "killed"}
    assert "error" not in told, told.get("trace", told["error"])
    return told["result"]


def alone(work: Callable[[], Any]) -> Any:
    """Run a function in a process of its own and return its result."""
    return outcome(*forked(work))


def client_of(uri: str) -> Any:
    from mlflow import MlflowClient

    import lockstep.registry  # noqa: F401 (quiets MLflow before it is imported)

    return MlflowClient(tracking_uri=uri)


def set_up(uri: str, versions: int = 3) -> str:
    """Make a registered model with some versions; return the id of their one logged model."""

    def work() -> str:
        client = client_of(uri)
        run = client.create_run("0").info.run_id
        made = client.create_logged_model("0", name="stress", source_run_id=run)
        client.finalize_logged_model(made.model_id, "READY")
        for number in range(versions):
            register(client, made.model_id, f"first {number}")
        return f"{made.model_id} {run}"

    return str(alone(work))


def register(client: Any, model_id: str, digest: str) -> Any:
    from lockstep.registry.publishing.registration import register_version
    from lockstep.registry.store.connection import fluent
    from lockstep.registry.store.queries import Logged

    run_id = client.get_logged_model(model_id).source_run_id
    with fluent(client.tracking_uri):  # MLflow resolves the model's address by its global store
        logged = Logged(run_id, model_id)
        return register_version(client, NAME, logged, {"lockstep.model_digest": digest})


@dataclass
class Move:
    """One operation on the model: its kind and what it takes."""

    kind: str
    version: int = 0
    stage: str = ""
    digest: str = ""

    def do(self, uri: str, logged: str) -> bool:
        """Do it; tell whether it made an event."""
        from lockstep.errors import LockstepError
        from lockstep.registry.lifecycle import moves as lifecycle

        client = client_of(uri)
        if self.kind == "register":
            return bool(register(client, logged.split()[0], self.digest)[1])
        if self.kind == "rollback":
            try:
                return lifecycle.rollback(client, NAME).event is not None
            except LockstepError as error:
                if (
                    "go back to" in str(error)
                    or "before version" in str(error)
                    or "already" in str(error)
                ):
                    return False  # nothing to undo is an answer
                raise
        if self.kind == "promote":
            return lifecycle.promote(client, NAME, self.version).event is not None
        return lifecycle.transition(client, NAME, self.version, self.stage).event is not None


def random_move(draw: random.Random, versions: int, number: int) -> Move:
    kind = draw.choice(("register", "promote", "promote", "transition", "rollback"))
    return Move(kind, draw.randint(1, versions), draw.choice(STAGES), f"digest {number}")


def mend(uri: str) -> None:
    """Do what the next command does: hold the model, end what was left open."""
    from lockstep.registry.record.recovery import open_journal

    with open_journal(client_of(uri), NAME):
        pass


def check(uri: str) -> dict[str, Any]:
    """Assert all that must hold between moves; return counts."""
    from lockstep.registry.record.locking import all_locks
    from lockstep.registry.record.registered_models import get_model

    client = client_of(uri)
    model = get_model(client, NAME)
    record = model.record
    assert record.faults == (), record.faults
    assert record.open == (), "an event was left open"
    digests = [v.tags["lockstep.model_digest"] for v in model.versions]
    assert len(digests) == len(set(digests)), "a version was registered twice"
    registered = {e.of_version for e in record.events if e.action == "register" and e.done}
    assert registered == {v.version for v in model.versions}, "versions and their events differ"
    stages = {v.version: v.tags["lockstep.stage"] for v in model.versions}
    assert stages == record.stages, "tags and record differ"
    assert {v.version: v.mirrored for v in model.versions} == stages, "MLflow's own stages differ"
    production = [n for n, stage in stages.items() if stage == "Production"]
    staging = [n for n, stage in stages.items() if stage == "Staging"]
    assert len(production) <= 1, f"in Production: {production}"
    wanted = {"production": production, "staging": staging}
    assert model.aliases == {alias: max(numbers) for alias, numbers in wanted.items() if numbers}
    assert [lock.name for lock in all_locks(client)] == [], "a lock was left"
    return {"events": len(record.events), "versions": len(model.versions), "open": 0}


def left_open(uri: str) -> dict[str, Any]:
    """Return what a kill left: whether an event is open, and whether a lock stands."""
    from lockstep.registry.record.locking import all_locks
    from lockstep.registry.record.registered_models import get_model

    client = client_of(uri)
    return {"open": len(get_model(client, NAME).record.open), "locks": len(all_locks(client))}


@dataclass
class Killed:
    """What the kills met."""

    trials: int = 0
    killed: int = 0
    open_events: int = 0
    locks: int = 0
    kinds: Counter[str] = field(default_factory=Counter)

    def note(self, move: Move, left: dict[str, int], hit: bool) -> None:
        """Count one trial: what it left, and whether the kill came before the move was done."""
        self.trials += 1
        if hit:
            self.killed += 1
            self.open_events += left["open"]
            self.locks += left["locks"]
            self.kinds[move.kind] += 1


def kill(uri: str, trials: int, seed: int = 0) -> Killed:
    """Kill moves at random points; after each, mend and check everything."""
    logged, draw, met = set_up(uri), random.Random(seed), Killed()
    counts = alone(lambda: check(uri))
    typical = timed(uri, logged, Move("promote", 1))
    for number in range(trials):
        one = random_move(draw, counts["versions"], number)
        pid, reader = forked(lambda one=one: one.do(uri, logged))
        time.sleep(
            draw.uniform(0.1 * typical, typical)
        )  # the random point: no condition to wait for
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        os.close(reader)
        left, counts = alone(lambda: (left_open(uri), mend(uri), check(uri))[::2])
        met.note(one, left, os.WIFSIGNALED(status))
    return met


def server_deaths(server: Any, options: argparse.Namespace) -> Killed:
    """Kill the server under moves at random points, restart it, check; movers fail in one line."""
    logged, draw, met = set_up(server.uri), random.Random(options.seed), Killed()
    counts = alone(lambda: check(server.uri))
    typical = timed(server.uri, logged, Move("promote", 1))
    for number in range(options.trials // 5):
        one = random_move(draw, counts["versions"], number)
        pid, reader = forked(lambda one=one: one.do(server.uri, logged))
        time.sleep(
            draw.uniform(0.1 * typical, typical)
        )  # the random point: no condition to wait for
        server.kill()
        with os.fdopen(reader) as stream:
            told = json.loads(stream.read())
        os.waitpid(pid, 0)
        assert "error" not in told or told["error"].startswith("RegistryError: "), told["trace"]
        server.start()
        left, counts = alone(
            lambda: (left_open(server.uri), mend(server.uri), check(server.uri))[::2]
        )
        met.note(one, left, "error" in told)
    return met


def timed(uri: str, logged: str, move: Move) -> float:
    begun = time.monotonic()
    alone(lambda: move.do(uri, logged))
    return time.monotonic() - begun


def crowd(uri: str, processes: int, moves: int, seed: int = 0) -> dict[str, Any]:
    """Let many processes move one model's versions at once; none may be lost, all must agree."""
    logged = set_up(uri, versions=6)
    before = alone(lambda: check(uri))
    each = moves // processes
    begun = time.monotonic()
    running = [
        forked(lambda place=place: work_of(uri, logged, each, seed * 1000 + place))
        for place in range(processes)
    ]
    made = sum(outcome(*one) for one in running)
    seconds = time.monotonic() - begun
    after = alone(lambda: check(uri))
    assert after["events"] == before["events"] + made, "moves and events differ in number"
    return {"moves": each * processes, "events": made, "seconds": round(seconds, 1)}


def work_of(uri: str, logged: str, moves: int, seed: int) -> int:
    """Make moves one after the other; return how many made an event."""
    draw = random.Random(seed)
    made = 0
    for number in range(moves):
        one = random_move(draw, 6, seed * 1000 + number)
        made += Move(one.kind, one.version, one.stage, one.digest).do(uri, logged)
    return made


def fill(uri: str, versions: int) -> None:
    """Write versions and their record as so many registrations and promotions would have left them.

    By way of the database: MLflow reads all tags of a model for each that it writes.
    """
    client = client_of(uri)
    run = client.create_run("0").info
    client.create_registered_model(NAME)
    client.create_model_version(NAME, run.artifact_uri, run.run_id)
    numbers = range(1, versions + 1)
    with closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as connection, connection:
        columns = [row[1] for row in connection.execute("PRAGMA table_info(model_versions)")]
        copied = ", ".join("?" if name == "version" else name for name in columns)
        connection.executemany(
            f"INSERT INTO model_versions SELECT {copied} FROM model_versions WHERE version = 1",
            [(number,) for number in numbers[1:]],
        )
        tags = [
            (key, value, NAME, number)
            for number in numbers
            for key, value in version_tags(number, versions)
        ]
        connection.executemany(
            "INSERT INTO model_version_tags (key, value, name, version) VALUES (?, ?, ?, ?)", tags
        )
        record = [(key, value, NAME) for key, value in record_tags(versions).items()]
        connection.executemany(
            "INSERT INTO registered_model_tags (key, value, name) VALUES (?, ?, ?)", record
        )


def version_tags(number: int, versions: int) -> list[tuple[str, str]]:
    """Return tags as many as a version of the accidents carries."""
    stage = "Production" if number == versions else "Archived"
    scores = [(f"lockstep.test_metric_{place}", "0.123456") for place in range(20)]
    return [("lockstep.stage", stage), ("lockstep.model_digest", f"{number:064x}"), *scores]


def record_tags(versions: int) -> dict[str, str]:
    """Return the record of versions that were registered and promoted one after the other."""
    from lockstep.registry.record.events import (
        End,
        Event,
        Step,
        Who,
        begin_tag,
        end_tag,
        head_tag,
    )

    tags: dict[str, str] = {}
    who, before, number = Who("many"), "", 0
    for version in range(1, versions + 1):
        down = [Step(version - 1, "Production", "Archived")] if version > 1 else []
        steps = (*down, Step(version, "None", "Production"))
        for action, more in (
            ("register", {"stage": "None"}),
            ("promote", {"version": version, "steps": steps}),
        ):
            number += 1
            event = Event(
                number,
                action,
                who,
                "2026-01-01T00:00:00Z",
                f"{number:032x}",
                "stress",
                before,
                **more,
            )
            made = None if more.get("version") else version
            event = replace(event, end=End("done", "2026-01-01T00:00:01Z", made))
            tags |= dict([begin_tag(event), end_tag(event), head_tag(event)])
            before = event.digest
    return tags


def many(uri: str, versions: int) -> dict[str, float]:
    """Time the listings of a model with many versions, each of them with two moves on record."""
    from contextlib import redirect_stdout
    from io import StringIO

    def told(*arguments: str) -> None:
        from lockstep.commands.manage_registry import main

        with redirect_stdout(StringIO()) as stream:
            main([*arguments, "--tracking-uri", uri])
        assert stream.getvalue()

    alone(lambda: fill(uri, versions))
    found = {}
    for name, more in (
        ("list-versions", ()),
        ("get-model", ("--stage", "Production")),
        ("history", ()),
    ):
        begun = time.monotonic()
        alone(lambda name=name, more=more: told(name, "--model-name", NAME, *more))
        found[name] = round(time.monotonic() - begun, 2)
    return found


def new_store(folder: Path) -> str:
    """Make an empty sqlite store and return its URI."""
    from lockstep.registry.store.local_database import prepare_sqlite

    alone(lambda: prepare_sqlite(folder / "mlflow.db", folder))
    return f"sqlite:///{folder / 'mlflow.db'}"


def everything(options: argparse.Namespace) -> None:
    """Run all in the long form, each on its own store: on sqlite, and a server over PostgreSQL."""
    with tempfile.TemporaryDirectory() as made:
        folders = {name: Path(made) / name for name in ("kill", "crowd", "many")}
        for folder in folders.values():
            folder.mkdir()
        uris = {name: new_store(folder) for name, folder in folders.items()}
        tell("kills on sqlite", kill(uris["kill"], options.trials, options.seed))
        tell(
            "crowd on sqlite", crowd(uris["crowd"], options.processes, options.moves, options.seed)
        )
        tell("many versions on sqlite", many(uris["many"], options.versions))
        shared(options, Path(made))


def shared(options: argparse.Namespace, folder: Path) -> None:
    """Let many processes move versions on a server over PostgreSQL, then kill it under moves."""
    from tests.registry_workspace import Server
    from tests.shared.services import Postgres, need_postgres

    database = Postgres(need_postgres()).start()
    try:
        uris = [database.database(name) for name in ("crowd", "killed")]
        for uri, what in zip(uris, (crowded, server_deaths), strict=True):
            (folder / what.__name__).mkdir()
            server = Server(folder / what.__name__, ["--backend-store-uri", uri]).start()
            try:
                tell(f"{what.__name__} over PostgreSQL", what(server, options))
            finally:
                server.stop()
    finally:
        database.stop()


def crowded(server: Any, options: argparse.Namespace) -> dict[str, Any]:
    return crowd(server.uri, options.processes, options.moves, options.seed)


def tell(what: str, found: Any) -> None:
    print(what, found, flush=True)


def main() -> None:
    """Run one of them, or all, and print what it met."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("kill", "crowd", "many", "shared", "all"))
    parser.add_argument("uri", nargs="?", help="an initialised store of its own; none for all")
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--moves", type=int, default=200)
    parser.add_argument("--versions", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    import_mlflow()
    if options.what == "all":
        everything(options)
    elif options.what == "shared":
        with tempfile.TemporaryDirectory() as made:
            shared(options, Path(made))
    elif options.what == "kill":
        print(kill(options.uri, options.trials, options.seed))
    elif options.what == "crowd":
        print(crowd(options.uri, options.processes, options.moves, options.seed))
    else:
        print(many(options.uri, options.versions))


def import_mlflow() -> None:
    """Import once what every forked process needs."""
    import mlflow.store.model_registry.sqlalchemy_store
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401


if __name__ == "__main__":
    main()
