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
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

from lockstep.config.settings import PredictionLogSection
from lockstep.monitoring.log_files import Entry
from lockstep.serving.background_writer import BackgroundWriter

MODULE = "lockstep.serving.shadow_scorer"
LENGTH = struct.Struct("<I")
"""The length of a message, before it."""
COUNTS = ("requests", "rows", "skipped", "failed", "log_dropped")
"""What the process counts: requests and rows that it scored; skipped ones had no challenger."""
_READ = ("requests", "skipped", "failed")
_MESSAGE_BYTES = 64 * 1024
"""A pipe's capacity: smaller messages would only wake both processes more often."""
_RETRY_SECONDS, _LONGEST_RETRY = 5.0, 300.0
_END_SECONDS = 5.0
_NICE = 10
_ENDS_FIRST = "1000"


class Shadow:
    """Sends answered requests to the process that scores them with the challenger."""

    def __init__(self, root: Path, settings: PredictionLogSection) -> None:
        self.root = root
        self.writer = BackgroundWriter(
            self._send, settings.waiting_bytes, name="shadow", close=self._end
        )
        self._process: subprocess.Popen[bytes] | None = None
        self._listener: threading.Thread | None = None
        self._said: dict[str, Any] = {}
        self._before: Counter[str] = Counter()
        """The counts of processes that have ended."""
        self._sent = self._lost = 0
        self._begun, self._wait = float("-inf"), _RETRY_SECONDS

    @property
    def status(self) -> dict[str, Any]:
        """What the process last said, its counts since the server started, and what was dropped."""
        said = self._said
        counts = {name: self._before[name] + said.get(name, 0) for name in COUNTS}
        return {**said, **counts, "dropped": self.dropped}

    @property
    def dropped(self) -> int:
        """Requests that a full queue dropped, or that were lost with a process that ended."""
        return self.writer.dropped + self._lost

    def start(self) -> None:
        """Start the process and the thread that feeds it; the thread retries a failed start."""
        try:
            self._begin()
        except OSError as error:
            self._said = {"fault": f"the challenger's process does not start: {error}"}
        self.writer.start()

    def close(self) -> None:
        """Feed what is left and end the process; one that does not read it is killed."""
        self.writer.close(_END_SECONDS)
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def add(self, entry: Entry) -> None:
        """Queue an answered request; a full queue drops and counts it."""
        self.writer.put(entry, len(entry.records) + 300)

    def _begin(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", MODULE],
            cwd=self.root,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        _put_last(process.pid)
        self._process, self._begun, self._sent = process, time.monotonic(), 0
        self._listener = threading.Thread(
            target=self._listen, args=(process,), name="shadow status", daemon=True
        )
        self._listener.start()
        return process

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        """Take what the process says until it ends."""
        assert process.stdout is not None
        for line in process.stdout:
            self._said = orjson.loads(line)
        fault = f"the challenger's process ended (exit code {process.wait()})"
        self._said = {**self._said, "model": None, "version": None, "fault": fault}

    def _send(self, entries: list[Any]) -> None:
        """Write entries to the process; OSError if it has ended, so that they count as dropped."""
        process = self._process
        if process is None or process.poll() is not None:
            process = self._again()
        assert process.stdin is not None
        for part in parts(entries):
            process.stdin.write(message(part))
        process.stdin.flush()
        self._sent += len(entries)

    def _again(self) -> subprocess.Popen[bytes]:
        """Start the process again; OSError if it ended just now.

        One that keeps ending waits longer each time.
        """
        now = time.monotonic()
        if now - self._begun < self._wait:
            raise OSError("the challenger's process ended")
        if self._listener is not None:
            self._listener.join()  # it has read the last words then
        said, self._said = self._said, {}
        done = sum(said.get(name, 0) for name in _READ)
        self._lost += max(self._sent - done, 0)
        self._before.update({name: said.get(name, 0) for name in COUNTS})
        self._wait = _RETRY_SECONDS if done else min(2 * self._wait, _LONGEST_RETRY)
        return self._begin()

    def _end(self) -> None:
        """End the process: it stops at the end of its input."""
        process = self._process
        if process is not None and process.stdin is not None:
            with suppress(OSError, subprocess.TimeoutExpired):  # ``close`` kills it then
                process.stdin.close()
                process.wait(_END_SECONDS)


def _put_last(pid: int) -> None:
    """Give a process a lower priority, and let it end first if memory runs out.

    The lowest priority would leave a challenger on a busy machine without a chance to load.
    """
    with suppress(ProcessLookupError):  # it has ended already, which ``_again`` notices
        os.setpriority(os.PRIO_PROCESS, pid, _NICE)
    if sys.platform == "linux":
        with suppress(OSError):  # likewise, or a sandbox forbids it
            Path(f"/proc/{pid}/oom_score_adj").write_text(_ENDS_FIRST)


def parts(entries: list[Entry]) -> Iterator[list[Entry]]:
    """Yield entries in lists whose records have about the size of a message."""
    part: list[Entry] = []
    size = 0
    for entry in entries:
        part.append(entry)
        size += len(entry.records)
        if size >= _MESSAGE_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part


def message(entries: list[Entry]) -> bytes:
    """Return entries as the process reads them: what is known of each, then all their records.

    One call for all makes the JSON, because requests wait for each step of this thread.
    """
    known = orjson.dumps(
        [(e.request_id, e.time_ms, e.version, e.digest, e.rows, len(e.records)) for e in entries]
    )
    records = b"".join([entry.records for entry in entries])
    lengths = LENGTH.pack(len(known)), LENGTH.pack(len(records))
    return b"".join([lengths[0], known, lengths[1], records])
