"""Each stage on one machine with the settings of params.yaml: seconds, processor time and memory.

    python benchmarks/stage_memory.py FOLDER --persons 45000 450000 2600000 [--output FILE.json]
    python benchmarks/stage_memory.py FOLDER --persons 2600000 --stages xgboost --hours 1

Each stage is a command of its own on accidents' sample, as DVC runs it, without a registry. FOLDER
keeps what they write, so a stage can be measured later, after those before it. Processor time does
not depend on other work on the machine as much as seconds do; memory does not depend on it at all.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import yaml
from spark import PERSONS_A_UNIT, PROBLEM, ROOT, TYPES, memory_of

YEARS = [2019, 2020, 2021, 2022]
"""Of a large sample; a smaller one has the year of `make run-train`."""
FEWEST_FOR_YEARS = 1_000_000
"""From so many persons on, the sample has several years."""
STEP_SECONDS = 0.25
STAGES = {
    "import_raw": ("lockstep.data.import_raw",),
    "preprocess": ("lockstep.data.preprocess",),
    "features": ("lockstep.features.build_features",),
    **{name: ("lockstep.models.train_multi_model", "--type", name) for name in TYPES},
    "compare": ("lockstep.models.compare_models",),
}
"""The module of each stage, with what follows --problem."""


def main() -> None:
    """Measure each stage at each size; print a line a stage, and write all figures as JSON."""
    options = parser().parse_args()
    found = []
    for persons in options.persons:
        root = options.folder / str(persons)
        if not root.exists():
            arrange(root, persons)
        for name in options.stages:
            one = {"persons": persons, "stage": name, **measured(root, name, options.hours)}
            found.append(one)
            print(json.dumps(one), flush=True)
    if options.output:
        content = {"cores": os.cpu_count(), "stages": found}
        options.output.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    top = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    top.add_argument("folder", type=Path, help="where the stages run; made where it is missing")
    sizes = [45_000, 450_000, 2_600_000]
    top.add_argument("--persons", type=int, nargs="+", default=sizes, help="rows of the sample")
    top.add_argument("--stages", nargs="+", default=list(STAGES), choices=STAGES)
    top.add_argument("--hours", type=float, default=6.0, help="after which a stage is ended")
    top.add_argument("--output", type=Path, help="a JSON file for the figures")
    return top


def arrange(root: Path, persons: int) -> None:
    """Write a project's folder: params.yaml as it is but for the sample's size and years."""
    root.mkdir(parents=True)
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    sample = params["problems"][PROBLEM]["source"]["sample"]
    sample["units"] = round(persons / PERSONS_A_UNIT)
    if persons >= FEWEST_FOR_YEARS:
        sample["years"] = YEARS
    (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    shutil.copyfile(ROOT / "dvc.yaml", root / "dvc.yaml")
    (root / "src").symlink_to(ROOT / "src")


def measured(root: Path, name: str, hours: float) -> dict[str, Any]:
    """Run one stage; return its seconds, processor seconds, and most memory in GB.

    ``gb`` is the most that all its processes had together, ``peak_gb`` the exact most of one.
    """
    module, *words = STAGES[name]
    own = {"LOCKSTEP_PUBLISH": "0", "DVC_STAGE": "bench"}
    command = [sys.executable, "-m", module, "--problem", PROBLEM, *words]
    started, most = time.monotonic(), 0.0
    process = subprocess.Popen(
        command, cwd=root, env={**os.environ, **own}, stdout=subprocess.DEVNULL
    )
    watched = psutil.Process(process.pid)
    ended, status, used = os.wait4(process.pid, os.WNOHANG)
    while not ended:
        most = max(most, memory_of(watched))
        if time.monotonic() - started > hours * 3600:
            process.send_signal(signal.SIGKILL)
        time.sleep(STEP_SECONDS)
        ended, status, used = os.wait4(process.pid, os.WNOHANG)
    process.returncode = os.waitstatus_to_exitcode(status)
    return {
        "exit": process.returncode,
        "seconds": round(time.monotonic() - started, 1),
        "processor_seconds": round(used.ru_utime + used.ru_stime, 1),
        "gb": round(most / 1e9, 2),
        "peak_gb": round(used.ru_maxrss * 1024 / 1e9, 2),
    }


if __name__ == "__main__":
    main()
