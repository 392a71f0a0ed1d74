"""A process that has imported the heavy libraries and runs each command in a fork of itself.

Its argument is a folder with its settings; its standard input is the socket that it listens to. It
computes nothing and starts no thread, so a fork is as good as a new process. It imports nothing of
this package: a command takes that from its own path. A command that comes before all libraries are
imported is served between two imports. The process ends with the one that started it.
"""

import atexit
import ctypes
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
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, NoReturn

_PR_SET_PDEATHSIG = 1
_DEFAULT = (
    signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD, signal.SIGUSR1, signal.SIGUSR2,
)  # fmt: skip


def forget_signals(ignored: list[int]) -> None:
    """Handle signals as a new process does."""
    signal.set_wakeup_fd(-1)
    for number in _DEFAULT:
        signal.signal(number, signal.SIG_DFL)
    # It is no foreground process of the terminal, and yet writes there.
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    for held in ignored:
        signal.signal(held, signal.SIG_IGN)
    # What the client sent while this fork began acts now: a Ctrl-C ends it without a word.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signal.valid_signals())


def open_streams(environment: dict[str, str]) -> None:
    """Put text streams over the first three files, as a new process has them."""
    unbuffered = bool(environment.get("PYTHONUNBUFFERED"))
    streams = {"stdin": open(0, closefd=False)}  # noqa: SIM115
    for name, number, errors in (("stdout", 1, "strict"), ("stderr", 2, "backslashreplace")):
        stream = open(number, "w", errors=errors, closefd=False)  # noqa: SIM115
        stream.reconfigure(line_buffering=number == 2 or stream.isatty(), write_through=unbuffered)
        streams[name] = stream
    for name, stream in streams.items():
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def take_place(request: dict[str, Any], files: list[int], plain_path: list[str]) -> list[str]:
    """Make this fork the process that was asked for; return its words from the module on."""
    os.setpgid(0, 0)
    # Whoever kills the server ends this too: nobody else could tell the client how it ended.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    for place, number in enumerate(files):
        os.dup2(number, place)
    os.closerange(3, 256)
    forget_signals(request["ignored"])
    os.chdir(request["folder"])
    os.umask(request["umask"])
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
    warnings._processoptions(filters)  # type: ignore[attr-defined]  # as the interpreter does
    sys.warnoptions[:] = filters
    sys.orig_argv[:] = [sys.executable, *words]
    added = environment.get("PYTHONPATH", "")
    sys.path[:] = [*(added.split(os.pathsep) if added else []), *plain_path]
    importlib.invalidate_caches()
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
    gc.enable()
    return words


def run(words: list[str]) -> None:
    """Run a module or a script as `python` would."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if words[0] == "-m":
        sys.argv[:] = words[1:]
        sys.path.insert(0, os.getcwd())
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv[:] = words
        sys.path.insert(0, os.path.dirname(os.path.realpath(words[0])))
        runpy.run_path(words[0], run_name="__main__")


def exit_code(told: object) -> int:
    """Return the exit code that SystemExit tells; its text is printed."""
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
    code = ending(threading._shutdown) or code  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    if code == -signal.SIGINT:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    os._exit(code)


def receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """Return a client's command and its three files; None where it left, perhaps amid sending."""
    files: list[int] = []
    try:
        size, files, _, _ = socket.recv_fds(connection, 4, 3)
        content, length = b"", int.from_bytes(size, "big")
        while len(content) < length and (part := connection.recv(length - len(content))):
            content += part
        if content and len(content) == length:
            return marshal.loads(content), files
    except (ConnectionError, EOFError, ValueError, TypeError):
        pass
    for number in files:
        os.close(number)
    return None


def ended_by(connection: socket.socket) -> int | None:
    """Return the signal that a client sent or was killed by before its command began, if any."""
    connection.setblocking(False)
    try:
        sent = connection.recv(16)
    except BlockingIOError:
        return None
    except ConnectionError:
        sent = b""
    finally:
        connection.setblocking(True)
    ends = [number for number in sent if number not in (signal.SIGTSTP, signal.SIGCONT)]
    return ends[0] if ends else (None if sent else int(signal.SIGKILL))


