"""What the registry's commands cost with 10, 100, 1,000 and 10,000 versions of one model.

    python benchmarks/registry_size.py [--versions 10 100 1000 10000] [--turns 3] [--stores sqlite]

A real small model is trained and registered twice; further versions are rows as MLflow and this
project write them (`filled_registry.py`). Each command is a fork of this process, which has
imported MLflow and the libraries: seconds, processor seconds, most memory, and the database
statements or requests it made. The stores: a local sqlite file, PostgreSQL by its own address, and
`mlflow server` over PostgreSQL, whose own work shows in the seconds only. Median over the turns.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import runpy
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).parents[1]
PROBLEM, NAME = "accidents", "Accident_Prediction_XGBoost"
SCRIPT, PREDICT = "scripts/manage_model_registry.py", "src/models/predict_model.py"
RECORDS = ROOT / "src/models/test_features.json"
STORES = ("sqlite", "postgresql", "server")
COUNTS = "queries: "
IMPORTED = (
    "lockstep.commands.manage_registry",
    "lockstep.commands.registry_listings",
    "lockstep.commands.registry_moves",
    "lockstep.commands.registry_versions",
    "lockstep.commands.registry_files",
    "lockstep.commands.registry_doctor",
    "lockstep.commands.model_lookup",
    "lockstep.commands.board",
    "lockstep.promotion.best_production",
    "lockstep.promotion.board_facts",
    "lockstep.registry.register_models",
    "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.store.model_registry.sqlalchemy_store",
    "mlflow.store.db_migrations",
    "xgboost",
)


def commands(folder: Path) -> dict[str, list[str]]:
    """Return each measured command; the moves among them follow each other."""
    name = ["--model-name", NAME]
    forced = ["--force", "--reason", "measured"]
    return {
        "list-models": [SCRIPT, "list-models"],
        "get-model": [SCRIPT, "get-model", *name, "--stage", "Production"],
        "list-versions": [SCRIPT, "list-versions", *name],
        "history": [SCRIPT, "history", *name],
        "verify one": [SCRIPT, "verify", *name, "--version", "2"],
        "doctor": [SCRIPT, "doctor"],
        "board": ["-m", "lockstep.commands.board", "--output", str(folder / "board.html")],
        "stage": [SCRIPT, "transition", *name, "--version", "2", "--stage", "Staging"],
        "promote": [SCRIPT, "promote", *name, "--version", "2", *forced],
        "predict, best": [PREDICT, str(RECORDS), "--use-best-model"],
        "rollback": [SCRIPT, "rollback", *name],
        "archive": [SCRIPT, "archive", *name, "--version", "2"],
        "compare": [SCRIPT, "compare", *name, "--version", "2", "--against", "1"],
        "prune (shows)": [SCRIPT, "prune", *name],
        "predict a version": [PREDICT, str(RECORDS), *name, "--version", "2"],
        "register": ["-m", "lockstep.registry.register_models", "--problem", PROBLEM],
    }


def main() -> int:
    """Measure, print and write the figures."""
    options = parser().parse_args()
    found = []
    imported()
    with tempfile.TemporaryDirectory(prefix="registry-size-") as name:
        folder = options.folder or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        template = options.template or trained(folder / "template")
        with stores(folder, options.stores) as databases:
            for versions in options.versions:
                for store in options.stores:
                    root = filled(folder, template, store, versions, databases)
                    for row in measured(root, options):
                        found.append({"store": store, "versions": versions, **row})
                        print(json.dumps(found[-1]), flush=True)
    if options.output:
        content = {"cores": os.cpu_count(), "rows": found}
        options.output.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    top = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    sizes = [10, 100, 1000, 10_000]
    top.add_argument("--versions", type=int, nargs="+", default=sizes)
    top.add_argument("--turns", type=int, default=3, help="how often each command is measured")
    top.add_argument("--stores", nargs="+", default=list(STORES), choices=STORES)
    top.add_argument("--only", nargs="+", help="these commands (default: all)")
    top.add_argument(
        "--folder", type=Path, help="where the registries are made and kept (default: nowhere)"
    )
    top.add_argument("--template", type=Path, help="a project that `small_registry.py` made")
    top.add_argument("--seconds", type=float, default=600.0, help="after which a command is ended")
    top.add_argument("--output", type=Path, help="a JSON file for the figures")
    return top


def trained(root: Path) -> Path:
    """Make the project with two real versions, in a process of its own.

    The commands are forks of this process, and a fork lacks the threads that a fit has started.
    """
    script = Path(__file__).with_name("small_registry.py")
    command = [sys.executable, str(script), str(root), "--problem", PROBLEM]
    subprocess.run(command, check=True, stdout=sys.stderr)
    return root


def filled(
    folder: Path, template: Path, store: str, versions: int, databases: dict[str, str]
) -> Path:
    """Return a project whose registry has so many versions, in a store of some kind."""
    import filled_registry

    root = folder / f"{versions}"
    local = f"sqlite:///{root / 'mlflow.db'}"
    if not root.exists():
        shutil.copytree(template, root)
        move_files(root, template)
        filled_registry.fill(local, NAME, 2, versions)
        settle(root, local)
    uri = local
    if store != "sqlite":
        filled_registry.make_postgres(local, databases["postgresql"])
        uri = databases[store]
    (root / "uri").write_text(uri)
    return root


def move_files(root: Path, template: Path) -> None:
    """Let the copied registry's artifacts be those beside it, as after a move of the project."""
    with contextlib.closing(sqlite3.connect(root / "mlflow.db")) as connection, connection:
        for table, column in (
            ("experiments", "artifact_location"),
            ("runs", "artifact_uri"),
            ("logged_models", "artifact_location"),
            ("model_versions", "storage_location"),
        ):
            connection.execute(
                f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (str(template), str(root))
            )


