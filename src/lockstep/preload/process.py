"""Start the preloaded process, and lend commands an interpreter that uses it."""

from __future__ import annotations

import marshal
import os
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

HERE = Path(__file__).parent
SWITCH = "LOCKSTEP_PRELOAD"
"""The variable that turns it off: with 0 every command is a process of its own."""
ALL = "all"
"""Its value for a command that waits until all libraries are imported."""
LONGEST_ADDRESS = 100
"""Bytes of a socket's path that Linux takes, with some to spare."""
PACKAGES = ("lockstep",)
"""The packages whose modules commands run as `python -m`."""
FOR_STAGES = (
    "numpy",
    "pandas",
    "pyarrow.parquet",
    "yaml",
    "pydantic",
    "scipy.sparse",
    "scipy.stats",
    "scipy.optimize",
    "scipy.special",
    "joblib",
    "lz4.frame",
    "sklearn.preprocessing",
    "sklearn.linear_model",
    "sklearn.calibration",
    "sklearn.isotonic",
    "sklearn.ensemble",
    "sklearn.frozen",
    "sklearn.metrics",
    "sklearn.model_selection",
    "sklearn.pipeline",
    "sklearn.tree",
)
"""What a training's stages import, in the order in which they need it."""
FOR_PUBLISHING = (
    "skops.io",
    "mlflow.sklearn",
    "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.store.tracking.sqlalchemy_workspace_store",
    "mlflow.store.model_registry.sqlalchemy_store",
    "mlflow.store.model_registry.sqlalchemy_workspace_store",
    "mlflow.data",
    "matplotlib.figure",
    "matplotlib.backends.backend_agg",
    "PIL.PngImagePlugin",
    "sqlalchemy.dialects.sqlite",
    "git",
    "jinja2",
)
"""What is imported to publish a model and to write a report."""


class Preloaded:
    """The preloaded process: a folder with its socket and with programs that use it.

    ``lends`` makes its `python` the interpreter of what commands start, too. ``at_once`` imports
    the libraries at the start, else at the first command. ``kills`` ends commands that still
    run when the process ends, else it waits for them.
    """

    def __init__(
        self,
        libraries: Sequence[str],
        packages: Sequence[str],
        environment: dict[str, str],
        programs: Sequence[str] = (),
        lends: bool = False,
        at_once: bool = True,
        kills: bool = False,
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="lockstep-"))
        self.bin = self.folder / "bin"
        settings = {
            "interpreter": sys.executable,
            "executable": str(self.bin / "python") if lends else sys.executable,
            "programs": str(Path(sys.prefix) / "bin"),
            "packages": list(packages),
            "environment": environment,
            "libraries": list(libraries),
            "starter": os.getpid(),
            "at_once": at_once,
            "kills": kills,
        }
        (self.folder / "settings").write_bytes(marshal.dumps(settings))
        self.bin.mkdir()
        for name in ("python", "python3", *programs):
            _write_client(self.bin / name, self.folder)
        self.process = self._start(environment)

    def _start(self, environment: dict[str, str]) -> subprocess.Popen[bytes]:
        quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
        with socket.socket(socket.AF_UNIX) as listening, (self.folder / "log").open("wb") as log:
            listening.bind(str(self.folder / "socket"))
            listening.listen(64)
            return subprocess.Popen(
                [sys.executable, str(HERE / "server.py"), str(self.folder)],
                env={**environment, **quiet},
                stdin=listening.fileno(),
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the commands, which the client passes on
            )

    @property
    def variables(self) -> dict[str, str]:
        """The variables with which commands run preloaded: their `python` is first on PATH."""
        return {"PATH": f"{self.bin}{os.pathsep}{own_programs_first()}"}

    def start(self, *words: str, folder: Path) -> subprocess.Popen[bytes]:
        """Start `python` with some words once all libraries are imported; its input is a pipe.

        A Ctrl-C on the terminal does not reach it.
        """
        return subprocess.Popen(
            [self.bin / "python", *words],
            cwd=folder,
            env={**os.environ, SWITCH: ALL},
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    def stop(self) -> None:
        """End the process; it removes the folder, and waits for commands that still run."""
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):  # it ends with the last of them
            self.process.wait(timeout=60)
        shutil.rmtree(self.folder, ignore_errors=True)  # it was killed


def _write_client(path: Path, folder: Path) -> None:
    words = [sys.executable, "-IS", HERE / "client.py", folder, path.name]
    path.write_text(f'#!/bin/sh\nexec {shlex.join(map(str, words))} "$@"\n')
    path.chmod(0o755)


def own_programs_first() -> str:
    """Return PATH with this interpreter's folder first: stages name their program `python`."""
    own, path = str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)
    return path if path.split(os.pathsep)[0] == own else f"{own}{os.pathsep}{path}"


@contextmanager
def preloaded(own: Sequence[str], wanted: bool = True) -> Iterator[Preloaded | None]:
    """Yield a preloaded process for a training's commands, which ends with the block.

    ``own`` are the libraries of the model types. Where that is not possible, or not
    ``wanted``, there is none and commands run as ever.
    """
    if not (wanted and _can_preload()):
        yield None
        return
    flavors = [f"mlflow.{name}" for name in own]
    libraries = [*FOR_STAGES, *own, *FOR_PUBLISHING, *flavors]
    process = Preloaded(libraries, PACKAGES, dict(os.environ))
    try:
        yield process
    finally:
        process.stop()


def is_possible() -> bool:
    """Tell whether the kernel has pidfd_open: macOS, old Linux and some sandboxes have not."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return True


def _can_preload() -> bool:
    if os.environ.get(SWITCH) == "0" or not is_possible():
        return False
    folder = tempfile.gettempdir()
    if len(os.fsencode(folder)) + len("/lockstep-12345678/socket") > LONGEST_ADDRESS:
        return False
    # The client is a program that lies there.
    return not os.statvfs(folder).f_flag & os.ST_NOEXEC
