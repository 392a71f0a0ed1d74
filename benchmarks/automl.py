"""This project beside AutoML libraries: the same rows, the same seconds, the same test rows.

python benchmarks/automl.py NAME FILE [--seconds 120] [--sides ours flaml …] [--before "…"]

NAME is one of TABLES, FILE its table (docs/results.md names the publishers). The first run for a
table makes a workspace in the cache folder: a clone, `make add-data` or `make new-problem`, and the
stages up to `preprocess`. Each library gets an environment of its own there, from
`benchmarks/automl/LIBRARY.txt`. The libraries get the columns as `preprocess` read them, and all
rows that are not test rows; this project cuts its validation rows out of the same rows.

A shipped problem begins with the hyperparameters of params.yaml and with columns derived for it,
which earlier work on its training and validation rows chose. A drafted one begins with the draft's.
On a machine that is busy otherwise the figures say little: boosters' threads wait for each other.

``--before`` is put before each side's command, as `taskset -c 0,1`. Results are merged into
benchmarks/results/automl.json; without NAME and FILE, the table of docs/results.md is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lockstep.config.layout import PARTS, ProblemLayout
from lockstep.console import aligned
from lockstep.evaluation.bootstrap import interval, resampled
from lockstep.evaluation.metrics import Scored, evaluate
from lockstep.problems.schema import Schema, read_schema

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent
RESULTS = HERE / "results" / "automl.json"
LIBRARIES = ("flaml", "autogluon", "mljar")
OURS = "ours"
RESAMPLES = 1000
METRIC = {"binary": "roc_auc", "multiclass": "log_loss", "regression": "rmse"}


@dataclass(frozen=True)
class Table:
    """A table of the comparison: a shipped problem, or one to draft by its target."""

    task: str
    problem: str = ""
    target: str = ""
    settings: tuple[str, ...] = ()


TABLES = {
    "accidents": Table("binary", "accidents", "", ("problems.accidents.split.validation=0.1",)),
    "credit_risk_dataset": Table("binary", "credit_risk_dataset"),
    "california_housing": Table("regression", "california_housing"),
    "adult": Table("binary", target="class"),
    "diamonds": Table("regression", target="price"),
    "letters": Table("multiclass", target="lettr"),
}


@dataclass(frozen=True)
class Workspace:
    """A clone with one table's data; everything about the table lies below it."""

    root: Path
    problem: str

    @property
    def split(self) -> Path:
        """The raw columns of every row that is used, by its number, with ``part__``."""
        return self.root / "automl" / "split.csv"

    def out(self, side: str) -> Path:
        """The file that a side writes."""
        return self.root / "automl" / f"{side}.json"

    @property
    def variables(self) -> dict[str, str]:
        """The environment of this project's own commands in the clone."""
        return {**os.environ, "PYTHONPATH": str(self.root / "src"), "LOCKSTEP_PUBLISH": "0"}

    def run(self, *command: str) -> None:
        """Run a command of this project in the clone."""
        subprocess.run(command, cwd=self.root, env=self.variables, check=True)


def cache() -> Path:
    """Return the folder of workspaces and environments, outside the project."""
    found = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(found) / "lockstep-automl"


def workspace(name: str, file: Path) -> Workspace:
    """Return a table's workspace; made if it is missing."""
    table = TABLES[name]
    found = Workspace(cache() / name, table.problem or name)
    if found.split.is_file():
        return found
    subprocess.run(["git", "clone", "-q", str(PROJECT), str(found.root)], check=True)
    module, where = [sys.executable, "-m"], str(file.resolve())
    if table.problem:
        given = ["--problem", found.problem, "--from", where]
        found.run(*module, "lockstep.commands.add_data", *given)
    else:
        given = ["--name", name, "--file", where, "--target", table.target, "--task", table.task]
        found.run(*module, "lockstep.commands.new_problem", *given)
    if table.settings:
        found.run(sys.executable, str(HERE / "set_params.py"), *table.settings)
    for stage in ("data.import_raw", "data.preprocess", "features.build_features"):
        found.run(*module, f"lockstep.{stage}", "--problem", found.problem)
    write_split(found)
    return found


def write_split(found: Workspace) -> None:
    """Write the raw columns with each row's part, so that every side has the same test rows."""
    layout, schema = ProblemLayout(found.root, found.problem), schema_of(found)
    assert list(schema.columns[schema.target].codes) == sorted(schema.columns[schema.target].codes)
    table = pd.read_parquet(layout.tidy)
    part = np.full(len(table), "", dtype=object)
    for name in PARTS:
        rows = pd.read_parquet(layout.matrix(name), columns=["__row__"])["__row__"]
        part[rows] = "test" if name == "test" else "train"
    columns = [*schema.feature_names, schema.target]
    raw = table[columns].assign(part__=part)
    found.split.parent.mkdir(exist_ok=True)
    raw[part != ""].rename_axis("row__").to_csv(found.split)


def schema_of(found: Workspace) -> Schema:
    """Return the problem's schema in the clone."""
    problems = found.root / "src" / "lockstep" / "problems"
    return read_schema(problems / found.problem / "schema.yaml")


def python_of(library: str) -> Path:
    """Return the interpreter of a library's environment; made from its pins if it is missing."""
    folder = cache() / "environments" / library
    python = folder / "bin" / "python"
    if not (folder / ".ready").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        pins = str(HERE / "automl" / f"{library}.txt")
        subprocess.run([str(python), "-m", "pip", "install", "-q", "-r", pins], check=True)
        (folder / ".ready").touch()
    return python


