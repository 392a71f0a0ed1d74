"""Commands run in forks of a preloaded process, and as ever where there is none."""

import errno
import os
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from tests.journey.faults import wait_for

from lockstep.preload import process as module
from lockstep.preload import server
from lockstep.preload.process import SWITCH, Preloaded, is_possible, preloaded

pytestmark = pytest.mark.skipif(not is_possible(), reason="no process is preloaded on this system")

PATIENCE = 60.0
OWN = {
    "own/__init__.py": "",
    "own/told.py": """
        import json, os, sys
        print(json.dumps([os.getcwd(), sys.argv[1:], "library" in sys.modules]))
    """,
    "own/warns.py": """
        import sys, warnings
        print("library" in sys.modules, sys.warnoptions, flush=True)
        warnings.warn("about it", FutureWarning)
        print("went on")
    """,
    "own/waits.py": """
        import os, pathlib, signal, sys
        pathlib.Path(sys.argv[1]).write_text(str(os.getpid()))
        signal.pause()
    """,
    "own/ends.py": """
        import pathlib, sys, time
        pathlib.Path(sys.argv[1]).write_text("begun")
        end = time.monotonic() + 60
        while not pathlib.Path(sys.argv[2]).exists() and time.monotonic() < end:
            time.sleep(0.01)
        pathlib.Path(sys.argv[1]).write_text("ended")
    """,
    "library.py": "",
    "damaged.py": "raise RuntimeError('no library')",
    "slow.py": """
        import os, pathlib, time
        end = time.monotonic() + 60
        while not pathlib.Path(os.environ["GATE"]).exists() and time.monotonic() < end:
            time.sleep(0.01)
    """,
}


@pytest.fixture
def real(monkeypatch):
    """Start commands by the interpreter itself, as a user's shell does."""
    monkeypatch.setattr(sys, "executable", str(Path(sys.prefix) / "bin" / "python"))
    monkeypatch.delenv("TESTS_WARM_ENVIRONMENT", raising=False)


@pytest.fixture
def own(tmp_path, monkeypatch, real):
    folder = tmp_path / "packages"
    for name, text in OWN.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(textwrap.dedent(text))
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setenv("GATE", str(tmp_path / "gate"))
    return tmp_path


@pytest.fixture
def started(own):
    """Return what starts a preloaded process; each is ended after the test."""
    made = []

    def start(*libraries, **more):
        made.append(Preloaded(libraries, ("own",), dict(os.environ), **more))
        return made[-1]

    yield start
    for one in made:
        one.process.kill()
        one.stop()


