"""What tests of faults share: a full disk, a key at the right moment, what is printed and left."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.journey.conftest import Project, lend_environment
from tests.warm import COLD

NAME = "Accident_Prediction_XGBoost"
MANAGE = "python scripts/manage_model_registry.py"
DVC_FAILED = 255


def fault(output: str) -> str:
    """Return the one line that says what is wrong; there is no traceback beside it."""
    lines = [line for line in output.splitlines() if line.startswith("✗")]
    assert "Traceback" not in output, output
    assert lines, output
    return lines[0]


def left_over(folder: Path) -> list[str]:
    """Return the temporary files and folders of outputs that never got their name."""
    places = [folder / "data", folder / "models", folder / "metrics"]
    named = [
        p for place in places for p in place.rglob(".*") if not p.name.startswith(".gitignore")
    ]
    return [str(p) for p in [*named, *folder.glob(".mlflow.db.*")]]


def versions(project: Project, name: str = NAME) -> list[dict]:
    return json.loads(project.run(f"{MANAGE} list-versions --model-name {name} --json 2>/dev/null"))


def bare(project: Project, folder: Path) -> Project:
    """Return a clone with neither data nor registry."""
    project.run(f"git clone -q . '{folder}'")
    lend_environment(folder)
    return type(project)(folder, project.home)


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """Put a small file system of its own at a folder; skips where this user may not."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def members(group: int) -> dict[int, str]:
    """Return the command lines of a process group's living processes."""
    listed = subprocess.run(
        ["ps", "-eo", "pgid,pid,stat,args"], capture_output=True, text=True, check=True
    )
    rows = [line.split(None, 3) for line in listed.stdout.splitlines()[1:]]
    return {
        int(row[1]): row[-1] for row in rows if int(row[0]) == group and not row[2].startswith("Z")
    }


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.005)


def stopped(
    project: Project,
    command: str,
    log: Path,
    ready: Callable[[], bool],
    sign: signal.Signals = signal.SIGINT,
    **env: str,
) -> tuple[int, str]:
    """Run as on a terminal, signal the process group once ``ready``; return exit code and output.

    No process of the group outlives it. The commands are processes of their own: a fork of the warm
    one is in another group.
    """
    with log.open("w") as terminal:
        run = subprocess.Popen(
            shlex.split(command),
            cwd=project.folder,
            env=project.environment(**{**COLD, **env}),
            stdout=terminal,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            wait_for(lambda: ready() or run.poll() is not None, f"`{command}` never came so far")
            assert run.poll() is None, log.read_text()
            os.killpg(run.pid, sign)
            run.wait(30)
            wait_for(lambda: not members(run.pid), "a process outlived the signal", 10)
        finally:
            if members(run.pid):
                os.killpg(run.pid, signal.SIGKILL)
    return run.returncode, log.read_text()
