"""Bad input and bad surroundings of a move.

Each ends in one clear line and exit code 1 or 2; the state is as before or mended.
"""

import itertools
import json
import os
import resource
import shutil
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.registry import stress
from tests.registry.tcp_proxy import PassingOn

from lockstep.audit.doctor import line_of
from lockstep.audit.record_checks import of_model
from lockstep.commands import manage_registry as manage
from lockstep.errors import run_command
from lockstep.registry.record import journal
from lockstep.registry.record.registered_models import get_model

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
class Filled:
    """A workspace's folder and the store it speaks to."""

    root: Path
    uri: str
    logged: str

    def start(
        self, *arguments: str, uri: str = "", first: Callable[[], object] = int
    ) -> tuple[int, Path]:
        """Begin a command in a process of its own; return its pid and what it writes.

        The process does ``first`` before.
        """
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
        """Assert that record, tags, aliases and MLflow's stages agree, and no lock stands."""
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
    filled = Filled(root, uri, stress.set_up(uri))
    filled.done("promote", *ONE, "--version", "1", *FORCED)
    return root, filled.logged


@pytest.fixture
def filled(stocked, tmp_path) -> Filled:
    """That store, to change."""
    root = tmp_path / "a project"
    shutil.copytree(stocked[0], root)
    return Filled(root, f"sqlite:///{root}/mlflow.db", stocked[1])


# ---------------------------------------------------------------- words that mean nothing


def refused(filled: Filled, *arguments: str, code: int = 2) -> str:
    """Run a command that is to say one line and change nothing, and return the line."""
    found = filled.told(*arguments)
    assert found.code == code, found
    return found.fault


@pytest.mark.parametrize(
    "version", ["0", "latest", "-1", "1.0", "", " 1", "+1", "1_0", "\u0661", "1e0", "9" * 30]
)
def test_what_is_no_version_number(filled, version):
    before = filled.state
    for command in (("archive", *ONE, "--version"), ("rollback", *ONE, "--to")):
        line = refused(filled, *command, version)
        assert line == (
            f"✗ version '{version}' is no version number; "
            "give a whole number from 1 up, see list-versions"
        )
    assert filled.state == before


def test_a_version_that_is_not_there(filled):
    line = refused(filled, "promote", *ONE, "--version", "99", *FORCED, code=1)
    assert line == f"✗ {NAME} has no version 99; there are: 1, 2, 3"


@pytest.mark.parametrize("name", ["team/model", "a:b", "", "  ", "lockstep.lock.Toy", "x" * 10_000])
def test_what_is_no_models_name(filled, name):
    for command in (("archive", "--version", "1"), ("history",)):
        line = refused(filled, *command, "--model-name", name)
        assert (
            "is no registered model's name: those are of 1 to 200 characters without '/' and ':'"
            in line
        )
        assert len(line) < 250


def test_a_models_name_of_several_lines(filled):
    line = refused(filled, "history", "--model-name", "Toy\n✓ all is well")
    assert line == "✗ the model name holds control characters or line breaks; give plain text"


def test_an_unknown_model_and_the_nearest(filled):
    for command in (("archive", "--version", "1"), ("history",), ("rollback",)):
        line = refused(filled, *command, "--model-name", NAME.lower(), code=1)
        assert (
            line == f"✗ unknown model '{NAME.lower()}' (did you mean '{NAME}'?); registered: {NAME}"
        )
    filled.check()


@pytest.mark.parametrize(
    ("stage", "meant"),
    [("production", "Production"), ("STAGING", "Staging"), ("Prodction", "Production")],
)
def test_a_stage_in_the_wrong_case(filled, stage, meant):
    before = filled.state
    for command in (("transition", "--version", "2"), ("promote",), ("rollback",), ("get-model",)):
        line = refused(filled, *command, *ONE, "--stage", stage)
        assert line.startswith(
            f"✗ unknown stage '{stage}' (did you mean '{meant}'?); known: None, Staging"
        )
    assert filled.state == before


def test_a_stage_of_several_lines_is_one(filled):
    line = refused(filled, "promote", *ONE, "--stage", "Staging\n\x1b[2Kdone")
    assert "\\n\\x1b[2Kdone" in line


