"""What DVC and the registry cost: `make run-train` beside the same stage work in one process.

    python benchmarks/governance.py [--units 20000 …] [--turns 3] [--output FILE.json]

Each turn is made in a new clone of this repository's last commit, and the sides take turns. The
one process runs the stages' own code one after the other; it has neither DVC nor MLflow. Then the
same clone runs `make run-train` again with nothing changed, beside `dvc repro` of a graph with the
same stages that do nothing.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).parents[1]
PROBLEM = "accidents"
TYPES = ("logistic_regression", "random_forest", "xgboost", "lightgbm")
UNSET = ("MLFLOW_", "DAGSHUB", "LOCKSTEP_", "DVC_", "PYTHON")
OF_ENVIRONMENT = (
    "requirements.lock",
    "requirements-dev.lock",
    "pyproject.toml",
    "scripts/make_env.sh",
)
OWN = "--stage-work"


class Cost(NamedTuple):
    """What a command took, in seconds."""

    wall: float
    processor: float


def main() -> int:
    """Measure, print and write the figures."""
    if sys.argv[1:2] == [OWN]:
        return stage_work()
    options = parser().parse_args()
    found = [measured(units, options.turns) for units in options.units]
    for one in found:
        print(text_of(one), flush=True)
    if options.output:
        machine = {"cores": os.cpu_count(), "python": sys.version.split()[0]}
        content = {"machine": machine, "sizes": found}
        options.output.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    top = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    units = "accidents of the sample; 2.28 persons each (default: 20000)"
    top.add_argument("--units", type=int, nargs="+", default=[20_000], help=units)
    top.add_argument("--turns", type=int, default=3, help="how often each side is measured")
    top.add_argument("--output", type=Path, help="a JSON file for the figures")
    return top


def stage_work() -> int:
    """Run all stages of the problem in this process, as DVC would run each in one of its own."""
    os.environ.update({"DVC_STAGE": "bench", "LOCKSTEP_PUBLISH": "0"})
    stages = [("data.import_raw", ()), ("data.preprocess", ()), ("features.build_features", ())]
    stages += [("models.train_multi_model", ("--type", name)) for name in TYPES]
    for name, more in [*stages, ("models.compare_models", ())]:
        sys.argv[1:] = ["--problem", PROBLEM, *more]
        importlib.import_module(f"lockstep.{name}").main()
    return 0


def measured(units: int, turns: int) -> dict[str, Any]:
    """Return the costs of all sides at one size."""
    sides: dict[str, Callable[[Path], Cost]] = {
        "one process": lambda root: cost(
            root, sys.executable, str(ROOT / "benchmarks" / "governance.py"), OWN
        ),
        "make run-train": lambda root: cost(root, "make", "run-train"),
    }
    again: dict[str, Callable[[Path], Cost]] = {
        "nothing changed": lambda root: cost(root, "make", "run-train"),
        "empty graph": empty_graph,
    }
    costs: dict[str, list[Cost]] = {name: [] for name in [*sides, *again]}
    for turn in range(turns):
        order = list(sides.items())[:: 1 if turn % 2 == 0 else -1]
        for name, run in order:
            with tempfile.TemporaryDirectory() as folder:
                root = clone(Path(folder), units)
                costs[name].append(run(root))
                if name == "make run-train":
                    for other, run_again in again.items():
                        costs[other].append(run_again(root))
        seconds = {name: [round(one.wall, 1) for one in found] for name, found in costs.items()}
        print(seconds, file=sys.stderr, flush=True)
    return {"units": units, "seconds": {k: [one._asdict() for one in v] for k, v in costs.items()}}


def clone(folder: Path, units: int) -> Path:
    """Return a clone with this environment and a sample of some size, without data or registry."""
    root = folder / "lockstep"
    subprocess.run(["git", "clone", "-q", ROOT, root], check=True)
    (root / ".venv").symlink_to(sys.prefix)
    for name in OF_ENVIRONMENT:  # make would build the environment anew for newer files
        os.utime(root / name, (0, 0))
    params = yaml.safe_load((root / "params.yaml").read_text())
    params["problems"][PROBLEM]["source"]["sample"]["units"] = units
    (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    return root


def empty_graph(root: Path) -> Cost:
    """Return the cost of `dvc repro` with nothing changed on stages that do nothing."""
    empty = root.with_name("empty")
    if not empty.exists():
        shutil.copytree(
            root / ".dvc", empty / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp")
        )
        subprocess.run(["git", "init", "-q"], cwd=empty, check=True)
        (empty / "dvc.yaml").write_text(yaml.safe_dump({"stages": dict(empty_stages())}))
        run_quietly(empty, "dvc", "repro")
    return cost(empty, "dvc", "repro")


def empty_stages() -> list[tuple[str, dict[str, Any]]]:
    """Return a graph of the problem's shape whose stages write their names."""

    def stage(name: str, *deps: str, **more: Any) -> tuple[str, dict[str, Any]]:
        return name, {"cmd": f"echo {name} > {name}", "deps": list(deps), "outs": [name], **more}

    types = [stage(f"train_{name}", "features") for name in TYPES]
    return [
        stage("code", always_changed=True),
        stage("import_raw", "code"),
        stage("preprocess", "code", "import_raw"),
        stage("features", "code", "preprocess"),
        *types,
        stage("compare", *(name for name, _ in types)),
        stage("register", "compare", always_changed=True),
    ]


def cost(root: Path, *command: str) -> Cost:
    """Run a command in a folder and return what it took, its children included."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    run_quietly(root, *command)
    wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Cost(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def run_quietly(root: Path, *command: str) -> None:
    """Run a command; what it printed ends the benchmark if it failed."""
    own = {"PATH": f"{sys.prefix}/bin{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": f"{root}/src"}
    kept = {k: v for k, v in os.environ.items() if not k.startswith(UNSET)}
    done = subprocess.run(
        command, cwd=root, env=kept | own, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{done.stdout}\n{done.stderr}\n{command} failed")


def text_of(size: dict[str, Any]) -> str:
    """Return the medians of one size as text."""
    middle = {
        name: statistics.median(one["wall"] for one in found)
        for name, found in size["seconds"].items()
    }
    lines = [f"{size['units']} accidents; medians in seconds"]
    lines += [f"  {name:<16}{seconds:8.1f}" for name, seconds in middle.items()]
    ratio = middle["make run-train"] / middle["one process"]
    above = middle["nothing changed"] - middle["empty graph"]
    lines.append(f"  ratio {ratio:.2f}; nothing changed: {above:.1f} s above an empty graph")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
