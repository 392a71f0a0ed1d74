"""A small workspace as the train stages leave it, real stores, and a real server."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import requests
from sklearn.pipeline import Pipeline

from lockstep.config.layout import ProblemLayout
from lockstep.config.params import Features
from lockstep.features.encoder import encoder_of
from lockstep.io import sha256_file, write_csv, write_json
from lockstep.models.artifact import model_digest
from lockstep.models.calibration import calibrated
from lockstep.models.golden_rows import golden_rows
from lockstep.models.matrices import Matrix, columns_of
from lockstep.models.model_type import Recipe
from lockstep.models.training import fit, pipeline_of
from lockstep.problems.schema import load_schema

PROJECT = Path(__file__).parents[1]
SMALL = ("logistic_regression", "random_forest")
UNSET = (
    "MLFLOW_TRACKING_URI",
    "DAGSHUB_REPO",
    "LOCKSTEP_PUBLISH",
    "MLFLOW_EXPERIMENT_NAME",
    "DVC_EXP_NAME",
    "DVC_EXP_BASELINE_REV",
    "DVC_ROOT",
    "DVC_STAGE",
)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in UNSET:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def empty_database(empty_store: Path) -> Path:
    """One initialised database; copying it is faster than making one a test."""
    return empty_store


@pytest.fixture
def workspace(tmp_path: Path, empty_database: Path) -> Path:
    """A project's folder with the outputs of two trainings, not in a git repository."""
    root = tmp_path / "a project"
    for name in ("dvc.yaml", "params.yaml", "requirements.lock"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(PROJECT / name, root / name)
    for folder in ("features", "encoder.joblib"):
        place = root / "data" / "accidents" / folder
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(b"matrices")
    write_json(ProblemLayout(root, "accidents").label_encoder, {"classes": [0, 1]})
    for model_type in SMALL:
        write_training(root, model_type)
    declare(root, *SMALL)
    new_store(root, empty_database)
    return root


@pytest.fixture
def make() -> SimpleNamespace:
    """The functions of this file that tests call themselves."""
    return SimpleNamespace(
        training=write_training,
        plots=write_plots,
        declare=declare,
        new_store=new_store,
        written_code=write_code,
        pipeline=small_pipeline,
        small=SMALL,
    )


def write_code(root: Path) -> None:
    """Write what the stage code leaves for trainings: a folder with some code would need it all."""
    for model_type in SMALL:
        write_json(root / "code" / f"train_multi_model@accidents-{model_type}.json", {})


def new_store(root: Path, database: Path) -> None:
    """Put an empty store in the place of a workspace's own."""
    shutil.rmtree(root / "mlruns", ignore_errors=True)
    shutil.copyfile(database, root / "mlflow.db")


@cache
def small_pipeline(model_type: str, seed: int = 0) -> Pipeline:
    """A small fitted pipeline over the raw features of the accidents; the forest is calibrated."""
    schema = load_schema("accidents")
    rows = golden_rows(schema, seed=seed + 1)
    target = (rows["hour"].fillna(0) + rows["lum"].fillna(0) > 12).to_numpy().astype(int)
    encoder = encoder_of(schema.model_copy(update={"derived": []}), Features())
    encoded, row = encoder.fit_transform(rows, target), np.arange(len(rows))
    part = Matrix(encoded, target, row, row)
    params = {"C": 0.1, "bins": 4} if model_type == SMALL[0] else {"n_estimators": 5}
    recipe = Recipe("binary", columns_of(encoder, schema), params, seed)
    model = fit(model_type, recipe, part, part).estimator
    method = "none" if model_type == SMALL[0] else "sigmoid"
    return pipeline_of(encoder, calibrated(method, model, encoded, target, "binary"))


def write_training(root: Path, model_type: str, seed: int = 0) -> None:
    """Write what one train stage leaves: model, card, metrics, its history."""
    layout = ProblemLayout(root, "accidents")
    layout.model(model_type).parent.mkdir(parents=True, exist_ok=True)
    joblib.dump(
        small_pipeline(model_type, seed), layout.model(model_type), compress=("lz4", 3), protocol=5
    )
    write_json(layout.model_card(model_type), card(layout, model_type, seed), digits=None)
    metrics = {"roc_auc": 0.8 + seed / 100, "f1": 0.6}
    found = {"validation": metrics, "test": metrics, "threshold": 0.4}
    write_json(layout.type_details(model_type), found)
    history = {"iteration": [1, 2, 3], "train": [0.6, 0.5, 0.4], "stop": [0.61, 0.55, 0.5]}
    write_csv(layout.type_folder(model_type) / "plots" / "history.csv", pd.DataFrame(history))


def write_plots(root: Path, model_type: str) -> None:
    """Write the tables of all other plots of a train stage; each picture drawn takes a while."""
    plots = ProblemLayout(root, "accidents").type_folder(model_type) / "plots"
    grid = np.linspace(0, 1, 5)
    write_csv(
        plots / "roc.csv", pd.DataFrame({"fpr": grid, "tpr": np.sqrt(grid), "threshold": 1 - grid})
    )
    write_csv(
        plots / "pr.csv",
        pd.DataFrame({"recall": grid, "precision": 1 - grid / 2, "threshold": grid}),
    )
    write_csv(
        plots / "calibration.csv", pd.DataFrame({"predicted": grid, "observed": grid, "rows": 9})
    )
    write_csv(
        plots / "confusion_matrix.csv",
        pd.DataFrame({"actual": [0, 0, 1], "predicted": [0, 1, 1], "rows": 5}),
    )
    write_csv(
        plots / "importance.csv",
        pd.DataFrame({"feature": ["lat", "vma"], "importance": [0.7, 0.3]}),
    )
    write_csv(
        plots / "effects.csv",
        pd.DataFrame(
            {
                "feature": ["vma", "vma", "lum", "lum"],
                "kind": ["number", "number", "category", "category"],
                "value": ["50", "", "NA", ""],
                "rows": [8, 2, 9, 1],
                "effect": [0.2, 0.3, 0.1, 0.4],
            }
        ),
    )


@cache
def small_digest(model_type: str, seed: int) -> str:
    """The digest of a small pipeline."""
    return model_digest(small_pipeline(model_type, seed))


def card(layout: ProblemLayout, model_type: str, seed: int) -> dict[str, Any]:
    """The card of a small pipeline."""
    return {
        "problem": "accidents",
        "type": model_type,
        "task": "binary",
        "model_digest": small_digest(model_type, seed),
        "file_sha256": sha256_file(layout.model(model_type)),
        "schema_digest": load_schema("accidents").digest,
        "feature_names": load_schema("accidents").feature_names,
        "threshold": 0.4,
        "decision": {"policy": "f1"},
        "score_scale": "probability",
        "positive_weight": 1.0,
        "calibration": "none" if model_type == "logistic_regression" else "sigmoid",
        "seed": 0,
        "params": {"C": 0.1, "penalty": None},
        "best_iteration": None,
        "rows": {"train": 100, "stop": 10, "choose": 10, "test": 20},
    }


def declare(root: Path, *model_types: str) -> None:
    """Leave only these model types declared in the workspace's params.yaml."""
    import yaml

    path = root / "params.yaml"
    content = yaml.safe_load(path.read_text())
    content["problems"]["accidents"]["model_types"] = list(model_types)
    content["problems"] = {"accidents": content["problems"]["accidents"]}
    content["train"] = {
        f"accidents-{kind}": content["train"][f"accidents-{kind}"] for kind in model_types
    }
    content.pop("search", None)
    path.write_text(yaml.safe_dump(content, sort_keys=False))


@pytest.fixture(scope="session")
def server_factory(
    tmp_path_factory: pytest.TempPathFactory, empty_database: Path
) -> Iterator[Callable[[], Server]]:
    """Makes real tracking servers over sqlite, each on a port of the system's choice."""
    made: list[Server] = []

    def make() -> Server:
        folder = tmp_path_factory.mktemp("server")
        shutil.copyfile(empty_database, folder / "mlflow.db")
        made.append(Server(folder))
        return made[-1]

    yield make
    for server in made:
        server.stop()


@pytest.fixture(scope="session")
def server(server_factory: Callable[[], Server]) -> Server:
    """One running server for every test that needs any; a start costs two imports of all MLflow."""
    return server_factory().start()


class Server:
    """A `mlflow server` process over its own folder; ``options`` and ``variables`` come last."""

    def __init__(
        self, folder: Path, options: Sequence[str] = (), variables: Mapping[str, str] | None = None
    ):
        self.folder = folder
        self.options, self.variables = options, variables or {}
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Server:
        self.launch()
        return self.wait()

    def launch(self) -> None:
        command = [
            sys.executable,
            "-m",
            "mlflow",
            "server",
            "--port",
            str(self.port),
            "--workers",
            "1",
        ]
        command += ["--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db"]
        command += ["--artifacts-destination", str(self.folder / "artifacts"), *self.options]
        # Its job runner is seven more processes, each of which imports all of MLflow.
        environment = {
            **os.environ,
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            **self.variables,
        }
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=environment,
                start_new_session=True,
            )

    def wait(self) -> Server:
        assert self.process is not None
        deadline = time.monotonic() + 60
        while not self.answers():
            assert self.process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline, "the server did not start within a minute"
            time.sleep(0.1)
        return self

    def answers(self) -> bool:
        try:
            return requests.get(f"{self.uri}/health", timeout=1).ok
        except requests.RequestException:
            return False

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(timeout=30)
            self.process = None

    def kill(self) -> None:
        """End the server and its workers as a power cut would."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(timeout=30)
        self.process = None


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
