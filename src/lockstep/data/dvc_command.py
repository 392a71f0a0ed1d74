"""DVC's own commands, run by ours: the same interpreter, in the project's folder, without analytics."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from lockstep.errors import ConfigError


def run_dvc(root: Path, *arguments: str) -> str:
    """Run a DVC command below ``root`` and return what it prints; its failure is one ConfigError."""
    done = subprocess.run(
        _command(arguments), cwd=root, env=_environment(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ConfigError(f"`dvc {' '.join(arguments)}` failed: {_last_words(done.stderr)}")
    return done.stdout.strip()


def show_dvc(root: Path, *arguments: str) -> int:
    """Run a DVC command below ``root`` on the caller's own terminal and return its exit code."""
    return subprocess.run(_command(arguments), cwd=root, env=_environment(), check=False).returncode


def begin_dvc(root: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """Start a DVC command below ``root`` on the caller's own terminal; the caller waits for it."""
    return subprocess.Popen(_command(arguments), cwd=root, env=_environment())


def default_remote(root: Path) -> str | None:
    """Return the name of the default DVC remote, or None without one."""
    return run_dvc(root, "config", "core.remote") or None


def _command(arguments: tuple[str, ...]) -> list[str]:
    return [sys.executable, "-m", "dvc", *arguments]


def _environment() -> dict[str, str]:
    # Called from within a stage, DVC would take the stage's tree for its own.
    inherited = {name: value for name, value in os.environ.items() if name not in ("DVC_ROOT", "DVC_STAGE")}
    return {**inherited, "DVC_NO_ANALYTICS": "true"}


def _last_words(stderr: str) -> str:
    """Return DVC's own error in one line: from its first ERROR on, without the links to its manual."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip() and "https://" not in line]
    first = next((i for i, line in enumerate(lines) if line.startswith("ERROR:")), max(len(lines) - 1, 0))
    return " ".join(lines[first:]).removeprefix("ERROR: ") or "it gave no reason"
