"""Several worker processes behind one port: one parent starts, watches, replaces and ends them.

All inherit the bound socket, so connections wait in one queue, also while a worker is replaced,
and it is the same on every system. Each worker is a whole server with its own model: it follows
the registry itself, writes its own files of the prediction log, and has its own challenger.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from prometheus_client.multiprocess import mark_process_dead

from lockstep.config.serving import ServingSettings
from lockstep.serving.siblings import METRICS_FOLDER, Siblings
from lockstep.serving.telemetry import JsonLog

_END_SECONDS = 35.0
"""Longest time for workers to answer what is under way and to write their logs."""
_STABLE_SECONDS, _LONGEST_WAIT = 10.0, 30.0
"""A worker that ends sooner is replaced later each time, up to the longest wait."""
_READY = b"r"


class Workers:
    """The workers of one server, from their start to their end."""

    def __init__(self, settings: ServingSettings, root: Path, listening: socket.socket) -> None:
        self.settings, self.root, self.listening = settings, root, listening
        self.log = JsonLog(settings.log_file)
        self._folder = tempfile.TemporaryDirectory(prefix="lockstep-workers-")
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._lock = threading.Lock()
        self._stop, self._first = threading.Event(), threading.Event()
        self._code, self._was_ready = 0, False

    def run(self) -> int:
        """Run all workers until SIGTERM or Ctrl-C; return the exit code.

        The others start when the first one is ready; if it can't, its exit code is returned.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._begin_end)
        self.log.writer.start()
        keepers = [
            threading.Thread(target=self._keep, args=(number,), name=f"worker {number}")
            for number in range(1, self.settings.workers + 1)
        ]
        keepers[0].start()
        self._first.wait()
        for keeper in [] if self._stop.is_set() else keepers[1:]:
            keeper.start()
        self._stop.wait()
        self.listening.close()
        self._end(keepers)
        if self._was_ready:
            self.log.event("stopped", workers=self.settings.workers)
        self.log.writer.close()
        self._folder.cleanup()
        return self._code if self._code >= 0 else 128 - self._code

    def _begin_end(self, *_: object) -> None:
        """End the waits of ``run``."""
        self._stop.set()
        self._first.set()

    def _keep(self, number: int) -> None:
        """Run one worker, and another one whenever it ends."""
        wait = 0.0
        while not self._stop.wait(wait):
            began = time.monotonic()
            try:
                code = self._run_once(number)
            except OSError as error:  # no memory for a process, or its folder was taken away
                self.log.event("worker not started", "error", worker=number, error=str(error))
                code = 1
            if self._stop.is_set():
                break
            if not self._was_ready:  # it has said why on standard error
                self._code = code
                self._stop.set()
                break
            lived = time.monotonic() - began
            wait = 0.0 if lived > _STABLE_SECONDS else min(max(2 * wait, 1.0), _LONGEST_WAIT)
            self.log.event(
                "worker ended", "error", worker=number, exit_code=code, replaced_in_seconds=wait
            )
        self._first.set()

    def _run_once(self, number: int) -> int:
        """Run a worker to its end; return its exit code, negative for a signal."""
        ours, theirs = socket.socketpair()
        with ours:
            with theirs, self._lock:
                if self._stop.is_set():
                    return 0
                process = self._processes[number] = self._start(number, theirs)
            if ours.recv(1) == _READY:  # empty: it has ended
                self._was_ready = True
                self._first.set()
                self.log.event("worker started", worker=number, pid=process.pid)
            code = process.wait()
        folder = Path(self._folder.name)
        mark_process_dead(process.pid, str(folder / METRICS_FOLDER))
        Siblings(number, self.settings.workers, folder).forget()
        return code

    def _start(self, number: int, link: socket.socket) -> subprocess.Popen[bytes]:
        metrics = Path(self._folder.name) / METRICS_FOLDER
        metrics.mkdir(parents=True, exist_ok=True)
        passed = self.listening.fileno(), link.fileno()
        words = [number, self.settings.workers, *passed]
        own = {"HOST": self.settings.host, "PORT": str(self.settings.port)}
        own["PROMETHEUS_MULTIPROC_DIR"] = str(metrics)
        return subprocess.Popen(
            [sys.executable, "-m", "lockstep.serving", "--worker", *map(str, words),
             self._folder.name],
            cwd=self.root,
            env={**os.environ, **own},
            pass_fds=passed,
            start_new_session=True,  # a terminal's Ctrl-C comes from here, once
        )  # fmt: skip

    def _end(self, keepers: list[threading.Thread]) -> None:
        """End all workers; they answer what is under way first. One that hangs is killed."""
        with self._lock:
            running = [one for one in self._processes.values() if one.poll() is None]
        for process in running:
            process.terminate()
        end = time.monotonic() + _END_SECONDS
        for process in running:
            try:
                code = process.wait(max(end - time.monotonic(), 0))
                # One that was still loading its model ends by the signal itself.
                self._code = self._code if code == -signal.SIGTERM else code or self._code
            except subprocess.TimeoutExpired:
                process.kill()
                self._code = 1
        for keeper in keepers:
            if keeper.ident is not None:
                keeper.join()


def say_ready(link: socket.socket) -> None:
    """Tell the parent that this worker has its model, and end when the parent has ended."""
    link.sendall(_READY)

    def watch() -> None:
        link.recv(1)  # returns when the parent's end is closed
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def taken_over(words: list[str]) -> tuple[Siblings, socket.socket, socket.socket]:
    """Return what the command line of a worker passes: siblings, listening socket, link."""
    number, of, listening, link, folder = words
    siblings = Siblings(int(number), int(of), Path(folder))
    return siblings, socket.socket(fileno=int(listening)), socket.socket(fileno=int(link))
