"""A process that has imported the heavy libraries and runs each command in a fork of itself.

It computes nothing and starts no thread, so a fork is as good as a new process. It imports nothing
of Lockstep: a command takes that from its own PYTHONPATH. It imports at the first command, and ends
with its standard input.
"""

import atexit
import gc
import importlib
import marshal
import os
import runpy
import selectors
import shutil
import signal
import socket
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

LIBRARIES = """
    numpy pandas pyarrow.parquet scipy.sparse scipy.stats scipy.optimize scipy.special joblib
    lz4.frame yaml ruamel.yaml sklearn.calibration sklearn.ensemble sklearn.frozen
    sklearn.isotonic sklearn.linear_model sklearn.metrics sklearn.model_selection
    sklearn.pipeline sklearn.preprocessing sklearn.neighbors sklearn.tree xgboost lightgbm
    skops.io shap optuna matplotlib.figure matplotlib.backends.backend_agg pydantic dotenv
    requests tqdm filelock orjson fastapi uvicorn uvloop httptools prometheus_client sqlalchemy
    alembic mlflow mlflow.sklearn mlflow.xgboost mlflow.lightgbm mlflow.pyfunc mlflow.data
    mlflow.server mlflow.store.tracking.sqlalchemy_store
    mlflow.store.model_registry.sqlalchemy_store mlflow.cli dvc.cli dvc.cli.parser dvc.repo
    dvc.repo.reproduce dvc.repo.status dvc.repo.experiments dvc.stage.run dvc.ignore dvc.output
    dvc.dependency dvc.render dvc.commands.repro dvc.scm scmrepo.git dvc_data.index
"""


def forget_signals(ignored: list[int]) -> None:
    """Handle signals as a new process does."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


def open_streams(environment: dict[str, str]) -> None:
    """Put text streams over the first three files, as a new process has them."""
    unbuffered = bool(environment.get("PYTHONUNBUFFERED"))
    sys.stdin = sys.__stdin__ = open(0, closefd=False)  # noqa: SIM115
    for name, number, errors in (("stdout", 1, "strict"), ("stderr", 2, "backslashreplace")):
        stream = open(number, "w", errors=errors, closefd=False)  # noqa: SIM115
        stream.reconfigure(line_buffering=number == 2 or stream.isatty(), write_through=unbuffered)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def take_place(request: dict[str, Any], files: list[int], plain_path: list[str]) -> list[str]:
    """Make this fork the process that was asked for; return its words from the module on."""
    os.setpgid(0, 0)
    for place, number in enumerate(files):
        os.dup2(number, place)
    os.closerange(3, 256)
    forget_signals(request["ignored"])
    os.chdir(request["folder"])
    environment = request["environment"]
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    open_streams(environment)
    sys.executable = request["executable"]
    sys.dont_write_bytecode = bool(environment.get("PYTHONDONTWRITEBYTECODE"))
    words = request["words"]
    filters = [f for f in environment.get("PYTHONWARNINGS", "").split(",") if f]
    if words[:2] == ["-W", "ignore"]:
        filters, words = [*filters, "ignore"], words[2:]
    for action in filters:
        warnings.simplefilter(action)
    sys.warnoptions[:] = filters
    sys.orig_argv[:] = [sys.executable, *words]
    added = environment.get("PYTHONPATH", "")
    sys.path[:] = [*(added.split(os.pathsep) if added else []), *plain_path]
    importlib.invalidate_caches()
    sys.modules["numpy"].random.seed()
    return words


def run(words: list[str]) -> None:
    """Run a module or a script as `python` would."""
    if words[0] == "-m":
        sys.argv[:] = words[1:]
        sys.path.insert(0, os.getcwd())
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv[:] = words
        sys.path.insert(0, os.path.dirname(os.path.realpath(words[0])))
        runpy.run_path(words[0], run_name="__main__")


def exit_code(told: object) -> int:
    if told is None or isinstance(told, int):
        return (told or 0) & 0xFF
    print(told, file=sys.stderr)
    return 1


def ending(act: Callable[[], None]) -> int:
    """Return the exit code of what runs; an exception that nobody caught is printed."""
    try:
        act()
    except SystemExit as left:
        return exit_code(left.code)
    except BaseException as failure:  # noqa: BLE001  the interpreter itself prints any
        traceback.print_exception(failure)
        return -signal.SIGINT if isinstance(failure, KeyboardInterrupt) else 1
    return 0


def measured() -> None:
    """Measure coverage where the environment asks for it, as a new process does."""
    if any(name.startswith("COVERAGE_PROCESS") for name in os.environ):
        import coverage

        coverage.process_startup()


def become(request: dict[str, Any], files: list[int], plain_path: list[str]) -> NoReturn:
    """Be the process that was asked for, to its end."""
    words = take_place(request, files, plain_path)
    measured()
    code = ending(lambda: run(words))
    code = ending(threading._shutdown) or code
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    if code == -signal.SIGINT:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    os._exit(code)


def receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """Return a client's command and its three files; None where it left."""
    size, files, _, _ = socket.recv_fds(connection, 4, 3)
    if not size:
        return None
    content, length = b"", int.from_bytes(size, "big")
    while len(content) < length:
        content += connection.recv(length - len(content))
    return marshal.loads(content), files


