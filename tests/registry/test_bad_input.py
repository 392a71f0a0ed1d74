"""Bad input and bad surroundings of a move: one clear line, exit code 1 or 2, and the state as before or mended."""

import http.client
import os
import shutil
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.registry import stress

from lockstep.errors import run_command
from lockstep.registry import manage

PROJECT = Path(__file__).parents[2]
NAME = stress.NAME
ONE = ("--model-name", NAME)
FORCED = ("--force", "--reason", "these versions have no files")
"""The gates are tested elsewhere, by versions that have."""


@dataclass(frozen=True)
class Told:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def fault(self) -> str:
        """The one line that a command that failed says on stderr."""
        lines = self.err.splitlines()
        assert self.code in (1, 2), self
        assert len(lines) == 1, self.err
        assert lines[0].startswith("✗ "), self.err
        return lines[0]


@dataclass(frozen=True)
class Shop:
    """A workspace's folder and the store it speaks to."""

    root: Path
    uri: str
    logged: str

    def start(self, *arguments: str, uri: str = "", first: Callable[[], object] = int) -> tuple[int, Path]:
        """Begin a command in a process of its own, which does ``first`` before; return its pid and what it writes."""
        folder = Path(tempfile.mkdtemp(dir=self.root.parent))
        pid = os.fork()
        if not pid:
            _become(self.root, folder, first, [*arguments, "--tracking-uri", uri or self.uri])
        return pid, folder

    def ends(self, pid: int, folder: Path) -> Told:
        """Wait for a command."""
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return Told(code, (folder / "out").read_text(), (folder / "err").read_text())

    def told(self, *arguments: str, uri: str = "", first: Callable[[], object] = int) -> Told:
        """Run a command in a process of its own."""
        return self.ends(*self.start(*arguments, uri=uri, first=first))

    def done(self, *arguments: str) -> str:
        """Run a command, which succeeds without a word on stderr, and return what it printed."""
        found = self.told(*arguments)
        assert (found.code, found.err) == (0, ""), found
        return found.out

    @property
    def state(self) -> dict:
        """All that the registry says of the model: events, tags, aliases."""
        return stress.alone(lambda: state_of(self.uri))

    def check(self) -> None:
        """Assert that record, tags, aliases and MLflow's own stages agree, and that no lock stands."""
        stress.alone(lambda: stress.check(self.uri))


def _become(root: Path, folder: Path, first: Callable[[], object], arguments: list[str]) -> None:
    """Turn this forked process into a command; never returns."""
    code = 99
    with (folder / "out").open("w") as sys.stdout, (folder / "err").open("w") as sys.stderr:
        try:
            os.chdir(root)
            first()
            run_command(lambda: manage.main(arguments))
        except SystemExit as end:
            code = int(end.code or 0)
        except BaseException:  # noqa: BLE001 (as the interpreter itself would show it)
            traceback.print_exc()
    os._exit(code)


def state_of(uri: str) -> dict:
    from lockstep.registry.catalog import get_model

    client = stress.client_of(uri)
    model = get_model(client, NAME)
    tags = dict(client.get_registered_model(NAME).tags)
    versions = {v.version: [v.tags, v.mirrored] for v in model.versions}
    return {"tags": tags, "aliases": model.aliases, "versions": versions}


def workspace_at(root: Path) -> Path:
    root.mkdir(parents=True)
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(PROJECT / name, root)
    return root


@pytest.fixture(scope="module")
def stocked(tmp_path_factory, empty_store) -> tuple[Path, str]:
    """A store with three versions of one model, the first of them in Production."""
    root = workspace_at(tmp_path_factory.mktemp("stocked") / "a project")
    shutil.copy(empty_store, root / "mlflow.db")
    uri = f"sqlite:///{root}/mlflow.db"
    shop = Shop(root, uri, stress.set_up(uri))
    shop.done("promote", *ONE, "--version", "1", *FORCED)
    return root, shop.logged


@pytest.fixture
def shop(stocked, tmp_path) -> Shop:
    """That store, to change."""
    root = tmp_path / "a project"
    shutil.copytree(stocked[0], root)
    return Shop(root, f"sqlite:///{root}/mlflow.db", stocked[1])


# ---------------------------------------------------------------- a server that fails half-way


class Faulty(ThreadingHTTPServer):
    """Stands before a real server; from the request number ``fails_from`` on it does what ``mode`` says.

    ``refuses`` answers 500 and does nothing, ``loses`` does it and answers 500 all the same, ``hangs`` answers nothing.
    """

    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.port, self.mode, self.fails_from, self.met = port, "", 0, 0
        self.ended = threading.Event()
        self.uri = f"http://127.0.0.1:{self.server_port}"

    def fail(self, mode: str, start: int) -> None:
        """Count requests from now on, and fail from one of them on."""
        self.mode, self.fails_from, self.met = mode, start, 0


