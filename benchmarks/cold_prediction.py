"""One cold prediction: `predict_model.py` beside `mlflow models predict`, same model, same rows.

    python benchmarks/cold_prediction.py [--problem accidents] [--turns 5] [--output FILE.json]

Each side is a new process that finds version 1 in the registry, loads it and predicts ROWS rows.
The sides take turns, and their probabilities must be equal. Beside them stand a script with
MLflow's own loader, and a process that only imports the libraries which our command needs.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
import small_registry
from costs import ROOT, Cost, cost, middle, write_results
from serve import request_rows, split

from lockstep.console import aligned
from lockstep.problems.schema import load_schema

OURS, MLFLOW = "predict_model.py", "mlflow models predict"
LOADER, IMPORTS = "script, mlflow.sklearn.load_model", "imports alone"
ROWS = 100
TOLERANCE = 1e-6
"""The stored answers of our command have 6 digits and more."""
GOAL = 1 / 3
SCRIPT = """
import json, sys
import mlflow.sklearn, pandas as pd
rows = pd.DataFrame(**json.load(open("rows_mlflow.json"))["dataframe_split"])
model = mlflow.sklearn.load_model(f"models:/{sys.argv[1]}/1")
json.dump({"predictions": model.predict_proba(rows).tolist()}, open("script.json", "w"))
"""
IMPORTED = "import numpy, pandas, sklearn.pipeline, xgboost, skops.io, sqlite3, pydantic"
"""The libraries that a prediction with the benchmark's model can't do without."""


def main() -> int:
    """Measure, print and write the figures."""
    options = parser().parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "workspace"
        name = small_registry.make(root, options.problem, small_registry.DEPTHS[:1])
        write_rows(root, options.problem)
        costs = measured(root, name, options.turns)
        check_equal(root)
    found = {side: middle(one) for side, one in costs.items()}
    rows = [{"side": k, "wall s": f"{v.wall:.2f}", "processor s": f"{v.processor:.2f}"}
            for k, v in found.items()]  # fmt: skip
    ratio = {kind: round(getattr(found[OURS], kind) / getattr(found[MLFLOW], kind), 3)
             for kind in Cost._fields}  # fmt: skip
    print(f"{aligned(rows)}\nours over mlflow: {ratio['wall']:.2f} (goal: {GOAL:.2f})")
    content = {"rows": ROWS, "costs": costs, "medians": found}
    content |= {"ours over mlflow": ratio, "goal": round(GOAL, 3)}
    write_results(options.output, "cold-prediction", content)
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    top = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    top.add_argument("--problem", default="accidents")
    top.add_argument("--turns", type=int, default=5, help="how often each side is measured")
    top.add_argument("--output", type=Path, help="a JSON file for the figures, or a folder")
    return top


def write_rows(root: Path, problem: str) -> None:
    """Write the same rows in the form of each side."""
    records = request_rows(load_schema(problem), ROWS)
    (root / "rows.json").write_text(json.dumps(records))
    (root / "rows_mlflow.json").write_text(json.dumps(split(records)))


def commands(name: str) -> dict[str, tuple[str, ...]]:
    """Return each side's command."""
    ours = (sys.executable, str(ROOT / "src" / "models" / "predict_model.py"), "rows.json")
    theirs = f"mlflow models predict -m models:/{name}/1 -i rows_mlflow.json -t json"
    return {
        OURS: (*ours, "--model-name", name, "--version", "1", "--output", "ours.json"),
        MLFLOW: (*theirs.split(), "-o", "mlflow.json", "--env-manager", "local"),
        LOADER: (sys.executable, "-c", SCRIPT, name),
        IMPORTS: (sys.executable, "-c", IMPORTED),
    }


def measured(root: Path, name: str, turns: int) -> dict[str, list[Cost]]:
    """Return each side's costs."""
    own = {"PYTHONPATH": str(ROOT / "src"), "MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"}
    found: dict[str, list[Cost]] = defaultdict(list)
    for turn in range(turns):
        for side, command in list(commands(name).items())[:: 1 if turn % 2 == 0 else -1]:
            found[side].append(cost(root, *command, variables=own))
    return dict(sorted(found.items(), key=lambda one: list(commands(name)).index(one[0])))


def check_equal(root: Path) -> None:
    """End the benchmark unless all sides gave the same probabilities."""
    ours = np.array([one["probability"] for one in answers(root / "ours.json")])
    for file in ("mlflow.json", "script.json"):
        theirs = np.array(answers(root / file)["predictions"])[:, 1]
        if len(ours) != ROWS or not np.allclose(ours, theirs, rtol=0, atol=TOLERANCE):
            raise SystemExit(f"{file} has other probabilities: {ours[:3]} and {theirs[:3]}")


def answers(file: Path) -> Any:
    """Return what a side wrote."""
    return json.loads(file.read_text(encoding="utf-8"))


if __name__ == "__main__":
    sys.exit(main())
