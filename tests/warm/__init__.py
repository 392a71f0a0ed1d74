"""Commands in tests through forks of one warm process: a start costs 30 ms, not seconds of imports.

Within the tests ``sys.executable`` is a client of that process, and the clones that journeys work
in have an environment whose `python`, `dvc` and `mlflow` are. The client becomes the real
interpreter for `-c` and all other options, and where variables differ that a process reads once,
when it starts. It does so for all that is started with the variables ``COLD``: for tests of process
groups. Set TESTS_WARM_ENVIRONMENT to the empty string to run every command in a process of its own.
"""

import marshal
import os
import shlex
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
PREFIX = Path(sys.prefix)
CONSOLE = ("dvc", "mlflow")
VARIABLE = "TESTS_WARM_ENVIRONMENT"
"""Names the folder of the run's warm process; empty where there is none."""
POSSIBLE = hasattr(os, "pidfd_open")
"""Elsewhere than on Linux every command is a process of its own."""
COLD = {"TESTS_COLD": "1"}
"""The variables under which every command is a process of its own."""
UNSEEN = ("COVERAGE_", "DAGSHUB", "DVC_", "LOCKSTEP_", "MLFLOW_", "PYTEST_", VARIABLE)


class Warm:
    """The warm process of a test run."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="warm-"))
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(self.folder / "socket"))
        listening.listen(64)
        environment = {k: v for k, v in os.environ.items() if not k.startswith(UNSEEN)}
        (self.folder / "environment").write_bytes(marshal.dumps(environment))
        self._lend()
        quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(HERE / "server.py"), str(listening.fileno())],
                env={**environment, **quiet},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                pass_fds=[listening.fileno()],
            )
        listening.close()
        os.environ[VARIABLE] = str(self.folder)

    def _lend(self) -> None:
        """Fill the folder like a virtual environment whose interpreter is the client."""
        for path in PREFIX.iterdir():
            if path.name not in ("bin", ".ready"):
                (self.folder / path.name).symlink_to(path)
        (self.folder / ".ready").write_text(f"{self.folder.resolve()}\n")
        programs = self.folder / "bin"
        programs.mkdir()
        for path in (PREFIX / "bin").iterdir():
            if path.name in ("python", "python3", *CONSOLE):
                _write_client(programs / path.name, self.folder)
            else:
                (programs / path.name).symlink_to(path)

    def stop(self) -> None:
        """End the process and whatever it still runs; it removes the folder."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(timeout=30)
        del os.environ[VARIABLE]


def _write_client(path: Path, folder: Path) -> None:
    interpreter = PREFIX / "bin" / "python"
    words = [interpreter, "-IS", HERE / "client.py", folder / "socket", interpreter, path.name]
    words.append(folder / "environment")
    path.write_text(f'#!/bin/sh\nexec {shlex.join(map(str, words))} "$@"\n')
    path.chmod(0o755)


def environment() -> Path:
    """Return the folder that looks like `.venv`; the real one where no warm process was started."""
    return Path(os.environ.get(VARIABLE) or PREFIX)


def adopt() -> None:
    """Let this process start its commands in the warm one."""
    sys.executable = str(environment() / "bin" / "python")
