"""What DVC and the registry cost: `make run-train` beside one process, and beside alternatives.

    python benchmarks/governance.py [--units 20000 …] [--turns 3] [--output FILE.json]
        [--alternatives] [--environments FOLDER]

The one process runs the stages' own code one after the other; it has neither DVC nor MLflow. Sides
take turns, each turn in a new project folder. They run again with nothing changed. A side that
keeps results then runs with one parameter changed, and with one model type added.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).parent))
from costs import Cost, cost, middle, run_quietly, write_results
from sides import (
    ENVIRONMENTS,
    PROBLEM,
    STAGE_WORK,
    Alternative,
    Lockstep,
    OneProcess,
    alternatives,
    stage_work,
)

from lockstep.config.layout import project_root
from lockstep.config.params import load_params
from lockstep.console import aligned

FIRST, AGAIN = "first run", "nothing changed"
CHANGES = {"one parameter changed": "change_parameter", "one type added": "add_type"}
EMPTY = "empty DVC graph"
AUC_TOLERANCE = 2e-6
"""Metrics of the stages have six digits."""
Side = Lockstep | Alternative
Found = dict[str, dict[str, list[Cost]]]


def main() -> int:
    """Measure, print and write the figures."""
    if sys.argv[1:2] == [STAGE_WORK]:
        return stage_work()
    options = parser().parse_args()
    sides: list[Side] = [OneProcess(), Lockstep()]
    failed: dict[str, str] = {}
    if options.alternatives:
        others, failed = installed(options.environments)
        sides += others
    found = []
    for units in options.units:
        found.append(measured(units, options.turns, sides, failed))
        print(text_of(found[-1]), flush=True)
    content = {"turns": options.turns, "failed": failed, "sizes": found}
    sizes = "-".join(str(units) for units in options.units)
    write_results(options.output, f"governance-{sizes}", content)
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    top = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    units = "accidents of the sample; 2.28 persons each (default: 20000)"
    top.add_argument("--units", type=int, nargs="+", default=[20_000], help=units)
    top.add_argument("--turns", type=int, default=3, help="how often each side is measured")
    top.add_argument("--alternatives", action="store_true", help="measure the alternatives too")
    where = f"folder of the alternatives' environments (default: {ENVIRONMENTS})"
    top.add_argument("--environments", type=Path, default=ENVIRONMENTS, help=where)
    top.add_argument("--output", type=Path, help="a JSON file for the figures, or a folder")
    return top


def installed(environments: Path) -> tuple[list[Alternative], dict[str, str]]:
    """Return the alternatives whose environment could be made, and why others could not."""
    found, failed = [], {}
    for side in alternatives(environments):
        try:
            side.install()
            found.append(side)
        except SystemExit as error:
            give_up(side, error, failed)
    return found, failed


def measured(units: int, turns: int, sides: list[Side], failed: dict[str, str]) -> dict[str, Any]:
    """Return the costs and the test ROC AUCs of all sides at one size.

    An alternative that fails is left out from then on; ``failed`` gets the reason.
    """
    costs: Found = defaultdict(lambda: defaultdict(list))
    aucs: dict[str, list[float]] = {}
    for turn in range(turns):
        order = sides[:: 1 if turn % 2 == 0 else -1]
        with tempfile.TemporaryDirectory() as folder:
            roots = prepared(order, Path(folder), units, failed)
            for side, root in roots.items():
                try:
                    aucs[side.name] = measure_side(side, root, costs)
                except SystemExit as error:
                    give_up(side, error, failed)
                    continue
                last = {label: found[-1] for label, found in costs[side.name].items()}
                progress = {"units": units, "turn": turn, "side": side.name, "costs": last}
                print(json.dumps(progress), file=sys.stderr, flush=True)
    check_aucs(aucs)
    costs = {name: costs[name] for name in aucs}
    return {"units": units, "costs": costs, "medians": medians(costs), "test_roc_auc": aucs}


def prepared(
    sides: list[Side], folder: Path, units: int, failed: dict[str, str]
) -> dict[Side, Path]:
    """Return a new project of each side, before anything is measured."""
    roots = {}
    for side in sides:
        if side.name in failed:
            continue
        try:
            place = folder / str(len(roots))
            place.mkdir()
            roots[side] = side.prepare(place, units)
        except SystemExit as error:
            give_up(side, error, failed)
    return roots


def give_up(side: Side, error: SystemExit, failed: dict[str, str]) -> None:
    """Note why an alternative can't be measured; a failure of our own ends the benchmark."""
    if not isinstance(side, Alternative):
        raise error
    failed[side.name] = str(error)[-1000:]
    print(f"{side.name} fails: {error}", file=sys.stderr, flush=True)


