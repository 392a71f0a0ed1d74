"""What commands cost: wall and processor time of a command with all its children."""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import psutil

ROOT = Path(__file__).parents[1]
UNSET = ("MLFLOW_", "DAGSHUB", "LOCKSTEP_", "DVC_", "PYTHON", "ZENML_", "KEDRO_")
"""Variables that would change what is measured begin so."""
THREADS = {"OMP_WAIT_POLICY": "PASSIVE"}
"""On a busy machine, threads that spin while they wait would count as work, and slow all sides."""


class Cost(NamedTuple):
    """What a command took, in seconds."""

    wall: float
    processor: float


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
