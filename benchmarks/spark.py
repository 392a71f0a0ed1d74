"""Both engines from raw files to four models, at growing sizes: seconds and memory of each stage.

python benchmarks/spark.py [--persons 50000 500000 2600000] [--types TYPE …] [--output FILE.json]

Each stage is a command of its own, as DVC runs it, in a temporary folder without a registry. Memory
is the largest sum over the processes of a stage, Java and Python workers included, by what each
of them alone uses, so that shared pages count once.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import yaml

from lockstep.config.layout import ProblemLayout

ROOT = Path(__file__).parents[1]
PROBLEM = "accidents"
PERSONS_A_UNIT = 2.28
"""Persons in an accident of the sample."""
TYPES = ("logistic_regression", "random_forest", "xgboost", "lightgbm")
TREES = {"random_forest": 20, "xgboost": 200, "lightgbm": 200}
"""Fewer trees than in params.yaml: the sizes are compared, not the models."""
MEMORY = "4g"
"""Of Java, which holds the rows of a forest and what is on its way to the workers of Python."""
STEP_SECONDS = 0.25


def main() -> None:
    """Measure, print a line a stage, and write all figures as JSON."""
    options = parser().parse_args()
    found = [measure(persons, options.engines, options.types) for persons in options.persons]
    machine = {"cores": psutil.cpu_count(), "memory_gb": psutil.virtual_memory().total / 1e9}
    content = {"machine": machine, "python": platform.python_version(), "sizes": found}
    if options.output:
        options.output.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    top = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    sizes = [50_000, 500_000, 2_600_000]
    top.add_argument("--persons", type=int, nargs="+", default=sizes, help="rows of the sample")
    top.add_argument("--engines", nargs="+", default=["sklearn", "spark"])
    top.add_argument("--types", nargs="+", default=TYPES)
    top.add_argument("--output", type=Path, help="a JSON file for the figures")
    return top


def measure(persons: int, engines: list[str], types: list[str]) -> dict[str, Any]:
    """Return the figures of each engine for one size."""
    with tempfile.TemporaryDirectory(prefix="bench-spark-") as name:
        root = Path(name)
        arrange(root, persons)
        stage(root, "lockstep.data.import_raw")
        found: dict[str, Any] = {"persons": persons}
        for engine in engines:
            stages = {step: stage(root, *words) for step, words in commands(engine, types).items()}
            own = {**total(stages), "rows": rows_of(root, engine), "auc": aucs(root, engine, types)}
            found[engine] = {**own, "stages": stages}
            print(f"{persons:>9,} {engine:<8} {json.dumps(found[engine])}", flush=True)
        return found


def arrange(root: Path, persons: int) -> None:
    """Write a project's folder: the sample's size in params.yaml, the code as a link."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    section = params["problems"][PROBLEM]
    units = round(persons / PERSONS_A_UNIT)
    years = [2019, 2020, 2021, 2022]
    section["source"]["sample"] |= {"units": units, "years": years}
    train = {f"{PROBLEM}-{name}": params["train"][f"{PROBLEM}-{name}"] for name in TYPES}
    for name, trees in TREES.items():
        train[f"{PROBLEM}-{name}"]["params"]["n_estimators"] = trees
    spark = json.loads(json.dumps(train))
    forest = spark[f"{PROBLEM}-random_forest"]["params"]
    del forest["max_leaf_nodes"]
    forest["max_depth"] = 12
    content = {
        "problems": {PROBLEM: section},
        "train": train,
        "prepare_spark": {PROBLEM: {"partitions": 2}},
        "train_spark": spark,
    }
    (root / "params.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    for name in ("dvc.yaml", "spark/dvc.yaml"):
        (root / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(ROOT / name, root / name)
    (root / "src").symlink_to(ROOT / "src")


def commands(engine: str, types: list[str]) -> dict[str, tuple[str, ...]]:
    """Return the modules of an engine's stages, with what follows --problem."""
    if engine == "spark":
        fits = {n: ("lockstep.engines.train_spark", "--type", n) for n in types}
        return {"prepare": ("lockstep.engines.prepare_spark",), **fits}
    fits = {n: ("lockstep.models.train_multi_model", "--type", n) for n in types}
    prepared = ("lockstep.data.preprocess", "lockstep.features.build_features")
    return {"preprocess": prepared[:1], "features": prepared[1:], **fits}


def stage(root: Path, module: str, *words: str) -> dict[str, float]:
    """Run one stage; return its seconds, and the largest memory of its processes in GB."""
    own = {"LOCKSTEP_PUBLISH": "0", "DVC_STAGE": "bench", "LOCKSTEP_SPARK_MEMORY": MEMORY}
    command = [sys.executable, "-m", module, "--problem", PROBLEM, *words]
    started, most = time.monotonic(), 0.0
    process = subprocess.Popen(
        command, cwd=root, env={**os.environ, **own}, stdout=subprocess.DEVNULL, stderr=None
    )
    watched = psutil.Process(process.pid)
    while process.poll() is None:
        most = max(most, memory_of(watched))
        time.sleep(STEP_SECONDS)
    if process.returncode:
        sys.exit(f"{module} {' '.join(words)} ended with exit code {process.returncode}")
    return {"seconds": round(time.monotonic() - started, 1), "gb": round(most / 1e9, 2)}


def memory_of(process: psutil.Process) -> float:
    """Return the proportional memory of a process and all below it, in bytes."""
    found = 0.0
    try:
        for one in (process, *process.children(recursive=True)):
            found += one.memory_full_info().pss
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return found
    return found


def total(stages: dict[str, dict[str, float]]) -> dict[str, float]:
    """Return the seconds of all stages and the largest memory of one."""
    seconds = round(sum(one["seconds"] for one in stages.values()), 1)
    return {"seconds": seconds, "gb": max(one["gb"] for one in stages.values())}


def rows_of(root: Path, engine: str) -> int:
    """Return the rows of the tidy table: how many persons the sample really has."""
    tidy = ProblemLayout(root, PROBLEM, "spark" if engine == "spark" else "").tidy
    files = [tidy] if tidy.is_file() else sorted(tidy.glob("*.parquet"))
    return sum(pq.read_metadata(file).num_rows for file in files)


def aucs(root: Path, engine: str, types: list[str]) -> dict[str, float]:
    """Return the test AUC of each type."""
    folder = root / ("spark" if engine == "spark" else "") / "metrics" / PROBLEM / "types"
    read = {n: json.loads((folder / n / "details.json").read_text()) for n in types}
    return {name: round(one["test"]["roc_auc"], 5) for name, one in read.items()}


if __name__ == "__main__":
    main()
