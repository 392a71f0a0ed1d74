"""Each stage's seconds, and a profile of the slowest.

    python benchmarks/stage_costs.py [--units 20000] [--turns 3] [--output FILE.json]

Each stage is a process of its own, as plain `dvc repro` runs it, in a new clone without a registry.
The slowest then runs once more under cProfile; its functions are ranked by their own time.
"""

from __future__ import annotations

import argparse
import pstats
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from costs import Cost, cost, middle, run_quietly, write_results
from sides import PROBLEM, Lockstep

from lockstep.config.params import load_params
from lockstep.console import aligned

TOP = 15
OWN = {"DVC_STAGE": "bench", "LOCKSTEP_PUBLISH": "0"}


def main() -> int:
    """Measure, print and write the figures."""
    options = parser().parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Lockstep().prepare(Path(folder), options.units)
        costs = measured(root, options.turns)
        found = {stage: middle(one) for stage, one in costs.items()}
        slowest = max(found, key=lambda stage: found[stage].wall)
        functions = profile(root, stages(root)[slowest])
    rows = [{"stage": k, "wall s": f"{v.wall:.1f}", "processor s": f"{v.processor:.1f}"}
            for k, v in found.items()]  # fmt: skip
    print(f"{aligned(rows)}\n\n{slowest}, by own time\n{aligned(functions)}")
    content = {"units": options.units, "costs": costs, "medians": found}
    content |= {"slowest": slowest, "profile": functions}
    write_results(options.output, "stages", content)
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    top = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    top.add_argument("--units", type=int, default=20_000, help="accidents of the sample")
    top.add_argument("--turns", type=int, default=3, help="how often each stage is measured")
    top.add_argument("--output", type=Path, help="a JSON file for the figures, or a folder")
    return top


def stages(root: Path) -> dict[str, list[str]]:
    """Return the module and options of each stage, in the order of the graph."""
    own = ["--problem", PROBLEM]
    types = load_params(root).problem(PROBLEM).model_types
    return {
        "code": ["lockstep.dvc.write_code"],
        "import_raw": ["lockstep.data.import_raw", *own],
        "preprocess": ["lockstep.data.preprocess", *own],
        "features": ["lockstep.features.build_features", *own],
        **{name: ["lockstep.models.train_multi_model", *own, "--type", name] for name in types},
        "compare": ["lockstep.models.compare_models", *own],
    }


def measured(root: Path, turns: int) -> dict[str, list[Cost]]:
    """Return the costs of each stage, all stages one after the other in each turn."""
    found: dict[str, list[Cost]] = defaultdict(list)
    variables = OWN | {"PYTHONPATH": f"{root}/src"}
    for _ in range(turns):
        for name, words in stages(root).items():
            found[name].append(cost(root, sys.executable, "-m", *words, variables=variables))
    return found


def profile(root: Path, words: list[str]) -> list[dict[str, Any]]:
    """Return the functions of a stage that take most time of their own."""
    file = root / "profile"
    variables = OWN | {"PYTHONPATH": f"{root}/src"}
    command = (sys.executable, "-m", "cProfile", "-o", str(file), "-m", *words)
    run_quietly(root, *command, variables=variables)
    calls: dict[Any, Any] = pstats.Stats(str(file)).stats  # type: ignore[attr-defined]
    slow = sorted(calls.items(), key=lambda one: -one[1][2])[:TOP]
    return [
        {
            "function": name_of(*where),
            "calls": n,
            "own s": round(own, 2),
            "with called": round(s, 2),
        }
        for where, (_, n, own, s, _) in slow
    ]


def name_of(file: str, line: int, function: str) -> str:
    """Return a function's name with the end of its file's path."""
    return function if file == "~" else f"{'/'.join(Path(file).parts[-2:])}:{line} {function}"


if __name__ == "__main__":
    sys.exit(main())