def measure_side(side: Side, root: Path, costs: Found) -> list[float]:
    """Run a side from nothing and after each change; return its first run's test ROC AUCs."""
    own = costs[side.name]

    def run(label: str) -> None:
        own[label].append(side.run(root))

    run(FIRST)
    aucs = side.aucs(root)
    if isinstance(side, OneProcess):
        return aucs
    run(AGAIN)
    if isinstance(side, Lockstep):
        own[EMPTY].append(empty_graph(root))
    if not side.caches:  # each change costs it what the first run did
        return aucs
    for label, change in CHANGES.items():
        getattr(side, change)(root)
        run(label)
    if len({*side.aucs(root)} - {*aucs}) != len(CHANGES):
        raise SystemExit(f"{side.name} did not train what was changed")
    return aucs


def check_aucs(aucs: dict[str, list[float]]) -> None:
    """End the benchmark if a side's models are not those of the others."""
    ours = aucs[OneProcess.name]
    for name, found in aucs.items():
        pairs = zip(ours, found, strict=True)
        if any(abs(one - other) > AUC_TOLERANCE for one, other in pairs):
            raise SystemExit(f"{name} has the test ROC AUCs {found}, one process {ours}")


def medians(costs: Found) -> dict[str, dict[str, Cost]]:
    """Return each side's median costs by what was run."""
    return {
        name: {label: middle(found) for label, found in own.items()} for name, own in costs.items()
    }


def empty_graph(root: Path) -> Cost:
    """Return the cost of `dvc repro` with nothing changed on stages that do nothing."""
    empty = root.with_name("empty")
    if not empty.exists():
        left_out = shutil.ignore_patterns("cache", "tmp")
        shutil.copytree(root / ".dvc", empty / ".dvc", ignore=left_out)
        subprocess.run(["git", "init", "-q"], cwd=empty, check=True)
        (empty / "dvc.yaml").write_text(yaml.safe_dump({"stages": dict(empty_stages())}))
        run_quietly(empty, "dvc", "repro")
    return cost(empty, "dvc", "repro")


def empty_stages() -> list[tuple[str, dict[str, Any]]]:
    """Return a graph of the problem's shape whose stages write their names."""

    def stage(name: str, *deps: str, **more: Any) -> tuple[str, dict[str, Any]]:
        return name, {"cmd": f"echo {name} > {name}", "deps": list(deps), "outs": [name], **more}

    names = load_params(project_root()).problem(PROBLEM).model_types
    types = [stage(f"train_{name}", "features") for name in names]
    return [
        stage("code", always_changed=True),
        stage("import_raw", "code"),
        stage("preprocess", "code", "import_raw"),
        stage("features", "code", "preprocess"),
        *types,
        stage("compare", *(name for name, _ in types)),
        stage("register", "compare", always_changed=True),
    ]


def text_of(size: dict[str, Any]) -> str:
    """Return the medians of one size as a table, beside the first run's ratio to one process."""
    found: dict[str, dict[str, Cost]] = size["medians"]
    base = found[OneProcess.name][FIRST]
    rows = []
    for name, own in found.items():
        ratios = {
            "ratio": f"{own[FIRST].wall / base.wall:.2f}",
            "of processor time": f"{own[FIRST].processor / base.processor:.2f}",
        }
        seconds = {label: f"{own[label].wall:.1f}" if label in own else "" for label in labels()}
        rows.append({"side": name, **seconds, **ratios})
    return f"{size['units']} accidents; medians, seconds of wall time\n{aligned(rows)}"


def labels() -> list[str]:
    """Return the names of all runs, in their order."""
    return [FIRST, AGAIN, *CHANGES, EMPTY]


if __name__ == "__main__":
    sys.exit(main())
