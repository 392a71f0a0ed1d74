"""The short form of the benchmarks for CI: fails if a ratio is a third worse than expected.

    python benchmarks/ratios.py          # compare with benchmarks/expected.json
    python benchmarks/ratios.py --renew  # measure, then write the figures there

A ratio compares the processor time of something cheap with that of a reference beside it, which
does the least that any program of the kind must do. Processor time varies little while other work
runs, and a ratio less. Sides take turns; medians count. What seems worse is measured once more.
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).parent))
from costs import ROOT, cost, middle, run_quietly
from governance import empty_graph
from serve import empty_server, own_server, request_rows
from sides import Lockstep

from lockstep.config.layout import ProblemLayout
from lockstep.console import aligned
from lockstep.problems.schema import load_schema

EXPECTED = ROOT / "benchmarks" / "expected.json"
WORSE = 4 / 3
"""A ratio above so many times the expected one fails."""
PROBLEM, TYPE, MODEL = "credit_risk", "xgboost", "credit-risk-model"
UNITS, TREES = 1000, 10
TURNS, REQUESTS = 2, 600
STORE = {"MLFLOW_TRACKING_URI": "sqlite:///mlflow.db", "PYTHONPATH": str(ROOT / "src")}
PREDICTION_IMPORTS = "import numpy, pandas, sklearn.pipeline, xgboost, skops.io, sqlite3, pydantic"
LIGHT_IMPORTS = "import argparse, dataclasses, json, pathlib, sqlite3"
Measure = Callable[[Path, int], float]


def main() -> int:
    """Measure all ratios; compare them with what is expected, or write that anew."""
    top = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    top.add_argument("--renew", action="store_true", help=f"write {EXPECTED.name}")
    top.add_argument("--turns", type=int, default=TURNS, help="how often each side is measured")
    options = top.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = workspace(Path(folder))
        if options.renew:
            found = {name: measure(root, options.turns) for name, measure in RATIOS.items()}
            EXPECTED.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
            print(table(found, found))
            return 0
        return check(RATIOS, json.loads(EXPECTED.read_text()), root, options.turns)


def check(measures: dict[str, Measure], expected: dict[str, float], root: Path, turns: int) -> int:
    """Measure, print a table, and return 1 if a ratio is a third worse, twice in a row."""
    if measures.keys() != expected.keys():
        raise SystemExit(f"{EXPECTED.name} names other ratios; run benchmarks/ratios.py --renew")
    found = {name: measure(root, turns) for name, measure in measures.items()}
    for name in worse(found, expected):
        found[name] = min(found[name], measures[name](root, turns))
    print(table(found, expected))
    failed = worse(found, expected)
    if failed:
        fix = "after a change that must cost so much: python benchmarks/ratios.py --renew"
        print(f"✗ worse by a third or more: {', '.join(failed)}; {fix}", file=sys.stderr)
    return 1 if failed else 0


def worse(found: dict[str, float], expected: dict[str, float]) -> list[str]:
    """Return the names of ratios that are a third worse than expected."""
    return [name for name, value in found.items() if value >= expected[name] * WORSE]


def table(found: dict[str, float], expected: dict[str, float]) -> str:
    """Return the ratios as a table."""
    rows = [
        {"ratio": n, "found": f"{v:.2f}", "expected": f"{expected[n]:.2f}",
         "fails at": f"{expected[n] * WORSE:.2f}"}
        for n, v in found.items()
    ]  # fmt: skip
    return aligned(rows)


def workspace(folder: Path) -> Path:
    """Return a clone of the last commit with one small trained and registered model."""
    root = Lockstep().clone(folder)

    def edit(params: dict[str, Any]) -> None:
        section, key = params["problems"][PROBLEM], f"{PROBLEM}-{TYPE}"
        section["source"]["sample"]["units"] = UNITS
        section["compare"]["resamples"] = 100
        section["model_types"] = [TYPE]
        row = params["train"][key] | {"cv_folds": 0}
        row["params"]["n_estimators"] = TREES
        params.clear()
        params.update({"problems": {PROBLEM: section}, "train": {key: row}})

    Lockstep().change(root, edit)
    run_quietly(root, *TRAIN, variables=STORE)
    record = request_rows(load_schema(PROBLEM), 1)
    (root / "row.json").write_text(json.dumps(record), encoding="utf-8")
    return root


TRAIN = ("python", "-m", "lockstep.commands.train", "--problem", PROBLEM)


def of_commands(ours: tuple[str, ...], reference: tuple[str, ...]) -> Measure:
    """Return what measures the ratio of two commands' processor time."""

    def measure(root: Path, turns: int) -> float:
        both = [
            (cost(root, *ours, variables=STORE), cost(root, *reference, variables=STORE))
            for _ in range(turns)
        ]
        mine, theirs = (middle(one) for one in zip(*both, strict=True))
        return round(mine.processor / theirs.processor, 3)

    return measure


def nothing_changed(root: Path, turns: int) -> float:
    """Return the ratio of a training with nothing to do to an empty DVC graph."""
    both = [(cost(root, *TRAIN, variables=STORE), empty_graph(root)) for _ in range(turns)]
    mine, theirs = (middle(one) for one in zip(*both, strict=True))
    return round(mine.processor / theirs.processor, 3)


def served_row(root: Path, turns: int) -> float:
    """Return the ratio of the API's processor time for one row to an empty route's."""
    record = json.dumps(json.loads((root / "row.json").read_text())[0]).encode()
    model = ProblemLayout(root, PROBLEM).model(TYPE)
    with ExitStack() as stack:
        ports, servers = [], []
        for server in (own_server(PROBLEM, model, root), empty_server(PROBLEM)):
            before = set(psutil.Process().children())
            ports.append(stack.enter_context(server))
            servers.append(next(iter(set(psutil.Process().children()) - before)))
        for port in ports:
            post(port, record, REQUESTS // 4)
        spent: list[list[float]] = [[], []]
        for _ in range(turns):
            for side, port in enumerate(ports):
                began = sum(servers[side].cpu_times()[:2])
                post(port, record, REQUESTS)
                spent[side].append(sum(servers[side].cpu_times()[:2]) - began)
    mine, theirs = map(statistics.median, spent)
    return round(mine / theirs, 3)


def post(port: int, body: bytes, times: int) -> None:
    """Send the same record so many times, over one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    for _ in range(times):
        connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        if answer.status != 200 or not answer.read():
            raise SystemExit(f"/predict answered {answer.status}")
    connection.close()


SCRIPTS = ROOT / "scripts" / "manage_model_registry.py"
PREDICT = ROOT / "src" / "models" / "predict_model.py"
RATIOS: dict[str, Measure] = {
    "a command's help / light imports": of_commands(
        ("python", str(SCRIPTS), "--help"), ("python", "-c", LIGHT_IMPORTS)
    ),
    "list-versions / light imports": of_commands(
        ("python", str(SCRIPTS), "list-versions", "--model-name", MODEL),
        ("python", "-c", LIGHT_IMPORTS),
    ),
    "cold prediction / its libraries": of_commands(
        ("python", str(PREDICT), "row.json", "--model-name", MODEL, "--version", "1"),
        ("python", "-c", PREDICTION_IMPORTS),
    ),
    "nothing changed / empty DVC graph": nothing_changed,
    "one served row / empty route": served_row,
}


if __name__ == "__main__":
    sys.exit(main())
