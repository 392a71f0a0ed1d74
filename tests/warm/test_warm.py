"""A command in the warm process is like one in a process of its own."""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
from tests.warm import COLD, PREFIX

from lockstep.preload.process import SWITCH, is_possible

pytestmark = pytest.mark.skipif(not is_possible(), reason="there is no warm process on this system")

SEEN = """
import json, os, sys
print(json.dumps({
    "argv": sys.argv, "path": sys.path[:2], "folder": os.getcwd(), "name": __name__,
    "variables": {k: v for k, v in os.environ.items() if k not in ("PWD", "LC_CTYPE")},
    "input": sys.stdin.read(), "loaded": "mlflow" in sys.modules,
}))
"""
READ_AT_START = ("GOTO", "LC_", "LANG", "MKL_", "OMP_", "OPENBLAS_", "TZ")
ENDS = {
    "pass": 0,
    "sys.exit(3)": 3,
    "sys.exit('why')": 1,
    "1 / 0": 1,
    "os.kill(os.getpid(), signal.SIGTERM)": -signal.SIGTERM,
    "os.kill(os.getpid(), signal.SIGKILL)": -signal.SIGKILL,
    "os.kill(os.getpid(), signal.SIGINT)": -signal.SIGINT,
    "threading.Thread(target=lambda: print('last')).start()": 0,
    "atexit.register(print, 'last')": 0,
}


@pytest.fixture
def run(tmp_path):
    def start(code, *words, cold=False, options=(), **more):
        script = tmp_path / "a script.py"
        script.write_text(code)
        same = {k: v for k, v in os.environ.items() if k.startswith(READ_AT_START)}
        environment = {"PATH": os.environ["PATH"], "ONLY": "this", **same, **(COLD if cold else {})}
        environment |= more
        return subprocess.run(
            [sys.executable, *options, script, *words],
            cwd=tmp_path,
            env=environment,
            input="a line\n",
            capture_output=True,
            text=True,
            check=False,
        )

    return start


@pytest.fixture
def _warm():
    if sys.executable.startswith(str(PREFIX)):
        pytest.skip("every command is a process of its own in this run")


@pytest.mark.usefixtures("_warm")
def test_it_sees_what_a_process_of_its_own_sees(run, tmp_path):
    added = str(tmp_path / "added")
    warm, cold = (
        json.loads(run(SEEN, "--word", "two words", cold=cold, PYTHONPATH=added).stdout)
        for cold in (False, True)
    )
    assert (warm.pop("loaded"), cold.pop("loaded")) == (True, False)
    assert cold["variables"].pop(SWITCH) == "0"
    assert warm == cold
    assert warm["path"] == [str(tmp_path), added]


@pytest.mark.parametrize("code", ENDS)
def test_it_ends_like_a_process_of_its_own(run, code):
    code = f"import atexit, os, signal, sys, threading\n{code}\n"
    warm, cold = run(code), run(code, cold=True)
    assert warm.returncode == cold.returncode == ENDS[code.splitlines()[1]]
    assert warm.stdout == cold.stdout
    assert warm.stderr.splitlines()[-1:] == cold.stderr.splitlines()[-1:]


@pytest.mark.usefixtures("_warm")
@pytest.mark.parametrize("change", [{"OMP_NUM_THREADS": "1"}, {"TZ": "Asia/Tokyo"}])
def test_what_is_read_at_start_begins_a_process_of_its_own(run, change):
    assert not json.loads(run(SEEN, **change).stdout)["loaded"]
    assert not json.loads(run(SEEN, options=["-X", "dev"]).stdout)["loaded"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_reaches_the_command(tmp_path, number):
    script, noted = tmp_path / "waits.py", tmp_path / "process"
    script.write_text(
        "import os, pathlib, signal\n"
        f"pathlib.Path({str(noted)!r}).write_text(str(os.getpid()) + '\\n')\nsignal.pause()\n"
    )
    client = subprocess.Popen([sys.executable, script])
    end = time.monotonic() + 30
    while not (noted.exists() and noted.read_text().endswith("\n")):
        assert time.monotonic() < end
        time.sleep(0.01)
    client.send_signal(number)
    assert client.wait(timeout=30) == -number
    while psutil.pid_exists(int(noted.read_text())):
        assert time.monotonic() < end
        time.sleep(0.01)