class Server:
    """Takes commands, passes signals on to them, and says how they ended."""

    def __init__(self, folder: str, listening: socket.socket) -> None:
        with open(os.path.join(folder, "settings"), "rb") as file:
            self.settings = marshal.load(file)
        self.folder, self.listening = folder, listening
        self.selector = selectors.DefaultSelector()
        self.running: dict[int, socket.socket] = {}
        self.is_whole = False
        """Whether all libraries are imported."""
        self.waiting: list[tuple[socket.socket, dict[str, Any], list[int]]] = []
        """The commands that wait for that."""
        self.starter = -1
        self.imports = self._imports()
        self.plain_path = sys.path[1:]

    def serve(self) -> None:
        """Import, and go on until the process that started this has ended."""
        signal.signal(signal.SIGTERM, lambda *_: self.leave())
        self.selector.register(self.listening, selectors.EVENT_READ, self.accept)
        try:
            self.starter = os.pidfd_open(self.settings["starter"])
        except ProcessLookupError:
            self.leave()
        self.selector.register(self.starter, selectors.EVENT_READ, self.leave)
        if self.settings["at_once"]:
            for _ in self.imports:
                self.answer(0)
            self.is_whole = True
            for waiting in self.waiting:
                self.run(*waiting)
        while True:
            self.answer(None)

    def answer(self, seconds: float | None) -> None:
        """Handle what has happened, or happens within some seconds; None waits for ever."""
        for key, _ in self.selector.select(seconds):
            key.data()

    def leave(self) -> NoReturn:
        """Take no further command, and end with those that run."""
        for waited_for in (self.listening, self.starter):
            with suppress(KeyError, ValueError):
                self.selector.unregister(waited_for)
        self.listening.close()
        # Whoever started this may have been killed.
        shutil.rmtree(self.folder, ignore_errors=True)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if self.settings["kills"]:
            for process in self.running:
                with suppress(ProcessLookupError):
                    os.killpg(process, signal.SIGKILL)
        while self.running and not self.settings["kills"]:
            self.answer(None)
        os._exit(0)

    def accept(self) -> None:
        """Take a client's command."""
        connection, _ = self.listening.accept()
        found = receive(connection)
        if found is None:
            connection.close()
            return
        if not self.settings["at_once"]:
            for _ in self.imports:
                pass
            self.is_whole = True
        request, files = found
        if request["waits"] and not self.is_whole:
            self.waiting.append((connection, request, files))
        else:
            self.run(connection, request, files)

    def run(self, connection: socket.socket, request: dict[str, Any], files: list[int]) -> None:
        """Run a client's command in a fork, unless the client was ended before."""
        if (number := ended_by(connection)) is not None:
            with suppress(OSError):
                connection.send(b"%d\n" % number)
            connection.close()
            for number in files:
                os.close(number)
            return
        request["executable"] = self.settings["executable"]
        gc.freeze()  # no collection in a fork touches, and so copies, what was imported
        # A signal for the fork waits until it handles signals itself.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        process = os.fork()
        if not process:
            become(request, files, self.plain_path)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signal.valid_signals())
        for number in files:
            os.close(number)
        with suppress(PermissionError):  # it has done so itself, and runs something else by now
            os.setpgid(process, process)
        self.follow(process, connection)

    def _imports(self) -> Iterator[None]:
        """Import one library after another; one that can't be imported is left to the commands."""
        gc.disable()
        for name in self.settings["libraries"]:
            try:
                importlib.import_module(name)
            except Exception:  # noqa: BLE001  a command that needs it says what is wrong
                traceback.print_exc()
            yield

    def follow(self, process: int, connection: socket.socket) -> None:
        """Tell the client how its command ends, and pass on the signals that it gets."""
        ended = os.pidfd_open(process)
        self.running[process] = connection

        def finish() -> None:
            self.selector.unregister(ended)
            os.close(ended)
            _, status = os.waitpid(process, 0)
            self.running.pop(process)
            # The client closes: if this did while a signal of its is unread, the answer was lost.
            with suppress(OSError):
                connection.send(b"%d\n" % status)

        def pass_on() -> None:
            try:
                signals = connection.recv(16)
            except ConnectionError:
                signals = b""
            if self.running.get(process) is connection:
                # Where the client was killed, nobody can end the command but this.
                for number in signals or [signal.SIGKILL]:
                    with suppress(ProcessLookupError):
                        os.killpg(process, number)
            if not signals:
                self.selector.unregister(connection)
                connection.close()

        self.selector.register(ended, selectors.EVENT_READ, finish)
        self.selector.register(connection, selectors.EVENT_READ, pass_on)


if __name__ == "__main__":
    Server(sys.argv[1], socket.socket(fileno=os.dup(0))).serve()
