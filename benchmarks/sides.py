"""The sides of `make bench`: this project, its stages in one process, and the alternatives.

A side makes a project folder, changes its parameters as a person would, and runs one command. The
alternatives are in benchmarks/alternatives, each with an environment of its own.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import yaml
from costs import ROOT, Cost, cost, run_quietly

PROBLEM = "accidents"
ALTERNATIVES = ROOT / "benchmarks" / "alternatives"
ENVIRONMENTS = Path.home() / ".cache" / "lockstep-bench"
"""Where the alternatives' environments are kept."""
OF_ENVIRONMENT = (
    "requirements.lock",
    "requirements-dev.lock",
    "pyproject.toml",
    "scripts/make_env.sh",
)
STAGE_WORK = "--stage-work"
CHANGED = ("lightgbm", {"learning_rate": 0.06})
"""One parameter changed: the type, and its new value."""
ADDED = ("extra_trees", {"n_estimators": 100, "min_samples_leaf": 5, "max_features": 0.2})
"""One type added: its name and hyperparameters."""
Params = dict[str, Any]


class Lockstep:
    """This project, in a new clone of its last commit."""

    name = "make run-train"
    caches = True
    command: tuple[str, ...] = ("make", "run-train")

    def prepare(self, folder: Path, units: int) -> Path:
        """Return a clone with compiled modules and a sample of some size."""
        root = self.clone(folder)
        # As `make env` does, and as the alternatives find this package.
        run_quietly(root, sys.executable, "-m", "compileall", "-q", "src/lockstep")
        self.change(root, lambda params: _sample(params["problems"][PROBLEM], units))
        return root

    def clone(self, folder: Path) -> Path:
        """Return a clone with this environment, without data and registry."""
        root = folder / "lockstep"
        subprocess.run(["git", "clone", "-q", ROOT, root], check=True)
        (root / ".venv").symlink_to(sys.prefix)
        for name in OF_ENVIRONMENT:  # make would build the environment anew for newer files
            os.utime(root / name, (0, 0))
        return root

    def change(self, root: Path, edit: Callable[[Params], Any]) -> None:
        """Edit params.yaml."""
        params = yaml.safe_load((root / "params.yaml").read_text())
        edit(params)
        (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))

    def change_parameter(self, root: Path) -> None:
        """Change one hyperparameter of one type."""
        name, values = CHANGED
        self.change(root, lambda p: p["train"][f"{PROBLEM}-{name}"]["params"].update(values))

    def add_type(self, root: Path) -> None:
        """Add one model type."""

        def edit(params: Params) -> None:
            params["problems"][PROBLEM]["model_types"].append(ADDED[0])
            params["train"][f"{PROBLEM}-{ADDED[0]}"] = {"problem": PROBLEM, **added()}

        self.change(root, edit)

    def run(self, root: Path) -> Cost:
        """Bring the project up to date."""
        return cost(root, *self.command)

    def aucs(self, root: Path) -> list[float]:
        """Return the test ROC AUC of all types, sorted."""
        files = (root / "metrics" / PROBLEM / "types").glob("*/details.json")
        return sorted(json.loads(file.read_text())["test"]["roc_auc"] for file in files)


class OneProcess(Lockstep):
    """The same stages one after the other in one process, without DVC and MLflow."""

    name = "one process"
    caches = False
    command = (sys.executable, str(ROOT / "benchmarks" / "governance.py"), STAGE_WORK)