class Server:
    """Takes commands, passes signals on to them, and says how they ended."""

    def __init__(self, listening: socket.socket):
        self.listening = listening
        self.selector = selectors.DefaultSelector()
        self.running: dict[int, socket.socket] = {}
        self.plain_path: list[str] = []

    def serve(self) -> None:
        """Go on until standard input ends."""
        self.selector.register(self.listening, selectors.EVENT_READ, self.accept)
        self.selector.register(0, selectors.EVENT_READ, self.leave)
        while True:
            for key, _ in self.selector.select():
                key.data()

    def leave(self) -> NoReturn:
        for process in self.running:
            with suppress(ProcessLookupError):
                os.killpg(process, signal.SIGKILL)
        # Whoever started this may have been killed.
        shutil.rmtree(os.path.dirname(self.listening.getsockname()), ignore_errors=True)
        os._exit(0)

    def accept(self) -> None:
        connection, _ = self.listening.accept()
        found = receive(connection)
        if found is None:
            connection.close()
            return
        if not self.plain_path:
            self.warm_up()
        request, files = found
        process = os.fork()
        if not process:
            become(request, files, self.plain_path)
        for number in files:
            os.close(number)
        with suppress(PermissionError):  # it has done so itself, and runs something else by now
            os.setpgid(process, process)
        self.follow(process, connection)

    def warm_up(self) -> None:
        self.plain_path = sys.path[1:]
        for name in LIBRARIES.split():
            importlib.import_module(name)
        gc.collect()
        gc.freeze()

    def follow(self, process: int, connection: socket.socket) -> None:
        ended = os.pidfd_open(process)
        self.running[process] = connection

        def finish() -> None:
            self.selector.unregister(ended)
            os.close(ended)
            _, status = os.waitpid(process, 0)
            if process in self.running:
                with suppress(OSError):
                    connection.send(b"%d" % status)
                forget()

        def forget() -> None:
            self.selector.unregister(connection)
            connection.close()
            del self.running[process]

        def pass_on() -> None:
            if self.running.get(process) is not connection:  # it ended in this round of events
                return
            try:
                signals = connection.recv(16)
            except ConnectionError:
                signals = b""
            # Where the client was killed, nobody can end the command but this.
            for number in signals or [signal.SIGKILL]:
                with suppress(ProcessLookupError):
                    os.killpg(process, number)
            if not signals:
                forget()

        self.selector.register(ended, selectors.EVENT_READ, finish)
        self.selector.register(connection, selectors.EVENT_READ, pass_on)


if __name__ == "__main__":
    Server(socket.socket(fileno=int(sys.argv[1]))).serve()
