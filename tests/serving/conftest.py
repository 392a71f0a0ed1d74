"""A workspace with two registered versions of a real model, and a real server process over it."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lockstep.config.layout import ProblemLayout
from lockstep.config.serving import load_serving
from lockstep.models.scoring.prediction import Model
from lockstep.models.workspace import load_file
from lockstep.problems.schema import Schema, load_schema
from lockstep.serving.model_source import ModelSource

PROJECT = Path(__file__).parents[2]
BUSY = 4
"""A process may take so many times as long beside other tests as on an idle machine."""
LOCAL = {"MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"}
NAME = "Accident_Prediction_XGBoost"
RECORD = json.loads((PROJECT / "src/models/test_features.json").read_text())
UNSET = (
    "API_KEYS_FILE", "APPROVAL_BAND", "DAGSHUB_REPO", "DECISION_SCALE", "DECISION_THRESHOLD",
    "DVC_ROOT", "DVC_STAGE", "HOST", "LOCKSTEP_PUBLISH", "MAX_BODY_BYTES", "MAX_ROWS",
    "MLFLOW_MODEL_NAME", "MLFLOW_TRACKING_URI", "MODEL_PATH", "MODEL_URI", "PORT",
    "MAX_TABLE_BYTES", "MAX_TABLE_ROWS", "PREDICTION_LOG", "PROBLEM", "REQUEST_SECONDS",
    "SERVING_LOG", "WORKERS",
)  # fmt: skip


PARAMS = """
problems:
  accidents: {{model_types: [xgboost], compare: {{resamples: 100}}}}
train:
  accidents-xgboost:
    problem: accidents
    type: xgboost
    calibration: sigmoid
    early_stopping_rounds: 5
    params: {{n_estimators: 60, learning_rate: 0.2, max_depth: {depth}}}
"""


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in UNSET:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Path:
    """Train and publish two versions of an xgboost model, in a workspace to be copied."""
    from tests.models.conftest import make_workspace

    from lockstep.models import compare_models

    root = tmp_path_factory.mktemp("served") / "made"
    root.mkdir()
    make_workspace(root)
    for name in ("dvc.yaml", "requirements.lock"):
        shutil.copyfile(PROJECT / name, root / name)
    shutil.copyfile(empty_store, root / "mlflow.db")
    for depth in (4, 3):
        train_and_publish(root, depth)
    compare_models.run(root, "accidents")
    return root


def train_and_publish(root: Path, depth: int) -> None:
    """Make another version of the model, with trees of another depth."""
    from lockstep.models import train_multi_model
    from lockstep.registry.train_stage import publish_training

    (root / "params.yaml").write_text(PARAMS.format(depth=depth))
    train_multi_model.run(root, "accidents", "xgboost")
    # each would be drawn for the run, which takes a while
    shutil.rmtree(root / "metrics/accidents/types/xgboost/plots")
    publish_training(root, "accidents", "xgboost")


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    """A workspace of the test's own, with its own registry."""
    copied = tmp_path / "a project"
    shutil.copytree(made, copied)
    return copied


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Running:
    """A server process on a free port; ``variables`` come on top of a clean environment."""

    root: Path
    variables: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    port: int = 0
    log_name: str = "server.log"
    program: tuple[str, ...] = ("-m", "lockstep.serving")

    @property
    def log(self) -> Path:
        return self.root / self.log_name

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [
            json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")
        ]

    def launch(self) -> Running:
        environment = {name: value for name, value in os.environ.items() if name not in UNSET}
        environment |= {"PROBLEM": "accidents", "PORT": "0", **self.variables}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, *self.program],
                cwd=self.root,
                env=environment,
                stdout=log,
                stderr=log,
            )
        return self

    def start(self) -> Running:
        return self.launch().await_start()

    def await_start(self) -> Running:
        assert self.process is not None
        wait_until(
            lambda: self._found_port() or self.process.poll() is not None, 60, "the server to start"
        )
        assert self.process.poll() is None, self.log.read_text()
        wait_until(
            lambda: self.lives() or self.process.poll() is not None, 30, "the server to answer"
        )
        assert self.process.poll() is None, self.log.read_text()
        return self

    def _found_port(self) -> bool:
        found = re.search(r"at http://[\d.]+:(\d+)", self.log.read_text())
        self.port = int(found[1]) if found else 0
        return bool(found)

    def lives(self) -> bool:
        try:
            return self.get("/health/live").status == 200
        except OSError:
            return False

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, dict(headers or {}))
            found = connection.getresponse()
            return Answer(found.status, {k.lower(): v for k, v in found.getheaders()}, found.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, headers=headers)

    def post(self, path: str, content: Any, headers: Mapping[str, str] | None = None) -> Answer:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        return self.ask("POST", path, body, {"Content-Type": "application/json", **(headers or {})})

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout=40)


def wait_until(true: Callable[[], Any], seconds: float, what: str) -> None:
    """Return as soon as a condition holds; fail where it does not in time.

    ``seconds`` is what an idle machine needs at most. Beside other tests a process of lower
    priority may wait ``BUSY`` times as long.
    """
    end = time.monotonic() + BUSY * seconds
    while not true():
        assert time.monotonic() < end, f"waited {BUSY * seconds:g} s for {what}"
        time.sleep(0.02)


def rest_of(connection: socket.socket) -> bytes:
    found = b""
    while part := connection.recv(65_536):
        found += part
    return found


