"""What a challenger in the shadow costs: the API with SHADOW=Staging beside the API without it.

Both serve version 1 of one registry; version 2 is in Staging. One closed-loop client asks them in
turns of a second, and each turn begins when the challenger has scored all requests so far. A turn's
figures are compared with those of the other side's turn beside it; medians over the turns count.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
import small_registry
from serve import Case, free_port, measured, process, request_rows, responds

OFF, ON = "without", "SHADOW=Staging"
THROUGHPUT, P99 = 0.9, 1.2
GOALS = f"one client: requests/s at least {THROUGHPUT:g} of without, p99 at most {P99:g} times"
CASES = ((1, 1), (1, 8))
"""Records a request, and number of clients; the goals are those of one client."""
LATE_SECONDS = 60


def main() -> int:
    """Measure, report, and fail where a goal is missed."""
    options = parser().parse_args()
    from lockstep.problems.schema import load_schema

    records = request_rows(load_schema(options.problem), 200)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        root = Path(folder) / "workspace"
        name = prepared(root, options.problem)
        ports = {
            side: stack.enter_context(server(root, name, options.problem, side))
            for side in (OFF, ON)
        }
        watch = Watch(ports[ON])
        sides = {side: (port, "/predict", lambda rows: rows[0]) for side, port in ports.items()}
        measured(sides, records, 2, CASES[:1], watch.settle)  # the first seconds fill caches
        found = measured(sides, records, options.seconds, CASES, watch.settle)
        watch.settle()
        figures = summary(found) | {"challenger": watch.figures()}
    report(figures)
    if options.output is not None:
        options.output.write_text(json.dumps(figures, indent=2) + "\n")
    return 0 if figures["goals_met"] else 1


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    top = argparse.ArgumentParser(description=__doc__)
    top.add_argument("--problem", default="credit_risk")
    top.add_argument("--seconds", type=float, default=30.0, help="turns of each side and case")
    top.add_argument("--output", type=Path, help="file for the figures, as JSON")
    return top


def prepared(root: Path, problem: str) -> str:
    """Make a registry with version 1 in Production and version 2 in Staging; return its name."""
    from lockstep.config.settings import load_settings
    from lockstep.registry.lifecycle.moves import promote, transition
    from lockstep.registry.store.connection import connect

    name = small_registry.make(root, problem)
    client = connect(load_settings(root, environ={}), root)
    promote(client, name, 1)
    transition(client, name, 2, "Staging")
    return name


@contextmanager
def server(root: Path, name: str, problem: str, side: str) -> Iterator[int]:
    """Run one API server over the registry, with prediction log, request log and metrics."""
    port, logs = free_port(), root / side
    variables = {
        **small_registry.LOCAL,
        "PROBLEM": problem,
        "MLFLOW_MODEL_NAME": name,
        "MODEL_PATH": "",
        "PORT": str(port),
        "HOST": "127.0.0.1",
        "PREDICTION_LOG": str(logs / "predictions"),
        "SERVING_LOG": str(logs / "requests.jsonl"),
        "SHADOW": "Staging" if side == ON else "0",
    }
    command = [sys.executable, "-m", "lockstep.serving"]
    with process(command, responds(port, "/health/ready"), cwd=root, **variables):
        yield port


class Watch:
    """Follows how many requests the challenger has scored."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.latest = 0.0
        """The longest time that the challenger needed after a turn, in seconds."""

    def metric(self, name: str) -> int:
        """Return one of the server's own counts."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10) as got:
            text = got.read().decode()
        return sum(int(float(one)) for one in re.findall(rf"^{name} (\S+)$", text, re.M))

    def figures(self) -> dict[str, Any]:
        """Return how many requests were answered, scored again and dropped."""
        answered = self.metric(r'lockstep_rows_total\{route="/predict"\}')
        names = {"scored": "lockstep_shadow_rows", "dropped": "lockstep_shadow_dropped"}
        counts = {word: self.metric(name) for word, name in names.items()}
        return {"answered": answered, **counts, "seconds_behind": round(self.latest, 1)}

    def settle(self) -> None:
        """Wait until every answered request is scored or dropped."""
        began = time.monotonic()
        while (seconds := time.monotonic() - began) < LATE_SECONDS:
            counts = self.figures()
            if counts["answered"] <= counts["scored"] + counts["dropped"]:
                self.latest = max(self.latest, seconds)
                return
            time.sleep(0.05)
        raise SystemExit(f"the challenger is {LATE_SECONDS} s behind: {counts}")


def summary(found: dict[Case, list[list[float]]]) -> dict[str, Any]:
    """Return the medians over turns of each side's figures and of their ratios."""
    cases = {}
    for rows, clients in CASES:
        turns = {side: turns_of(found[side, rows, clients]) for side in (OFF, ON)}
        turns["ratios"] = turns[ON] / turns[OFF]
        medians = {name: np.median(values, axis=0).tolist() for name, values in turns.items()}
        cases[f"{clients} clients"] = {
            name: dict(zip(NAMES, values, strict=True)) for name, values in medians.items()
        }
    ratios = cases["1 clients"]["ratios"]
    met = ratios["requests_per_second"] >= THROUGHPUT and ratios["p99_ms"] <= P99
    return {"cases": cases, "goals": GOALS, "goals_met": bool(met)}


NAMES = ("requests_per_second", "p50_ms", "p99_ms")


def turns_of(turns: list[list[float]]) -> np.ndarray:
    """Return requests a second, p50 and p99 in ms of each turn (turns, 3)."""
    rows = [[len(one), *(1000 * np.quantile(one, [0.5, 0.99]))] for one in turns]
    return np.array(rows, dtype=float)


def report(figures: dict[str, Any]) -> None:
    """Print the figures."""
    print(f"{'':28}  requests/s   p50 ms   p99 ms")
    for case, sides in figures["cases"].items():
        for side, values in sides.items():
            speed, p50, p99 = (values[name] for name in NAMES)
            words = f"{speed:10.3f}" if side == "ratios" else f"{speed:10.1f}"
            print(f"{case + ', ' + side:28}  {words}  {p50:7.3f}  {p99:7.3f}")
    print(f"challenger: {figures['challenger']}")
    print(f"goals: {figures['goals']}: {'met' if figures['goals_met'] else 'MISSED'}")


if __name__ == "__main__":
    sys.exit(main())