def test_options_of_several_lines_are_one(filled):
    assert "\\n\\x1b[1mforged" in refused(
        filled, "archive", "--\n\x1b[1mforged", *ONE, "--version", "1"
    )
    line = refused(filled, "rollback", *ONE, "--run-id", "a\nb", code=1)
    assert line == f"✗ {NAME} has no version of run 'a\\nb'; list-versions shows the runs"


def test_a_version_and_a_run_to_go_back_to(filled):
    line = refused(filled, "rollback", *ONE, "--to", "1", "--run-id", "abc")
    assert line == "✗ give the version to go back to by --to N or by --run-id ID, not by both"


LONG = "give at most"
CONTROL = "holds control characters or line breaks; give plain text"


@pytest.mark.parametrize(
    ("option", "text", "told"),
    [
        ("--reason", "x" * 10_000, f"✗ the reason has 10,000 characters; {LONG} 500"),
        ("--actor", "x" * 101, f"✗ the actor has 101 characters; {LONG} 100"),
        ("--reason", "fine\n    9  2026-01-01  promote", f"✗ the reason {CONTROL}"),
        ("--actor", "\x1b[2K\rroot", f"✗ the actor {CONTROL}"),
        ("--actor", "root\u2028", f"✗ the actor {CONTROL}"),
        ("--reason", "\u202egnorw", f"✗ the reason {CONTROL}"),
        ("--reason", "\udcff", f"✗ the reason {CONTROL}"),
        ("--actor", "", "✗ the actor is empty; give --actor NAME or set LOCKSTEP_ACTOR"),
        ("--actor", "  ", "✗ the actor is empty; give --actor NAME or set LOCKSTEP_ACTOR"),
    ],
)  # fmt: skip
def test_a_reason_or_an_actor_that_cannot_go_on_record(filled, option, text, told):
    before = filled.state
    for command in (
        ("archive", "--version", "1"),
        ("promote", "--version", "2", "--force", "--reason", "x"),
    ):
        assert refused(filled, *command, *ONE, option, text) == told
    assert filled.state == before


def test_an_actor_of_the_environment_is_looked_at_too(filled, monkeypatch):
    monkeypatch.setenv("LOCKSTEP_ACTOR", "ada\x07\nroot")
    assert refused(filled, "archive", *ONE, "--version", "1") == f"✗ the actor {CONTROL}"


@pytest.mark.parametrize("reason", ["", "   "])
def test_force_without_a_reason(filled, reason):
    line = refused(filled, "promote", *ONE, "--version", "2", "--force", "--reason", reason)
    assert line == "✗ --force overrides the gates on record; say why with --reason TEXT"


def test_the_longest_reason_goes_on_record_as_it_is(filled):
    reason = '"é\u00a0😀\u2009\\' * 83
    filled.done("archive", *ONE, "--version", "3", "--reason", reason, "--actor", "é" * 100)
    told = json.loads(filled.done("history", *ONE, "--json"))
    assert told[-1]["reason"] == reason
    assert reason in filled.done("history", *ONE)
    filled.check()


FORGED = "x\n    9  2026-01-01 00.00.00  promote\x1b[2K\x9b1m"


def forge(uri: str) -> None:
    """Write line breaks and escapes wherever somebody with a client of MLflow's can."""
    client = stress.client_of(uri)
    tags = client.get_registered_model(NAME).tags
    for key in [key for key in sorted(tags) if key.startswith("lockstep.event.")][-2:]:
        event = json.loads(tags[key]) | {
            "action": FORGED,
            "time": FORGED,
            "gate": {"verdict": FORGED},
        }
        client.set_registered_model_tag(NAME, key, json.dumps(event))
    client.set_model_version_tag(NAME, "1", "lockstep.git_commit", FORGED)
    client.create_registered_model(FORGED)


def test_what_somebody_wrote_into_the_registry_forges_no_line(filled):
    lines = {c: len(filled.done(c, *ONE).splitlines()) for c in ("history", "list-versions")}
    stress.alone(lambda: forge(filled.uri))
    for command, count in lines.items():
        told = filled.told(command, *ONE)
        assert told.code == 0
        assert len(told.out.splitlines()) == count
        assert not set("\x1b\x9b\r") & set(told.out + told.err)
        assert "\\n " in told.out
    assert len(filled.done("list-models").splitlines()) == 3
    assert "\x9b" not in filled.told("history", *ONE, "--json").out
    assert "\n    9" not in filled.told("history", "--model-name", "Toy").fault
    assert "is damaged" in filled.told("archive", *ONE, "--version", "3").fault


