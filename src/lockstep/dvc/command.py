"""DVC's own commands: same interpreter, in the project's folder, without analytics."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

from lockstep.errors import ConfigError


def run_dvc(root: Path, *arguments: str) -> str:
    """Run a DVC command below ``root`` and return its output; a failure is a ConfigError."""
    repair_locks(root)
    done = subprocess.run(
        _command(arguments),
        cwd=root,
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ConfigError(f"`dvc {' '.join(arguments)}` failed: {_last_words(done.stderr)}")
    return done.stdout.strip()


def show_dvc(root: Path, *arguments: str) -> int:
    """Run a DVC command below ``root`` on the caller's own terminal and return its exit code."""
    return end_dvc(root, begin_dvc(root, *arguments))


def begin_dvc(root: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """Start a DVC command below ``root`` on the caller's own terminal; the caller waits for it."""
    repair_locks(root)
    return subprocess.Popen(_command(arguments), cwd=root, env=_environment())


def end_dvc(root: Path, process: subprocess.Popen[bytes]) -> int:
    """Wait for a DVC command and return its exit code.

    Interrupted, this waits until DVC has ended its stage, and repairs its locks.
    """
    try:
        return process.wait()
    finally:
        process.wait()
        repair_locks(root)


def repair_locks(root: Path) -> None:
    """Remove DVC's list of locks if an interruption or a full disk cut it off.

    DVC would refuse to run for ever. It rewrites `.dvc/tmp/rwlock` in place, under a lock of its
    own that is taken here too. A list that can't be read holds nobody's lock.
    """
    listed = root / ".dvc" / "tmp" / "rwlock"
    if not _cut_off(listed):
        return
    with listed.with_name("rwlock.lock").open("a") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if _cut_off(listed):
            listed.unlink()


def _cut_off(listed: Path) -> bool:
    try:
        json.loads(listed.read_bytes())
    except FileNotFoundError:
        return False
    except ValueError:
        return True
    return False


def default_remote(root: Path) -> str | None:
    """Return the name of the default DVC remote, or None without one."""
    return run_dvc(root, "config", "core.remote") or None


def _command(arguments: tuple[str, ...]) -> list[str]:
    return [sys.executable, "-m", "dvc", *arguments]


def _environment() -> dict[str, str]:
    # Called from within a stage, DVC would take the stage's tree for its own.
    inherited = {
        name: value for name, value in os.environ.items() if name not in ("DVC_ROOT", "DVC_STAGE")
    }
    return {**inherited, "DVC_NO_ANALYTICS": "true"}


def _last_words(stderr: str) -> str:
    """Return DVC's error in one line: from its first ERROR on, without links to its manual."""
    lines = [
        line.strip() for line in stderr.splitlines() if line.strip() and "https://" not in line
    ]
    first = next(
        (i for i, line in enumerate(lines) if line.startswith("ERROR:")), max(len(lines) - 1, 0)
    )
    return " ".join(lines[first:]).removeprefix("ERROR: ") or "it gave no reason"