@pytest.fixture
def source_of(monkeypatch: pytest.MonkeyPatch) -> Callable[..., ModelSource]:
    """Start what a server over a workspace would answer from, in this process."""

    def start(root: Path, **variables: str) -> ModelSource:
        monkeypatch.chdir(root)
        # MLflow leaves there what it was connected to.
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
        for name, value in {"PROBLEM": "accidents", **variables}.items():
            monkeypatch.setenv(name, value)
        source = ModelSource(load_serving(root), root)
        source.start()
        return source

    return start


@pytest.fixture
def run(root: Path) -> Iterator[Callable[..., Running]]:
    """Start servers over the workspace; all are stopped in the end."""
    started: list[Running] = []

    def start(**variables: str) -> Running:
        started.append(Running(root, variables))
        return started[-1].start()

    yield start
    for server in started:
        if server.process is not None and server.process.poll() is None:
            server.process.kill()
            server.process.wait(timeout=10)


@pytest.fixture(scope="session")
def server(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One server over the workspace's file, for every test that changes nothing."""
    copied = tmp_path_factory.mktemp("shared") / "a project"
    shutil.copytree(made, copied)
    running = Running(copied, {"PREDICTION_LOG": "predictions"}).start()
    yield running
    assert running.stop() == 0


@dataclass
class Followed:
    """A server that follows its registry, and the registry."""

    server: Running
    client: Any

    @property
    def root(self) -> Path:
        return self.server.root

    @property
    def version(self) -> Any:
        return self.server.get("/version").json["version"]

    @property
    def health(self) -> Any:
        return self.server.get("/health").json

    def count(self, name: str) -> float:
        """Return a number that the server tells of itself."""
        found = re.search(
            rf"^lockstep_{name} (\S+)$", self.server.get("/metrics").body.decode(), re.MULTILINE
        )
        assert found is not None, name
        return float(found[1])

    def settle(self) -> Followed:
        """Serve version 1, with nothing amiss: where each test begins, whatever was before it."""
        from lockstep.registry.lifecycle.moves import promote

        promote(self.client, NAME, 1)
        wait_until(lambda: (self.version, self.health["status"]) == (1, "ok"), 5, "version 1")
        return self


@pytest.fixture(scope="session")
def following(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Followed]:
    """One server over a registry, for every test that leaves it as `settle` can mend."""
    root = tmp_path_factory.mktemp("followed") / "a project"
    shutil.copytree(made, root)
    from lockstep.registry.lifecycle.moves import promote

    client = client_of(root)
    promote(client, NAME, 1)
    running = Running(root, LOCAL).start()
    yield Followed(running, client)
    assert running.stop() == 0


@pytest.fixture
def followed(following: Followed) -> Followed:
    """The server over a registry, serving version 1 with nothing amiss."""
    return following.settle()


def client_of(root: Path) -> Any:
    """Return a client of a workspace's registry."""
    from lockstep.config.settings import load_settings
    from lockstep.registry.store.connection import connect

    return connect(load_settings(root, environ={}), root)


@dataclass
class Trained:
    """A workspace with one trained model."""

    root: Path
    problem: str
    type: str

    @property
    def file(self) -> Path:
        return ProblemLayout(self.root, self.problem).model(self.type)

    @property
    def schema(self) -> Schema:
        return load_schema(self.problem)

    @property
    def model(self) -> Model:
        return load_file(self.file, self.root)


@pytest.fixture(scope="session")
def credit(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """The real stages of credit_risk over a small sample.

    It has text categories, derived columns and a business threshold.
    """
    import yaml

    from lockstep.config.params import load_params
    from lockstep.data.import_raw import import_sample
    from lockstep.data.preprocess import tidy
    from lockstep.features import build_features
    from lockstep.io import write_json, write_parquet
    from lockstep.models import train_multi_model

    root = tmp_path_factory.mktemp("credit") / "a project"
    root.mkdir()
    content = yaml.safe_load((PROJECT / "params.yaml").read_text())
    section, row = content["problems"]["credit_risk"], content["train"]["credit_risk-lightgbm"]
    section["source"]["sample"]["units"] = 3000
    section["model_types"] = ["lightgbm"]
    row["cv_folds"] = 0
    told = {"problems": {"credit_risk": section}, "train": {"credit_risk-lightgbm": row}}
    (root / "params.yaml").write_text(yaml.safe_dump(told))
    shutil.copyfile(PROJECT / "dvc.yaml", root / "dvc.yaml")
    problem, layout = load_params(root).problem("credit_risk"), ProblemLayout(root, "credit_risk")
    layout.raw.mkdir(parents=True)
    import_sample(root, "credit_risk", problem.source, layout.raw)
    table, quality = tidy(
        layout.raw, problem.source.kind, load_schema("credit_risk"), problem.preprocess
    )
    write_parquet(layout.tidy, table)
    write_json(layout.data_quality, quality)
    build_features.run(root, "credit_risk")
    train_multi_model.run(root, "credit_risk", "lightgbm")
    return Trained(root, "credit_risk", "lightgbm")


@pytest.fixture(scope="session")
def credit_server(credit: Trained) -> Iterator[Running]:
    """One server over the file of the credit model, decided by the business's threshold."""
    shutil.copytree(PROJECT / "src/config", credit.root / "src/config")
    variables = {
        "PROBLEM": "credit_risk",
        "MODEL_PATH": f"models/credit_risk/{credit.type}_model.joblib",
    }
    running = Running(credit.root, variables).start()
    yield running
    assert running.stop() == 0