# ---------------------------------------------------------------- bad surroundings of a local store


def test_two_commands_at_once(filled):
    begun = [filled.start("promote", *ONE, "--version", version, *FORCED) for version in ("2", "3")]
    told = [filled.ends(*one) for one in begun]
    # Each was judged against version 1;
    # who comes second is told that the champion is another by now.
    assert sorted(one.code for one in told) == [0, 1] or [one.code for one in told] == [0, 0]
    for one in told:
        assert one.code == 0 or "changed while version" in one.fault
    filled.check()
    moved = [
        e["steps"]
        for e in json.loads(filled.done("history", *ONE, "--json"))
        if e["action"] == "promote"
    ]
    assert len(moved) == 4 - sum(one.code for one in told) - 1


def nobody() -> None:
    """Give up a superuser's rights, to whom nothing is read-only."""
    if not os.geteuid():
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)


@pytest.fixture
def sealed(filled) -> Iterator[Filled]:
    """That store where any user may come by, and none may write."""
    with tempfile.TemporaryDirectory() as made:
        place = Path(made)
        place.chmod(0o755)
        root = place / "a project"
        shutil.copytree(filled.root, root)
        sealed = Filled(root, f"sqlite:///{root}/mlflow.db", filled.logged)
        for path in (root, *root.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        yield sealed
        for path in (root, *(p for p in root.rglob("*") if p.is_dir())):
            path.chmod(0o755)


@pytest.mark.parametrize("writable", ["nothing", "the folder"])
def test_a_store_that_is_read_only(sealed, writable):
    if writable == "the folder":
        sealed.root.chmod(0o777)
    before = (sealed.root / "mlflow.db").read_bytes()
    for command in (
        ("archive", "--version", "1"),
        ("promote", "--version", "2", *FORCED),
        ("rollback", "--to", "1"),
    ):
        told = sealed.told(*command, *ONE, first=nobody)
        assert told.code == 1, told
        last = told.err.splitlines()[-1]
        assert last.startswith("✗ "), told.err
        assert "Traceback" not in told.err
        assert "for this user" in last, last
    looked = sealed.told("history", *ONE, first=nobody)
    assert (looked.code, looked.err) == (0, "")
    assert (sealed.root / "mlflow.db").read_bytes() == before


@pytest.mark.parametrize("room", [4096, None])
def test_a_disk_that_is_full(filled, room):
    size = (filled.root / "mlflow.db").stat().st_size if room is None else room
    before = filled.state

    def full() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    reason = "r" * 500
    told = [
        filled.told("archive", *ONE, "--version", str(n), "--reason", reason, first=full)
        for n in (1, 2, 3)
    ]
    failed = [one for one in told if one.code]
    assert failed, told
    for one in failed:
        assert "make room for it" in one.fault or "free some space" in one.fault
    if len(failed) == len(told) and room:
        assert filled.state == before
    for number in ("1", "2", "3"):
        filled.done("archive", *ONE, "--version", number, "--reason", reason)
    filled.check()


def test_crashes_between_an_end_and_the_head_may_follow_each_other(filled):
    def dies_before_the_head() -> None:
        write = journal.Journal.write

        def deadly(book: journal.Journal, tag: tuple[str, str]) -> None:
            write(book, tag)
            if tag[0].startswith("lockstep.ended."):
                os._exit(9)

        journal.Journal.write = deadly

    for stage in ("Staging", "None", "Staging"):
        command = ("transition", *ONE, "--version", "3", "--stage", stage)
        assert filled.told(*command, first=dies_before_the_head).code == 9
    filled.done("archive", *ONE, "--version", "3")
    filled.check()


def test_a_clock_that_jumps_back(filled):
    def years_ago() -> None:
        time.time = lambda: 1577836800.0
        journal.now = lambda: "2020-01-01T00:00:00.000Z"

    filled.done("archive", *ONE, "--version", "3")
    assert (
        filled.told(
            "transition", *ONE, "--version", "3", "--stage", "Staging", first=years_ago
        ).code
        == 0
    )
    filled.done("archive", *ONE, "--version", "3")
    events = json.loads(filled.done("history", *ONE, "--json"))
    assert [e["number"] for e in events] == list(range(1, len(events) + 1))
    assert events[-2]["time"] == "2020-01-01T00:00:00.000Z" < events[-3]["time"]
    shown = [int(line.split()[0]) for line in filled.done("history", *ONE).splitlines()[1:]]
    assert shown == [e["number"] for e in events]
    filled.check()
    assert (
        stress.alone(
            lambda: [line_of(f) for f in of_model(get_model(stress.client_of(filled.uri), NAME))]
        )
        == []
    )


# ---------------------------------------------------------------- a server that fails half-way


class Faulty(ThreadingHTTPServer):
    """Stands before a real server; from request number ``fails_from`` on it does as ``mode`` says.

    ``refuses`` answers 500 and does nothing, ``loses`` does it and answers 500 all the same,
    ``hangs`` answers nothing.
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


class _Handler(PassingOn):
    server: Faulty

    def _pass_on(self) -> None:
        body = self.body()
        self.server.met += 1
        fails = self.server.met >= self.server.fails_from
        if fails and self.server.mode == "hangs":
            self.server.ended.wait(30)
            return
        status, content = (500, b"") if fails and self.server.mode == "refuses" else self.ask(body)
        if fails:
            status, content = 500, b"Internal Server Error"
        self.reply(status, content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _pass_on


@pytest.fixture(scope="module")
def remote(server, tmp_path_factory) -> Filled:
    """A workspace that speaks to a real server, with three versions of one model."""
    return Filled(
        workspace_at(tmp_path_factory.mktemp("remote") / "a project"),
        server.uri,
        stress.set_up(server.uri),
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


def half_way(
    filled: Filled, faulty: Faulty, arguments: tuple[str, ...], mode: str, start: int
) -> bool:
    """Let a command meet a server that fails; tell whether it did.

    What is said, and what is left, are checked.
    """
    faulty.fail(mode, start)
    told = filled.told(*arguments, uri=faulty.uri)
    if faulty.met < start:
        assert (told.code, told.err) == (0, ""), told
        return False
    *warnings, last = told.err.splitlines()
    assert "Traceback" not in told.err
    assert all(line.startswith("⚠ WARNING the verdict cannot be stored") for line in warnings), (
        told.err
    )
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
TURNS = {kind: itertools.cycle(commands) for kind, commands in AGAIN.items()}


@pytest.mark.long
@pytest.mark.parametrize(
    ("kind", "mode", "starts"),
    [
        ("promote", "refuses", (4, 12, 18)),
        ("promote", "loses", (9, 13, 16, 19, 22)),
        ("promote", "hangs", (13,)),
        ("archive", "refuses", (7, 12)),
        ("archive", "loses", (7, 11, 14)),
        ("transition", "loses", (10, 13)),
        ("transition", "hangs", (12,)),
    ],
)
def test_the_next_command_mends_what_a_server_that_fails_half_way_left(
    remote, faulty, kind, mode, starts
):
    for start in starts:
        name, *more = next(TURNS[kind])
        met = half_way(remote, faulty, (name, *ONE, *more), mode, start)
        remote.done(name, *ONE, *more)
        remote.check()
        assert met


@pytest.mark.parametrize("start", [12, 14])
def test_a_rollback_that_broke_off_is_ended_by_the_next_and_goes_no_further(remote, faulty, start):
    for version in ("3", "1", "2"):
        assert remote.told("promote", *ONE, "--version", version, *FORCED).code == 0
    assert half_way(remote, faulty, ("rollback", *ONE), "loses", start)
    assert f"{NAME} version 1: Archived → Production" in remote.done("rollback", *ONE)
    assert remote.state["aliases"]["production"] == 1
    remote.check()


@pytest.mark.parametrize("mode", ["refuses", "loses", "hangs"])
def test_a_registration_that_a_server_breaks_off_is_made_once(remote, faulty, mode):
    for start in (8,) if mode == "hangs" else (5, 8, 10):
        move = stress.Move("register", digest=f"{mode} {start}")
        faulty.fail(mode, start)
        with pytest.raises(
            AssertionError, match=r"RegistryError: the registry refused: it (answers|stopped)"
        ):
            stress.alone(lambda move=move: move.do(faulty.uri, remote.logged))
        stress.alone(lambda move=move: move.do(remote.uri, remote.logged))
        remote.check()