def settle(root: Path, uri: str) -> None:
    """Make the first move, which writes aliases and the model's description."""
    words = [SCRIPT, "transition", "--model-name", NAME, "--version", "2", "--stage", "Archived"]
    run(root, uri, words, 3600.0)


def measured(root: Path, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield the medians of each command."""
    uri = (root / "uri").read_text()
    for name, words in commands(root).items():
        if options.only and name not in options.only:
            continue
        found = [run(root, uri, words, options.seconds) for _ in range(options.turns)]
        middle = {key: statistics.median(one[key] for one in found) for key in found[0]}
        yield {"command": name, **{key: round(value, 2) for key, value in middle.items()}}


def run(root: Path, uri: str, words: list[str], seconds: float) -> dict[str, float]:
    """Run one command in a fork of this process; one that fails to ask a store ends all."""
    with tempfile.TemporaryFile("w+") as out:
        began = time.monotonic()
        child = os.fork()
        if child == 0:
            one_command(root, uri, words, out.fileno(), seconds)
        _, status, used = os.wait4(child, 0)
        wall = time.monotonic() - began
        out.seek(0)
        text = out.read()
    counted = [line for line in text.splitlines() if line.startswith(COUNTS)]
    if not counted and wall < seconds:
        sys.exit(f"{words} failed:\n{text}")
    queries = json.loads(counted[-1].removeprefix(COUNTS)) if counted else {}
    return {
        "exit": os.waitstatus_to_exitcode(status),
        "seconds": wall,
        "processor": used.ru_utime + used.ru_stime,
        "mb": used.ru_maxrss / 1024,
        "queries": queries.get("sql", 0),
        "requests": queries.get("http", 0),
    }


def one_command(root: Path, uri: str, words: list[str], out: int, seconds: float) -> NoReturn:
    """Run a command in this forked process as its own, and print how often it asked a store."""
    os.chdir(root)
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.environ |= {"MLFLOW_TRACKING_URI": uri, "DAGSHUB_REPO": ""}
    os.environ["GIT_CEILING_DIRECTORIES"] = str(root.parent)
    signal.alarm(max(1, int(seconds)))
    asked, code = Counter[str](), 0
    try:
        count_queries(asked)
        sys.argv = words[1:] if words[0] == "-m" else words
        if words[0] == "-m":
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(str(ROOT / words[0]), run_name="__main__")
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    except BaseException:  # noqa: BLE001  (a fork has nobody above)
        traceback.print_exc()
        code = 70
    else:
        code = 0
    if code != 70:
        print(f"\n{COUNTS}{json.dumps(asked)}", flush=True)
    os._exit(code)


def imported() -> None:
    """Import what the commands import, so that each fork has it."""
    for name in IMPORTED:
        importlib.import_module(name)


def count_queries(asked: Counter[str]) -> None:
    """Count statements to databases and requests to servers, by whoever makes them."""

    def heard(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "http.client.send" and arguments[1][:5] in (b"GET /", b"POST ", b"PATCH"):
            asked.update(["http"])

    def connected(*given: Any, **more: Any) -> sqlite3.Connection:
        connection = connect(*given, **more)
        connection.set_trace_callback(lambda _: asked.update(["sql"]))
        return connection

    connect = sqlite3.connect
    sqlite3.connect = sqlite3.dbapi2.connect = connected
    sys.addaudithook(heard)
    if os.environ["MLFLOW_TRACKING_URI"].startswith("postgresql"):  # whose driver tells no hook
        from sqlalchemy import Engine, event

        event.listen(Engine, "before_cursor_execute", lambda *_: asked.update(["sql"]))


@contextlib.contextmanager
def stores(folder: Path, wanted: list[str]) -> Iterator[dict[str, str]]:
    """Start PostgreSQL and a server over it, where they are wanted; yield their addresses."""
    if not {"postgresql", "server"} & set(wanted):
        yield {}
        return
    sys.path.insert(0, str(ROOT))
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
    from tests.registry_workspace import Server
    from tests.shared.services import Postgres, need_postgres

    database = Postgres(need_postgres()).start()
    try:
        uri = database.database("registry")
        SqlAlchemyStore(uri, str(folder / "unused")).engine.dispose()
        server = Server(folder, ["--backend-store-uri", uri])
        found = {"postgresql": uri, "server": server.uri}
        try:
            if "server" in wanted:
                server.start()
            yield found
        finally:
            server.stop()
    finally:
        database.stop()


if __name__ == "__main__":
    sys.exit(main())
