"""Counts of days outlive their rows: before the log deletes files, a process counts their days.

Until it has ended, the files stay, so the log may exceed its limit for a while.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from lockstep.monitoring.log_files import read_tables

MODULE = "lockstep.commands.monitor"
LONGEST_SECONDS = 600.0
"""After that the files are deleted all the same: the disk comes first."""
AGAIN_SECONDS = 60.0
"""How long a failed counting waits for the next one."""


class DayKeeper:
    """Starts `monitor --keep` for all problems: the files hold whatever was served."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.failures = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._paths: set[Path] = set()
        self._first = self._started = 0.0

    def kept(self, paths: Sequence[Path]) -> list[Path]:
        """Return which files may be deleted: their days are kept, or could not be for long.

        The first call starts the counting; it never waits. A counting that fails, as without a
        registry, is done again.
        """
        if self._process is None:
            if self._seconds(self._started) >= AGAIN_SECONDS or not self._first:
                self._begin(paths)
            return []
        if self._process.poll() is None:
            if self._seconds(self._started) < LONGEST_SECONDS:
                return []
            self._process.kill()
            self._process.wait()
        has_failed, self._process = self._process.returncode != 0, None
        self.failures += has_failed
        if has_failed and self._seconds(self._first) < LONGEST_SECONDS:
            return []
        self._first = 0.0
        return [path for path in paths if path in self._paths]

    def close(self) -> None:
        """End a counting that is under way."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _begin(self, paths: Sequence[Path]) -> None:
        self._paths, self._started = set(paths), time.monotonic()
        self._first = self._first or self._started
        words = ["--keep", "--until", day_after(paths)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", MODULE, *words],
            cwd=self.root,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
        )

    @staticmethod
    def _seconds(since: float) -> float:
        return time.monotonic() - since


def day_after(paths: Sequence[Path]) -> str:
    """Return the day after the last prediction in files, as YYYY-MM-DD (UTC).

    A damaged file, or one of another kind, has nothing that could be kept.
    """
    query = "SELECT MAX(time_ms) FROM predictions"
    tables = [read_tables(path.parent, path.name, query, (), {}) for path in paths]
    found = [last or 0 for table in tables for rows in table for (last,) in rows]
    moment = datetime.fromtimestamp(max(found, default=0) / 1000, UTC) + timedelta(days=1)
    return moment.strftime("%Y-%m-%d")