class Alternative:
    """A folder of benchmarks/alternatives: a project of its own, in an environment of its own."""

    def __init__(self, name: str, folder: str, environments: Path, *command: str) -> None:
        self.name, self.caches = name, folder in ("dvc_mlflow", "zenml_local")
        self.source, self.environment = ALTERNATIVES / folder, environments / folder
        self.command = command
        self.parameters = Path("conf/base/parameters.yml" if "kedro" in folder else "params.yaml")
        self.setup: tuple[str, ...] = SETUP.get(folder, ())

    def install(self) -> None:
        """Make the environment, unless the pinned requirements are installed already."""
        install(self.source, self.environment)

    def prepare(self, folder: Path, units: int) -> Path:
        """Return a copy of the project with our parameters, set up but never run."""
        root = folder / self.source.name
        shutil.copytree(self.source, root, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("work.py", "tracking.py"):
            shutil.copyfile(ALTERNATIVES / name, root / name)
        (root / self.parameters).write_text(yaml.safe_dump(parameters(units), sort_keys=False))
        for line in self.setup:
            run_quietly(root, *line.split(), variables=self.variables(root))
        return root

    def change_parameter(self, root: Path) -> None:
        """Change one hyperparameter of one type."""
        name, values = CHANGED
        self._change(root, lambda params: params["train"][name]["params"].update(values))

    def add_type(self, root: Path) -> None:
        """Add one model type."""
        self._change(root, lambda params: params["train"].update({ADDED[0]: added()}))

    def _change(self, root: Path, edit: Callable[[Params], Any]) -> None:
        file = root / self.parameters
        params = yaml.safe_load(file.read_text())
        edit(params)
        file.write_text(yaml.safe_dump(params, sort_keys=False))

    def run(self, root: Path) -> Cost:
        """Bring the project up to date."""
        return cost(root, *self.command, variables=self.variables(root))

    def aucs(self, root: Path) -> list[float]:
        """Return the test ROC AUC of all types, as MLflow holds them, sorted."""
        with closing(sqlite3.connect(root / "mlflow.db")) as database:
            found = database.execute(
                "select distinct value from metrics where key like '%test_roc_auc'"
            )
            return sorted(round(value, 6) for (value,) in found)

    def variables(self, root: Path) -> dict[str, str]:
        """Return the environment that its commands run in."""
        return {
            "PATH": f"{self.environment}/bin{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join([str(root), str(ROOT / "src")]),
            "DVC_NO_ANALYTICS": "1",
            "DO_NOT_TRACK": "1",
            "ZENML_ANALYTICS_OPT_IN": "false",
            "ZENML_CONFIG_PATH": str(root / ".zenml"),
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }


SETUP = {
    "dvc_mlflow": ("git init -q", "dvc init -q"),
    "zenml_local": (
        "zenml init",
        "zenml experiment-tracker register mlflow_tracker --flavor=mlflow "
        "--tracking_uri=sqlite:///mlflow.db",
        "zenml stack register bench -o default -a default -e mlflow_tracker --set",
    ),
}
"""What a person types once before the first run; it is not measured."""


def alternatives(environments: Path) -> list[Alternative]:
    """Return all alternatives; ``environments`` is the folder of their environments."""
    return [
        Alternative("script + MLflow", "mlflow_script", environments, "python", "train.py"),
        Alternative("DVC + MLflow", "dvc_mlflow", environments, "dvc", "repro"),
        Alternative("Kedro + kedro-mlflow", "kedro_mlflow", environments, "kedro", "run"),
        Alternative("ZenML", "zenml_local", environments, "python", "pipeline.py"),
    ]


def install(source: Path, environment: Path) -> None:
    """Make an environment of a folder's pinned requirements, unless they are installed already."""
    pins, done = source / "requirements.txt", environment / "requirements.txt"
    if done.is_file() and done.read_text() == pins.read_text():
        return
    run_quietly(ROOT, "uv", "venv", "-q", "--clear", "--python", sys.executable,
                str(environment))  # fmt: skip
    python = str(environment / "bin" / "python")
    run_quietly(ROOT, "uv", "pip", "install", "--system-certs", "--compile-bytecode", "-q",
                "--python", python, "-r", str(pins))  # fmt: skip
    shutil.copyfile(pins, done)


def parameters(units: int) -> Params:
    """Return the alternatives' parameters: our params.yaml, the table's and each type's."""
    ours = yaml.safe_load((ROOT / "params.yaml").read_text())
    section = _sample(ours["problems"][PROBLEM], units)
    data = {key: section[key] for key in ("source", "preprocess", "split", "features")}
    train = {n: ours["train"][f"{PROBLEM}-{n}"] for n in section["model_types"]}
    return {"data": data, "train": train}


def added() -> Params:
    """Return the section of the type that is added."""
    name, values = ADDED
    return {"problem": PROBLEM, "type": name, "seed": 0, "calibration": "sigmoid", "params": values}


def _sample(section: Params, units: int) -> Params:
    section["source"]["sample"]["units"] = units
    return section


def stage_work() -> int:
    """Run all stages of the problem in this process, as DVC would run each in one of its own."""
    os.environ.update({"DVC_STAGE": "bench", "LOCKSTEP_PUBLISH": "0"})
    types = yaml.safe_load(Path("params.yaml").read_text())["problems"][PROBLEM]["model_types"]
    stages = [("data.import_raw", ()), ("data.preprocess", ()), ("features.build_features", ())]
    stages += [("models.train_multi_model", ("--type", name)) for name in types]
    for name, more in [*stages, ("models.compare_models", ())]:
        sys.argv[1:] = ["--problem", PROBLEM, *more]
        importlib.import_module(f"lockstep.{name}").main()
    return 0
