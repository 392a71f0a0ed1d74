"""Counts of days outlive their rows: before the log deletes files, a process counts their days.

Until it has ended, the files stay, so the log may exceed its limit for a while.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from lockstep.monitoring.log_files import read_tables

MODULE = "lockstep.commands.monitor"
LONGEST_SECONDS = 600.0
"""After that the files are deleted all the same: the disk comes first."""


class DayKeeper:
    """Starts `monitor --keep` for the problem that is served, as ``problem()`` names it."""

    def __init__(self, root: Path, problem: Callable[[], str]) -> None:
        self.root, self.problem = root, problem
        self.failures = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._paths: set[Path] = set()
        self._started = 0.0

    def kept(self, paths: Sequence[Path]) -> list[Path]:
        """Return which files may be deleted: their days are kept, or could not be.

        The first call starts the counting; it never waits.
        """
        if self._process is None:
            self._begin(paths)
            return []
        if self._process.poll() is None:
            if time.monotonic() - self._started < LONGEST_SECONDS:
                return []
            self._process.kill()
            self._process.wait()
        self.failures += self._process.returncode != 0
        self._process = None
        return [path for path in paths if path in self._paths]

    def close(self) -> None:
        """End a counting that is under way."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _begin(self, paths: Sequence[Path]) -> None:
        self._paths, self._started = set(paths), time.monotonic()
        words = ["--keep", "--problem", self.problem(), "--until", day_after(paths)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", MODULE, *words],
            cwd=self.root,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
        )


def day_after(paths: Sequence[Path]) -> str:
    """Return the day after the last prediction in files, as YYYY-MM-DD (UTC).

    A damaged file, or one of another kind, has nothing that could be kept.
    """
    query = "SELECT MAX(time_ms) FROM predictions"
    tables = [read_tables(path.parent, path.name, query, (), {}) for path in paths]
    found = [last or 0 for table in tables for rows in table for (last,) in rows]
    moment = datetime.fromtimestamp(max(found, default=0) / 1000, UTC) + timedelta(days=1)
    return moment.strftime("%Y-%m-%d")
