"""The API over a real MLflow tracking server.

What is promoted there is followed, also after the server was gone.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.registry_workspace import Server
from tests.serving.conftest import NAME, RECORD, Running, train_and_publish, wait_until

from lockstep.config.settings import load_settings
from lockstep.registry.lifecycle.moves import promote, rollback
from lockstep.registry.store.connection import connect
from lockstep.registry.train_stage import publish_training

AWAY = "The registry can’t be read since"
FILE = "models/accidents/xgboost_model.joblib"


@pytest.fixture
def tracking(server_factory) -> Server:
    """A tracking server of the test's own, as it is killed."""
    return server_factory().start()


@pytest.fixture
def serving(root: Path, tracking: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """Two versions on the tracking server, the first promoted, and the API that follows it."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking.uri)
    publish_training(root, "accidents", "xgboost")
    train_and_publish(root, depth=2)
    promote(connect(load_settings(root), root), NAME, 1)
    running = Running(root, {"MLFLOW_TRACKING_URI": tracking.uri, "MODEL_PATH": FILE})
    yield running.start()
    assert running.stop() == 0


def test_promotions_on_a_server_are_live_within_5_s_also_after_it_was_gone(
    serving: Running, tracking: Server
):
    root = serving.root
    client = connect(load_settings(root), root)

    def version() -> int:
        return int(serving.get("/version").json["version"])

    def status() -> str:
        return str(serving.get("/health").json["status"])

    assert (version(), status()) == (1, "ok")
    promote(client, NAME, 2)
    wait_until(lambda: version() == 2, 5, "version 2")
    board = serving.get("/board")
    assert (board.status, "version 2</p>" in board.body.decode()) == (200, True)
    before = serving.post("/predict", RECORD).json["probability"]

    tracking.kill()
    wait_until(lambda: status() == "degraded", 10, "the news that the server is gone")
    source = serving.get("/health").json["source"]
    assert not source["registry_reachable"]
    assert "connection" in source["registry_error"]
    began = time.monotonic()
    told = [serving.post("/predict", RECORD) for _ in range(20)]
    assert time.monotonic() - began < 5
    assert {(one.status, one.json["version"], one.json["probability"]) for one in told} == {
        (200, 2, before)
    }
    assert serving.get("/health/ready").status == 200
    wait_until(lambda: AWAY in serving.get("/board").body.decode(), 15, "the board to say so")
    assert serving.get("/board").status == 200
    assert "version 2</p>" in serving.get("/board").body.decode()

    tracking.start()
    wait_until(lambda: status() == "ok", 15, "the server to be found again")
    rollback(client, NAME)
    wait_until(lambda: version() == 1, 5, "version 1")
    assert serving.post("/predict", RECORD).json["probability"] != before
    wait_until(lambda: AWAY not in serving.get("/board").body.decode(), 15, "the board's return")
    assert "version 1</p>" in serving.get("/board").body.decode()