class _Handler(BaseHTTPRequestHandler):
    server: Faulty

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.met += 1
        fails = self.server.met >= self.server.fails_from
        if fails and self.server.mode == "hangs":
            self.server.ended.wait(30)
            return
        status, content = (500, b"") if fails and self.server.mode == "refuses" else self._ask(body)
        if fails:
            status, content = 500, b"Internal Server Error"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _ask(self, body: bytes) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port)
        connection.request(self.command, self.path, body, dict(self.headers))
        answer = connection.getresponse()
        found = answer.status, answer.read()
        connection.close()
        return found

    def log_message(self, *_: object) -> None:
        pass

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _pass_on


@pytest.fixture(scope="module")
def remote(server, tmp_path_factory) -> Shop:
    """A workspace that speaks to a real server, with three versions of one model."""
    return Shop(
        workspace_at(tmp_path_factory.mktemp("remote") / "a project"), server.uri, stress.set_up(server.uri)
    )


@pytest.fixture
def faulty(server, monkeypatch) -> Iterator[Faulty]:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    made = Faulty(server.port)
    threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01}).start()
    yield made
    made.ended.set()
    made.shutdown()
    made.server_close()


def half_way(shop: Shop, faulty: Faulty, arguments: tuple[str, ...], mode: str, start: int) -> bool:
    """Let a command meet a server that fails; tell whether it did. What is said, and what is left, are checked."""
    faulty.fail(mode, start)
    told = shop.told(*arguments, uri=faulty.uri)
    if faulty.met < start:
        assert (told.code, told.err) == (0, ""), told
        return False
    *warnings, last = told.err.splitlines()
    assert "Traceback" not in told.err
    assert all(line.startswith("⚠ WARNING the verdict cannot be kept") for line in warnings), told.err
    if told.code:
        assert told.code == 1, told
        assert last.startswith("✗ "), told.err
    else:
        assert last.startswith("WARNING the move is done, but its lock stands"), told.err
    assert "log" in last, last
    assert "HTTPConnectionPool" not in last, last
    return True


AGAIN = {
    "promote": (("promote", "--version", "1", *FORCED), ("promote", "--version", "2", *FORCED)),
    "archive": (("archive", "--version", "3"), ("transition", "--version", "3", "--stage", "None")),
    "transition": (
        ("transition", "--version", "3", "--stage", "Staging"),
        ("transition", "--version", "3", "--stage", "None"),
    ),
}
"""Two commands of a kind, each of which makes room for the other."""


@pytest.mark.parametrize(
    ("kind", "mode", "starts"),
    [
        ("promote", "refuses", range(1, 29, 5)),
        ("promote", "loses", range(8, 29, 3)),
        ("promote", "hangs", (11, 17)),
        ("archive", "refuses", range(3, 20, 5)),
        ("archive", "loses", range(7, 20, 4)),
        ("transition", "loses", range(8, 20, 4)),
        ("transition", "hangs", (12,)),
    ],
)
def test_the_next_command_mends_what_a_server_that_fails_half_way_left(remote, faulty, kind, mode, starts):
    for turn, start in enumerate(starts):
        name, *more = AGAIN[kind][turn % 2]
        met = half_way(remote, faulty, (name, *ONE, *more), mode, start)
        remote.done(name, *ONE, *more)
        remote.check()
    assert met or start > 18


@pytest.mark.parametrize("start", [10, 12, 14, 16])
def test_a_rollback_that_broke_off_is_ended_by_the_next_and_goes_no_further(remote, faulty, start):
    for version in ("3", "1", "2"):
        assert remote.told("promote", *ONE, "--version", version, *FORCED).code == 0
    assert half_way(remote, faulty, ("rollback", *ONE), "loses", start)
    assert f"{NAME} version 1: Archived → Production" in remote.done("rollback", *ONE)
    assert remote.state["aliases"]["production"] == 1
    remote.check()


@pytest.mark.parametrize("mode", ["refuses", "loses", "hangs"])
def test_a_registration_that_a_server_breaks_off_is_made_once(remote, faulty, mode):
    for start in (4, 7) if mode == "hangs" else (2, 5, 7, 9, 10, 11):
        move = stress.Move("register", digest=f"{mode} {start}")
        faulty.fail(mode, start)
        with pytest.raises(
            AssertionError, match=r"RegistryError: the registry refused: it (answers|stopped)"
        ):
            stress.alone(lambda move=move: move.do(faulty.uri, remote.logged))
        stress.alone(lambda move=move: move.do(remote.uri, remote.logged))
        remote.check()