def measure(found: Workspace, task: str, side: str, seconds: float, before: list[str]) -> None:
    """Run one side; it writes its file."""
    out = str(found.out(side))
    if side == OURS:
        script = [sys.executable, str(HERE / "automl_ours.py"), found.problem, out]
    else:
        script = [str(python_of(side)), str(HERE / "automl_side.py"), side, str(found.split), out]
        script += ["--target", schema_of(found).target, "--task", task]
    command = [*before, *script, "--seconds", str(seconds)]
    variables = found.variables if side == OURS else {**os.environ, "PYTHONPATH": ""}
    subprocess.run(command, cwd=found.root, env=variables, check=True)


def allowed(found: Workspace, side: str, seconds: float) -> float:
    """Return a side's seconds: a library gets as many as this project took, if that was more."""
    took = read(found, OURS)["seconds"] if side != OURS and found.out(OURS).is_file() else 0.0
    return max(seconds, took)


def scores_of(found: Workspace, task: str, sides: list[str]) -> dict[str, Scored]:
    """Return the test rows as each side scored them, in the order of this project's matrix."""
    ours = json.loads(found.out(OURS).read_text(encoding="utf-8"))
    matrix = pd.read_parquet(ProblemLayout(found.root, found.problem).matrix("test"))
    rows, target = matrix["__row__"].to_numpy(), matrix["__target__"].to_numpy()
    assert ours["row"] == rows.tolist(), "the split has changed; run ours again"
    table = pd.read_csv(found.split, low_memory=False)
    place = pd.Series(range((table["part__"] == "test").sum()))
    place.index = table.loc[table["part__"] == "test", "row__"]
    scores = {f"{OURS}: {kind}": np.array(ours[kind]["scores"]) for kind in ("single", "blend")}
    for side in sides:
        scores[side] = np.array(read(found, side)["scores"])[place[rows]]
    return {name: _scored(target, values, task) for name, values in scores.items()}


def read(found: Workspace, side: str) -> dict[str, Any]:
    """Return what a side wrote."""
    return dict(json.loads(found.out(side).read_text(encoding="utf-8")))


def _scored(target: Any, scores: Any, task: str) -> Scored:
    if task == "regression":
        return Scored(target, scores)
    if task == "multiclass":
        return Scored(target, scores, None, scores.argmax(axis=1))
    return Scored(target, scores[:, 1] if scores.ndim == 2 else scores, 0.5)


def compared(found: Workspace, task: str, seconds: float) -> dict[str, Any]:
    """Return each side's test metric and its paired difference to this project's blend."""
    sides = [side for side in LIBRARIES if found.out(side).is_file()]
    rows, metric = scores_of(found, task, sides), METRIC[task]
    matrix = pd.read_parquet(ProblemLayout(found.root, found.problem).matrix("test"))
    drawn = resampled(rows, matrix["__group__"].to_numpy(), RESAMPLES)
    blend, result = f"{OURS}: blend", {}
    for name, one in rows.items():
        own = read(found, name.partition(":")[0])
        part = own[name.partition(": ")[2]] if name.startswith(OURS) else own
        gap = interval(drawn[name][metric] - drawn[blend][metric])
        result[name] = {
            metric: round(evaluate(one)[metric], 6),
            "minus_our_blend": [round(end, 6) for end in gap],
            "seconds": round(own["seconds"], 1),
            "made": part["made"][:300],
        }
    ours = read(found, OURS)
    parts = pd.read_csv(found.split, usecols=["part__"])["part__"]
    counts = {name: int(count) for name, count in parts.value_counts().items()}
    return {
        "task": task,
        "metric": metric,
        "rows": counts,
        "seconds_each": seconds,
        "trials": ours["trials"],
        "validation": {name: round(value, 6) for name, value in ours["validation"].items()},
        "sides": result,
    }


def machine() -> dict[str, Any]:
    """Return the properties of this machine that matter."""
    return {"cores": os.cpu_count(), "python": sys.version.split()[0], "system": sys.platform}


def shown() -> str:
    """Return the stored results as a table."""
    rows: list[dict[str, Any]] = []
    for name, found in json.loads(RESULTS.read_text(encoding="utf-8"))["tables"].items():
        metric = found["metric"]
        for side, own in found["sides"].items():
            low, high = own["minus_our_blend"]
            apart = "" if side == f"{OURS}: blend" else f"{low:+.4f} … {high:+.4f}"
            rows.append(
                {
                    "table": name,
                    "side": side,
                    "test": f"{metric} {own[metric]:.4f}",
                    "minus our blend": apart,
                    "took": f"{own['seconds']:.0f} s",
                }
            )
    return aligned(rows)


def main() -> None:
    """Prepare, measure the sides, compare, store, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", nargs="?", choices=TABLES)
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--sides", nargs="*", default=[OURS, *LIBRARIES])
    parser.add_argument("--before", default="", help="put before each side's command")
    given = parser.parse_args()
    if given.name:
        task, found = TABLES[given.name].task, workspace(given.name, given.file)
        for side in given.sides:
            measure(
                found, task, side, allowed(found, side, given.seconds), shlex.split(given.before)
            )
        stored = {"tables": {}}
        if RESULTS.is_file():
            stored = json.loads(RESULTS.read_text(encoding="utf-8"))
        stored["machine"] = machine()
        stored["tables"][given.name] = compared(found, task, given.seconds)
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
    print(shown())


if __name__ == "__main__":
    main()
