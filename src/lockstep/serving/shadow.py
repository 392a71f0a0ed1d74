"""The challenger on live traffic: each answered request goes to a process that scores it again.

The answer has gone out by then. The other process has its own interpreter and a lower priority, so
a slow, broken or killed challenger neither slows nor changes an answer. A full queue drops requests
and counts them.
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO, Any

import orjson

from lockstep.config.settings import PredictionLogSection
from lockstep.monitoring.log_files import Entry
from lockstep.serving.background_writer import BackgroundWriter

MODULE = "lockstep.serving.shadow_scorer"
LENGTH = struct.Struct("<I")
"""The length of a message, before it."""
_RETRY_SECONDS = 5.0
_END_SECONDS = 5.0


class Shadow:
    """Sends answered requests to the process that scores them with the challenger."""

    def __init__(self, root: Path, settings: PredictionLogSection) -> None:
        self.root = root
        self.status: dict[str, Any] = {}
        """What the process last said: its version, how many rows it scored, why it does not."""
        self.writer = BackgroundWriter(
            self._send, settings.waiting_bytes, name="shadow", close=self._end
        )
        self._process: subprocess.Popen[bytes] | None = None
        self._started = float("-inf")

    def start(self) -> None:
        """Start the process and the thread that feeds it."""
        self._process = self._begin()
        self.writer.start()

    def add(self, entry: Entry) -> None:
        """Queue an answered request; a full queue drops and counts it."""
        self.writer.put(entry, len(entry.records) + 300)

    def _begin(self) -> subprocess.Popen[bytes]:
        self._started = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", MODULE],
            cwd=self.root,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        threading.Thread(
            target=self._listen, args=(process.stdout,), name="shadow status", daemon=True
        ).start()
        return process

    def _listen(self, lines: IO[bytes]) -> None:
        for line in lines:
            self.status = orjson.loads(line)

    def _send(self, entries: list[Any]) -> None:
        """Write entries to the process; OSError if it has ended, so that they count as dropped."""
        process = self._process
        if process is None or process.poll() is not None:
            self.status = {"fault": f"the challenger's process ended ({self._code()})"}
            if time.monotonic() - self._started < _RETRY_SECONDS:
                raise OSError(self.status["fault"])
            process = self._process = self._begin()
        assert process.stdin is not None
        for entry in entries:
            process.stdin.write(message(entry))
        process.stdin.flush()

    def _code(self) -> str:
        code = None if self._process is None else self._process.returncode
        return "it was never started" if code is None else f"exit code {code}"

    def _end(self) -> None:
        """End the process: it stops at the end of its input."""
        process = self._process
        if process is None or process.stdin is None:
            return
        try:
            process.stdin.close()
            process.wait(_END_SECONDS)
        except (OSError, subprocess.TimeoutExpired):
            process.kill()
            process.wait()


def message(entry: Entry) -> bytes:
    """Return an answered request as the process reads it: what is known of it, then its records."""
    known = orjson.dumps([entry.request_id, entry.time_ms, entry.version, entry.digest])
    return LENGTH.pack(len(known)) + known + LENGTH.pack(len(entry.records)) + entry.records


def read_message(stream: IO[bytes]) -> tuple[list[Any], bytes] | None:
    """Return the next request; None at the end, also amid one."""
    known = _part(stream)
    records = None if known is None else _part(stream)
    return None if known is None or records is None else (orjson.loads(known), records)


def _part(stream: IO[bytes]) -> bytes | None:
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack(head)
    found = stream.read(length)
    return found if len(found) == length else None
