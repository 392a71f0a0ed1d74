"""Real services of shared registries: PostgreSQL and another process, each stopped by its id."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

import pytest
from tests.registry_workspace import free_port

CREDENTIALS = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
REQUIRED = "LOCKSTEP_REQUIRE_SERVICES"
SERVICE_USER = "postgres"
"""Who runs PostgreSQL where the tests are run by root, whom it refuses."""
OFF = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "autovacuum=off")


INSTALLED = Path("/usr/lib/postgresql")
"""Where Debian puts each version's programs, which are not on PATH."""
DRIVERS = ("psycopg", "flask_wtf")


def need_postgres() -> Path:
    """Return the folder of PostgreSQL's programs; without it skip, or fail where it is required."""
    lacking = [name for name in DRIVERS if find_spec(name) is None]
    if lacking:
        _do_without(f"{' and '.join(lacking)} cannot be imported; run `make env`")
    found = sorted(INSTALLED.glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    on_path = shutil.which("initdb")
    if not found and not on_path:
        _do_without("PostgreSQL is not installed; run scripts/install_services.sh")
    return found[-1].parent if found else Path(str(on_path)).resolve().parent


def _do_without(reason: str) -> NoReturn:
    if os.environ.get(REQUIRED) == "1":
        pytest.fail(f"{reason} ({REQUIRED}=1 forbids to skip)")
    pytest.skip(reason)


class Postgres:
    """A PostgreSQL server on loopback with its own data folder; all is lost when it stops."""

    def __init__(self, programs: Path) -> None:
        self.programs = programs
        # Not below pytest's own folder, into which only its owner may look.
        self.folder = Path(tempfile.mkdtemp(prefix="lockstep-postgres-"))
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Postgres:
        as_other = self._as_other()
        data = self.folder / "data"
        make = [
            self.programs / "initdb",
            "-D",
            data,
            "-A",
            "trust",
            "-U",
            SERVICE_USER,
            "-E",
            "UTF8",
        ]
        make += ["--locale=C", "--no-sync"]
        subprocess.run(
            make, cwd=self.folder, check=True, capture_output=True, timeout=60, **as_other
        )
        serve = [self.programs / "postgres", "-D", data, "-h", "127.0.0.1", "-p", str(self.port)]
        serve += ["-k", "", *(part for switch in OFF for part in ("-c", switch))]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                serve, cwd=self.folder, stdout=log, stderr=log, **as_other
            )
        deadline = time.monotonic() + 60
        while not self._answers():
            assert self.process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline, "PostgreSQL did not start within a minute"
            time.sleep(0.05)
        return self

    def _as_other(self) -> dict[str, object]:
        if os.geteuid() != 0:
            return {}
        shutil.chown(self.folder, SERVICE_USER, SERVICE_USER)
        return {"user": SERVICE_USER, "group": SERVICE_USER, "extra_groups": []}

    def _answers(self) -> bool:
        import psycopg

        try:
            self.ask("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def ask(self, statement: str) -> None:
        import psycopg

        place = f"host=127.0.0.1 port={self.port} user={SERVICE_USER} dbname=postgres"
        with psycopg.connect(place, autocommit=True, connect_timeout=5) as connection:
            connection.execute(statement)

    def database(self, name: str, like: str = "template1") -> str:
        """Make a database, empty or a copy of another; return its URI for SQLAlchemy."""
        self.ask(f'CREATE DATABASE "{name}" TEMPLATE "{like}"')
        return f"postgresql://{SERVICE_USER}@127.0.0.1:{self.port}/{name}"

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(
                signal.SIGINT
            )  # its fast shutdown: sessions are ended, not waited for
            self.process.wait(timeout=30)
            self.process = None
        shutil.rmtree(self.folder, ignore_errors=True)


class Colleague:
    """Another process that moves versions and holds locks, told what to do line by line."""

    def __init__(self) -> None:
        command = [sys.executable, "-W", "ignore", str(Path(__file__).with_name("colleague.py"))]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def told(self, *order: object) -> None:
        """Tell what to do, without waiting for it."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()

    def answer(self) -> object:
        """Wait for the next order's answer."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the other process has ended"
        return json.loads(line)

    def does(self, *order: object) -> object:
        """Tell what to do, and return what came of it."""
        self.told(*order)
        return self.answer()

    def stop(self) -> None:
        self.process.communicate(timeout=30)  # the end of its input ends it
