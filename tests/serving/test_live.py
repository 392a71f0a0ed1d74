"""A server over a registry: promotions, refusals, a registry that is gone, keys, and the end of it all."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.serving.conftest import NAME, RECORD, UNSET, Running, wait_until

from lockstep.config.settings import load_settings
from lockstep.data.checks import records_to_table
from lockstep.models.workspace import load_file
from lockstep.problems.schema import load_schema
from lockstep.registry.artifact.loading import load_version
from lockstep.registry.record.lifecycle import archive, promote, rollback
from lockstep.registry.store import connect
from lockstep.serving.keys import new_key

LOCAL = {"MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"}
ACCIDENTS = load_schema("accidents")


@pytest.fixture
def client(root: Path) -> Any:
    return connect(load_settings(root, environ={}), root)


def score(client: Any, root: Path, version: int) -> float:
    model = load_version(client, root, NAME, version=version)
    return float(model.score(records_to_table(ACCIDENTS, [RECORD]))[0])


class Load:
    """Requests without a pause on a few connections that stay open; every answer is kept."""

    def __init__(self, server: Running, clients: int = 3) -> None:
        self.server, self.body = server, json.dumps(RECORD).encode()
        self.answers: list[tuple[int, Any, Any]] = []
        self.errors: list[str] = []
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def _ask(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=30)
        try:
            while not self._end.is_set():
                connection.request("POST", "/predict", self.body, {"Content-Type": "application/json"})
                got = connection.getresponse()
                told = json.loads(got.read())
                self.answers.append((got.status, told.get("version"), told.get("probability")))
        except (OSError, http.client.HTTPException) as error:
            self.errors.append(repr(error))
        finally:
            connection.close()

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(timeout=60)


def version(server: Running) -> Any:
    return server.get("/version").json["version"]


def test_promotions_and_rollbacks_are_live_within_5_s_and_no_request_fails_or_mixes_models(run, client, root):
    promote(client, NAME, 1)
    scores = {number: score(client, root, number) for number in (1, 2)}
    assert scores[1] != scores[2]
    server = run(**LOCAL)
    assert version(server) == 1
    with Load(server) as load:
        for move, wanted in ((lambda: promote(client, NAME, 2), 2), (lambda: rollback(client, NAME), 1)):
            move()
            wait_until(lambda wanted=wanted: version(server) == wanted, 5, f"version {wanted}")
        wait_until(lambda: len(load.answers) > 300, 20, "some more answers")
    assert load.errors == []
    assert {status for status, *_ in load.answers} == {200}
    seen = {(number, chance) for _, number, chance in load.answers}
    assert seen == set(scores.items())
    assert server.get("/health").json["status"] == "ok"
    assert "lockstep_model_version 1.0" in server.get("/metrics").body.decode()
    assert "lockstep_reloads 2.0" in server.get("/metrics").body.decode()


def test_a_damaged_model_is_refused_and_the_old_one_goes_on(run, client, root):
    promote(client, NAME, 1)
    server = run(**LOCAL)
    before = server.post("/predict", RECORD).json["probability"]
    skops = Path(client.get_model_version_download_uri(NAME, "2")) / "model.skops"
    content = bytearray(skops.read_bytes())
    content[len(content) // 2] ^= 1
    skops.write_bytes(content)
    promote(client, NAME, 2)
    wait_until(lambda: "refused" in server.get("/health").json["source"], 10, "the refusal")
    health = server.get("/health").json
    assert (health["status"], health["ready"], health["version"]) == ("degraded", True, 1)
    assert health["source"]["refused"]["version"] == 2
    assert "digest" in health["source"]["refused"]["reason"]
    assert server.post("/predict", RECORD).json["probability"] == before
    assert "lockstep_reload_failures 1.0" in server.get("/metrics").body.decode()
    rollback(client, NAME)
    wait_until(lambda: server.get("/health").json["status"] == "ok", 10, "the health to be good again")


def test_an_empty_production_is_told_and_the_old_model_goes_on(run, client, root):
    promote(client, NAME, 1)
    server = run(**LOCAL)
    archive(client, NAME, 1)
    wait_until(lambda: server.get("/health").json["status"] == "degraded", 10, "the news")
    assert "no version in Production" in server.get("/health").json["source"]["registry_error"]
    assert server.post("/predict", RECORD).json["version"] == 1
    promote(client, NAME, 2)
    wait_until(lambda: version(server) == 2, 5, "version 2")
    assert server.get("/health").json["status"] == "ok"


def test_a_registry_that_is_gone_at_the_start_leaves_the_file_and_is_followed_when_it_comes(
    run, client, root
):
    promote(client, NAME, 1)
    os.rename(root / "mlflow.db", root / "away.db")
    server = run(**LOCAL, MODEL_PATH="models/accidents/xgboost_model.joblib")
    told = server.post("/predict", RECORD)
    own = load_file(root / "models/accidents/xgboost_model.joblib", root)
    assert (told.status, told.json["version"]) == (200, None)
    assert told.json["model_digest"] == own.digest
    health = server.get("/health").json
    assert health["status"] == "degraded"
    assert "fallback" in health["source"]
    assert "fallback" in server.get("/version").json["source_state"]
    os.rename(root / "away.db", root / "mlflow.db")
    wait_until(lambda: version(server) == 1, 15, "the registry's model")
    assert server.get("/health").json["status"] == "ok"


def test_a_server_that_dies_does_not_take_the_model_with_it(run, client, root):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        server = run(MLFLOW_TRACKING_URI=uri, MODEL_PATH="models/accidents/xgboost_model.joblib")
        assert "refused the connection" in server.get("/health").json["source"]["registry_error"]
        assert server.post("/predict", RECORD).status == 200


def test_a_fixed_run_is_served_whatever_is_promoted(run, client, root):
    run_id = client.get_model_version(NAME, "2").run_id
    promote(client, NAME, 1)
    server = run(**LOCAL, MODEL_URI=f"runs:/{run_id}/model")
    told = server.post("/predict", RECORD).json
    assert (told["version"], told["run_id"]) == (2, run_id)


def test_an_exported_bundle_is_served_and_a_changed_one_is_not(run, client, root):
    from lockstep.registry.artifact.bundle import export

    export(client, root, NAME, root / "bundle", version=1)
    server = run(MODEL_PATH="bundle")
    assert server.post("/predict", RECORD).json["version"] == 1
    assert server.get("/version").json["source"] == "bundle"
    server.stop()
    (root / "bundle" / "schema.yaml").write_text("name: other\n")
    assert "not the bundle that was exported: changed: schema.yaml" in refused_to_start(
        root, MODEL_PATH="bundle"
    )
    assert (root / "bundle" / "model").is_dir()


def refused_to_start(root: Path, **variables: str) -> str:
    environment = {k: v for k, v in os.environ.items() if k not in UNSET}
    command = [sys.executable, "-m", "lockstep.serving"]
    ended = subprocess.run(
        command, cwd=root, env={**environment, "PROBLEM": "accidents", "PORT": "0", **variables}, timeout=60,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 1, ended.stderr
    (line,) = ended.stderr.splitlines()
    assert line.startswith("✗ ")
    return line


def test_without_any_model_it_does_not_start_and_says_both_reasons(root):
    line = refused_to_start(root, **LOCAL, MODEL_PATH="nowhere.joblib")
    assert "no version in Production" in line
    assert "nowhere.joblib is missing" in line


def test_a_threshold_of_another_scale_is_refused(root):
    line = refused_to_start(root, DECISION_THRESHOLD="0.4542", DECISION_SCALE="balanced")
    assert "meant on the balanced scale" in line


def test_a_port_that_is_taken_is_one_line_before_anything_is_loaded(root):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"PORT={port}" in refused_to_start(root, PORT=str(port))


def test_an_open_server_without_keys_is_warned_of(run):
    server = run(HOST="0.0.0.0")
    assert "no key is asked for; set API_KEYS_FILE" in server.log.read_text()
    assert server.post("/predict", RECORD).status == 200


def test_the_threshold_and_the_band_belong_to_the_server(run):
    server = run(DECISION_THRESHOLD="0.3", APPROVAL_BAND="0.0001")
    told = server.post("/predict", RECORD).json
    assert (told["threshold"], told["decision"]) == (0.3, int(told["probability"] >= 0.3))
    near = run(DECISION_THRESHOLD=f"{told['probability']}", APPROVAL_BAND="0.01")
    again = near.post("/predict", RECORD).json
    assert (again["decision"], again["meaning"]) == (None, "review")


def test_keys_are_asked_for_and_rotated_without_a_restart(run, root):
    (old, old_line), (new, new_line) = new_key("old"), new_key("new")
    (root / "keys").write_text(old_line)
    server = run(API_KEYS_FILE="keys")

    def status(path: str = "/predict", **headers: str) -> int:
        return server.post(path, RECORD, headers).status

    assert status() == 401
    assert status(Authorization=f"Bearer {old}") == 200
    assert status(**{"X-API-Key": old}) == 200
    assert status(**{"X-API-Key": old + "x"}) == 401
    assert server.get("/version").status == 401
    assert server.get("/health").status == 200
    (root / "keys").write_text(f"{old_line}\n{new_line}")
    wait_until(lambda: status(**{"X-API-Key": new}) == 200, 5, "the new key")
    assert status(**{"X-API-Key": old}) == 200
    (root / "keys").write_text(new_line)
    wait_until(lambda: status(**{"X-API-Key": old}) == 401, 5, "the old key to be withdrawn")
    assert status(**{"X-API-Key": new}) == 200
    (root / "keys").write_text("nonsense")
    wait_until(lambda: server.get("/health").json["status"] == "degraded" or status() == 0, 5, "the fault")
    assert status(**{"X-API-Key": new}) == 200
    assert new not in server.log.read_text()


@contextmanager
def under_way(server: Running) -> Iterator[socket.socket]:
    """A request of which the server has the headers and half of the body."""
    body = json.dumps(RECORD).encode()
    head = f"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(head.encode() + body[:50])
        time.sleep(0.2)  # nothing tells when the server has read it
        yield connection
        connection.sendall(body[50:])
        found = b""
        while part := connection.recv(4096):
            found += part
        assert found.startswith(b"HTTP/1.1 200 ")
        assert b'"probability"' in found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_what_is_under_way_first(run, root, number):
    server = run(PREDICTION_LOG="kept")
    assert server.process is not None
    with under_way(server):
        server.process.send_signal(number)
        wait_until(lambda: not accepts(server), 5, "the port to be closed")
    assert server.process.wait(timeout=20) == 0
    from lockstep.serving.prediction_log import predictions_table

    assert len(predictions_table(root / "kept")) == 1
    assert server.lines[-1]["event"] == "stopped"


def accepts(server: Running) -> bool:
    try:
        socket.create_connection(("127.0.0.1", server.port), timeout=1).close()
    except OSError:
        return False
    return True
