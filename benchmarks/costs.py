"""What commands cost: wall and processor time of a command with all its children.

Benchmarks of one machine share it by a lock: `--lock FILE` waits for the file's lock, so that two
measurements never overlap. A lock is released after HOLD_SECONDS, between two commands.
"""

from __future__ import annotations

import fcntl
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

import psutil

ROOT = Path(__file__).parents[1]
UNSET = ("MLFLOW_", "DAGSHUB", "LOCKSTEP_", "DVC_", "PYTHON", "ZENML_", "KEDRO_")
"""Variables that would change what is measured begin so."""
HOLD_SECONDS = 150
THREADS = {"OMP_WAIT_POLICY": "PASSIVE"}
"""On a busy machine, threads that spin while they wait would count as work, and slow all sides."""
YIELD_SECONDS = 1.0
"""A lock has no queue that the one who releases it must join: the others need time to take it."""


class Cost(NamedTuple):
    """What a command took, in seconds."""

    wall: float
    processor: float


class Exclusive:
    """The machine for one benchmark at a time; without a file there is nothing to wait for."""

    def __init__(self, file: Path | None) -> None:
        self.file, self.held, self.since = file, None, 0.0
        self.held: IO[str] | None

    def acquire(self) -> None:
        """Wait for the lock; release it first if others have waited long enough."""
        if self.held is not None and time.monotonic() - self.since > HOLD_SECONDS:
            self.release()
            time.sleep(YIELD_SECONDS)
        if self.file is not None and self.held is None:
            self.held = self.file.open("a")
            fcntl.flock(self.held, fcntl.LOCK_EX)
            self.since = time.monotonic()

    def release(self) -> None:
        """Let others measure."""
        if self.held is not None:
            self.held.close()
            self.held = None


def cost(root: Path, *command: str, variables: Mapping[str, str] | None = None) -> Cost:
    """Run a command in a folder and return what it took, its children included."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    run_quietly(root, *command, variables=variables)
    wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Cost(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def run_quietly(root: Path, *command: str, variables: Mapping[str, str] | None = None) -> str:
    """Run a command and return what it printed; if it fails, that ends the benchmark.

    It runs with this environment's programs and the folder's package, unless ``variables`` say so.
    """
    path = f"{sys.prefix}/bin{os.pathsep}{os.environ['PATH']}"
    own = {"PATH": path, "PYTHONPATH": f"{root}/src", **(variables or {})}
    kept = {k: v for k, v in os.environ.items() if not k.startswith(UNSET)} | THREADS
    done = subprocess.run(
        command, cwd=root, env=kept | own, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{done.stdout}\n{done.stderr}\n{' '.join(command)} failed")
    return done.stdout


def middle(found: Iterable[Cost]) -> Cost:
    """Return the medians of wall and processor time."""
    both = list(found)
    return Cost(*(round(statistics.median(values), 2) for values in zip(*both, strict=True)))


def machine() -> dict[str, object]:
    """Return what a reader must know of the machine."""
    memory = round(psutil.virtual_memory().total / 2**30)
    python = ".".join(map(str, sys.version_info[:3]))
    return {"cores": os.cpu_count(), "memory_gib": memory, "python": python, "os": sys.platform}


def write_results(output: Path | None, name: str, content: dict[str, Any]) -> None:
    """Write figures and machine as JSON: to a file, or to a folder by name and machine."""
    if output is None:
        return
    own = machine()
    if output.suffix != ".json":
        output.mkdir(parents=True, exist_ok=True)
        place = f"{own['cores']}-cores-{own['memory_gib']}-gib-python-{own['python']}"
        output = output / f"{name}-{place}.json"
    text = json.dumps({"machine": own, **content}, indent=1)
    output.write_text(text + "\n", encoding="utf-8")
    print(f"→ {output}")