def run(process, *words, **variables):
    """Run `python` as the preloaded process offers it."""
    return subprocess.run(
        ["python", *words],
        env={**os.environ, **process.variables, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )


def begun(process, *words):
    return subprocess.Popen(
        [process.bin / "python", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_a_module_of_its_packages_has_the_libraries_and_another_command_has_not(started):
    process = started("library")
    words = ("-m", "own.told", "one", "two words")
    wait_for(lambda: run(process, *words).stdout.endswith("true]\n"), "the library")
    assert run(process, *words, **{SWITCH: "0"}).stdout.endswith("false]\n")
    plain = run(process, "-c", "import sys; print('library' in sys.modules)")
    assert plain.stdout == "False\n"


@pytest.mark.parametrize(
    "filters",
    [
        "ignore::FutureWarning",
        "error,ign:about it:FutureWarning::0",
        "e",
        "all",
        "nonsense,default",
        "error::no.such.Warning",
    ],
)
def test_filters_of_warnings_are_read_as_the_interpreter_reads_them(started, filters):
    process, variable = started("library"), {"PYTHONWARNINGS": filters}
    wait_for(lambda: run(process, "-m", "own.told").stdout.endswith("true]\n"), "the library")
    forked = run(process, "-m", "own.warns", **variable)
    plain = run(process, "-m", "own.warns", **variable, **{SWITCH: "0"})
    assert plain.stdout.startswith("False ")
    assert forked.stdout == plain.stdout.replace("False ", "True ")
    assert forked.returncode == plain.returncode
    assert forked.stderr.count("Invalid -W option") == plain.stderr.count("Invalid -W option")
    assert forked.stderr.count("about it") == plain.stderr.count("about it")


def test_a_command_whose_server_ends_before_it_is_sent_gets_no_answer(own):
    code = """
        import _socket
        from lockstep.preload import client
        here, there = _socket.socketpair()
        there.close()
        print(client.asked(here, {"words": []}))
    """
    words = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=source())
    assert (done.stdout, done.stderr) == ("b''\n", "")


def test_the_programs_of_its_own_interpreter_come_next_on_its_path(started):
    process = started("library")
    path = process.variables["PATH"].split(os.pathsep)
    assert path[:2] == [str(process.bin), str(Path(sys.executable).parent)]


def test_a_command_is_served_between_two_imports_and_one_that_needs_all_waits(started, own):
    process = started("library", "slow")
    with process.start("-m", "own.ends", own / "noted", own / "gate", folder=own) as waits:
        # While `slow` is imported nothing is served; the command that needs all has not begun.
        assert not (own / "noted").exists()
        (own / "gate").touch()
        assert waits.wait(PATIENCE) == 0
    assert (own / "noted").read_text() == "ended"


def test_a_library_that_can_not_be_imported_is_left_to_commands(started):
    process = started("damaged", "library")
    wait_for(lambda: run(process, "-m", "own.told").stdout.endswith("true]\n"), "the library")


def test_a_process_that_has_ended_leaves_commands_as_ever(started):
    process = started("library")
    process.process.kill()
    process.process.wait(PATIENCE)
    done = run(process, "-m", "own.told")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("false]\n")
    process.stop()
    assert not process.folder.exists()
    assert run(process, "-m", "own.told").stdout == done.stdout


def test_whoever_kills_the_process_ends_its_commands_and_clients_say_so(started, own):
    process = started("library")
    client = begun(process, "-m", "own.waits", str(own / "noted"))
    wait_for(lambda: (own / "noted").is_file() and (own / "noted").read_text(), "the command")
    number = int((own / "noted").read_text())
    process.process.kill()
    _, said = client.communicate(timeout=PATIENCE)
    assert (client.returncode, said) == (
        1,
        "✗ the process that ran this command was killed; run it again\n",
    )
    wait_for(lambda: not psutil.pid_exists(number), "the command's end")


def test_a_stopped_client_stops_its_command_and_goes_on_with_it(started, own):
    process = started("library")
    client = begun(process, "-m", "own.waits", str(own / "noted"))
    wait_for(lambda: (own / "noted").is_file() and (own / "noted").read_text(), "the command")
    command = psutil.Process(int((own / "noted").read_text()))
    client.send_signal(signal.SIGTSTP)
    wait_for(lambda: command.status() == psutil.STATUS_STOPPED, "the stop")
    client.send_signal(signal.SIGCONT)
    wait_for(lambda: command.status() != psutil.STATUS_STOPPED, "its going on")
    client.send_signal(signal.SIGTERM)
    client.communicate(timeout=PATIENCE)
    assert client.returncode == -signal.SIGTERM


@pytest.mark.parametrize("kills", [False, True])
def test_it_ends_with_its_starter_and_waits_for_commands_unless_it_kills(own, kills):
    code = f"""
        import os, subprocess, sys
        from lockstep.preload.process import Preloaded
        process = Preloaded(["library"], ["own"], dict(os.environ), kills={kills})
        words = [process.bin / "python", "-m", "own.ends", {str(own / "noted")!r}]
        client = subprocess.Popen([*words, {str(own / "gate")!r}], start_new_session=True)
        print(process.process.pid, process.folder, flush=True)
        sys.stdin.read()
    """
    words = [sys.executable, "-c", textwrap.dedent(code)]
    with subprocess.Popen(words, stdin=-1, stdout=-1, text=True, env=source()) as starter:
        number, folder = starter.stdout.readline().split()
        wait_for(lambda: (own / "noted").is_file(), "the command")
        server = psutil.Process(int(number))
        starter.kill()
    wait_for(lambda: not Path(folder).exists(), "the folder's removal")
    if not kills:
        assert server.is_running()
        (own / "gate").touch()
        wait_for(lambda: (own / "noted").read_text() == "ended", "the command's end")
    wait_for(lambda: not psutil.pid_exists(server.pid), "the process's end")
    assert (own / "noted").read_text() == ("begun" if kills else "ended")


def source():
    """Return the environment in which this package is imported beside the test's own."""
    here = Path(module.__file__).parents[2]
    return {**os.environ, "PYTHONPATH": f"{here}{os.pathsep}{os.environ['PYTHONPATH']}"}


@pytest.mark.usefixtures("real")
def test_there_is_none_where_it_is_off_not_wanted_or_impossible(monkeypatch):
    """Also where the temporary folder runs no program, or the kernel lacks a call."""
    with preloaded([], wanted=False) as process:
        assert process is None
    monkeypatch.setenv(SWITCH, "0")
    with preloaded([]) as process:
        assert process is None
    monkeypatch.delenv(SWITCH)
    monkeypatch.setattr(module.tempfile, "gettempdir", lambda: f"/{'long/' * 20}")
    with preloaded([]) as process:
        assert process is None
    monkeypatch.undo()
    monkeypatch.delenv(SWITCH, raising=False)
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_flag=os.ST_NOEXEC))
    with preloaded([]) as process:
        assert process is None
    monkeypatch.undo()

    def refuse(_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.delenv(SWITCH, raising=False)
    monkeypatch.setattr(os, "pidfd_open", refuse)
    with preloaded([]) as process:
        assert process is None


@pytest.mark.long
@pytest.mark.usefixtures("real")
def test_its_libraries_start_no_thread_and_import_nothing_of_this_package():
    code = "import sys, threading; print(threading.active_count(), *sorted(sys.modules))"
    names = [f"import {name}" for name in [*module.FOR_STAGES, *module.FOR_PUBLISHING]]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join([*names, code])],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    threads, *modules = done.stdout.split()
    assert threads == "1", "a fork has none of its parent's threads"
    # Each command takes this package from its own path.
    assert not [name for name in modules if name.split(".")[0] == "lockstep"]


def test_ctrl_c_before_a_command_has_begun_ends_it_without_a_word(started, own, capfd):
    process = started("library", "slow")
    with process.start("-m", "own.ends", own / "noted", own / "gate", folder=own) as waits:
        client = psutil.Process(waits.pid)
        wait_for(lambda: asks(client), "the client's question")
        waits.send_signal(signal.SIGINT)
        (own / "gate").touch()
        assert waits.wait(PATIENCE) == -signal.SIGINT
    assert not (own / "noted").exists()
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "sent", [b"", b"\0\0", b"\0\0\0\x10", b"\0\0\0\x10half of it", b"\0\0\0\3abc"]
)
def test_a_client_that_ends_while_it_sends_is_left(sent):
    here, there = socket.socketpair()
    read, write = os.pipe()
    with here, there:
        there.settimeout(10)
        if sent:
            socket.send_fds(here, [sent], [read, read, read])
        here.shutdown(socket.SHUT_WR)
        before = psutil.Process().num_fds()
        assert server.receive(there) is None
        assert psutil.Process().num_fds() == before
    for number in (read, write):
        os.close(number)


def asks(client):
    """Tell whether a client waits for its answer: it is connected, and does nothing."""
    connected = any(one.fd > 2 for one in client.net_connections("unix"))
    return connected and client.status() == psutil.STATUS_SLEEPING
