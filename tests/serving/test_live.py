"""A server over a registry: promotions, refusals, a registry that is gone, keys, and the end."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.registry.loaded import load_version
from tests.registry.populated_registry import flip
from tests.serving.conftest import (
    LOCAL,
    NAME,
    RECORD,
    UNSET,
    Running,
    client_of,
    rest_of,
    wait_until,
)

from lockstep.data.records import records_to_table
from lockstep.errors import ArtifactError, ConfigError
from lockstep.models.workspace import load_file
from lockstep.problems.schema import load_schema
from lockstep.registry.artifact.model_cache import CACHE
from lockstep.registry.lifecycle.moves import archive, promote, rollback
from lockstep.serving.api_keys import new_key
from lockstep.serving.prediction_log import predictions_table

FILE = "models/accidents/xgboost_model.joblib"
BODY = json.dumps(RECORD).encode()
ACCIDENTS = load_schema("accidents")


@pytest.fixture
def client(root: Path) -> Any:
    return client_of(root)


def score(client: Any, root: Path, version: int) -> float:
    model = load_version(client, root, NAME, version=version)
    return float(model.score(records_to_table(ACCIDENTS, [RECORD]))[0])


class Load:
    """Requests without a pause on a few connections that stay open; every answer is kept."""

    def __init__(self, server: Running, clients: int = 3) -> None:
        self.server = server
        self.answers: list[tuple[int, Any, Any]] = []
        self.errors: list[str] = []
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def _ask(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=30)
        try:
            while not self._end.is_set():
                connection.request("POST", "/predict", BODY, {"Content-Type": "application/json"})
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


def test_promotions_and_rollbacks_are_live_within_5_s_and_no_request_fails_or_mixes_models(
    followed,
):
    server, client = followed.server, followed.client
    scores = {number: score(client, followed.root, number) for number in (1, 2)}
    assert scores[1] != scores[2]
    reloads = followed.count("reloads")
    with Load(server) as load:
        for move, wanted in (
            (lambda: promote(client, NAME, 2), 2),
            (lambda: rollback(client, NAME), 1),
        ):
            move()
            wait_until(lambda wanted=wanted: followed.version == wanted, 5, f"version {wanted}")
        wait_until(lambda: len(load.answers) > 300, 20, "some more answers")
    assert load.errors == []
    assert {status for status, *_ in load.answers} == {200}
    seen = {(number, chance) for _, number, chance in load.answers}
    assert seen == set(scores.items())
    assert followed.health["status"] == "ok"
    assert followed.count("model_version") == 1
    assert followed.count("reloads") == reloads + 2


def test_the_metrics_name_the_version_without_a_request_for_it(followed):
    promote(followed.client, NAME, 2)
    wait_until(lambda: followed.health["version"] == 2, 5, "version 2")
    assert followed.count("model_version") == 2
    rollback(followed.client, NAME)
    wait_until(lambda: followed.health["version"] == 1, 5, "version 1")
    assert followed.count("model_version") == 1


def test_a_damaged_model_is_refused_and_the_old_one_goes_on(followed):
    server, client = followed.server, followed.client
    before, failures = (
        server.post("/predict", RECORD).json["probability"],
        followed.count("reload_failures"),
    )
    skops = Path(client.get_model_version_download_uri(NAME, "2")) / "model.skops"
    assert skops.is_relative_to(followed.root)
    whole = skops.read_bytes()
    shutil.rmtree(followed.root / CACHE, ignore_errors=True)  # it may have been fetched before
    flip(skops)
    promote(client, NAME, 2)
    wait_until(lambda: "refused" in followed.health["source"], 10, "the refusal")
    health = followed.health
    assert (health["status"], health["ready"], health["version"]) == ("degraded", True, 1)
    assert health["source"]["refused"]["version"] == 2
    assert "digest" in health["source"]["refused"]["reason"]
    assert server.post("/predict", RECORD).json["probability"] == before
    assert followed.count("reload_failures") == failures + 1
    rollback(client, NAME)
    wait_until(lambda: followed.health["status"] == "ok", 10, "the health to be good again")
    skops.write_bytes(whole)


def test_an_empty_production_is_told_and_the_old_model_goes_on(followed):
    archive(followed.client, NAME, 1)
    wait_until(lambda: followed.health["status"] == "degraded", 10, "the news")
    assert "no version in Production" in followed.health["source"]["registry_error"]
    assert followed.server.post("/predict", RECORD).json["version"] == 1
    promote(followed.client, NAME, 2)
    wait_until(lambda: followed.version == 2, 5, "version 2")
    assert followed.health["status"] == "ok"


def test_a_registry_that_is_gone_at_the_start_leaves_the_file_and_is_followed_when_it_comes(
    client, root, source_of, tmp_path
):
    promote(client, NAME, 1)
    root = shutil.copytree(
        root, tmp_path / "another"
    )  # whose store this process has not opened yet
    os.rename(root / "mlflow.db", root / "away.db")
    source = source_of(root, **LOCAL, MODEL_PATH=FILE)
    assert source.served is not None
    assert source.served.model.digest == load_file(root / FILE, root).digest
    assert source.degraded
    assert "fallback" in source.health()
    os.rename(root / "away.db", root / "mlflow.db")
    source.look()
    assert source.served.model.version == 1
    assert not source.degraded
    assert "fallback" not in source.health()


def test_a_tracking_server_that_is_not_there_at_the_start_leaves_the_file(root, source_of):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        source = source_of(root, MLFLOW_TRACKING_URI=uri, MODEL_PATH=FILE)
    assert source.served is not None
    assert source.served.model.digest == load_file(root / FILE, root).digest
    assert "refused the connection" in source.health()["registry_error"]
    assert source.health()["fallback"]


def test_a_fixed_run_is_served_whatever_is_promoted(client, root, source_of):
    run_id = client.get_model_version(NAME, "2").run_id
    promote(client, NAME, 1)
    for uri in (f"runs:/{run_id}/model", f"models:/{NAME}/2"):
        source = source_of(root, **LOCAL, MODEL_URI=uri)
        assert source.served is not None
        assert (source.served.origin["version"], source.served.origin["run_id"]) == (2, run_id)
        source.follow()
        assert not [one for one in threading.enumerate() if one.name == "follow the registry"]


def test_an_exported_bundle_is_served_and_a_changed_one_is_not(client, root, source_of):
    from lockstep.audit.bundle import export

    export(client, root, NAME, root / "bundle", version=1)
    served = source_of(root, MODEL_PATH="bundle").served
    assert served is not None
    assert (served.origin["version"], served.version_body["source"]) == (1, "bundle")
    (root / "bundle" / "schema.yaml").write_text("name: other\n")
    with pytest.raises(
        ArtifactError, match=r"not the bundle that was exported: changed: schema\.yaml"
    ):
        source_of(root, MODEL_PATH="bundle")
    assert (root / "bundle" / "model").is_dir()


def refused_to_start(root: Path, **variables: str) -> str:
    environment = {k: v for k, v in os.environ.items() if k not in UNSET}
    command = [sys.executable, "-m", "lockstep.serving"]
    ended = subprocess.run(
        command, cwd=root, env={**environment, "PROBLEM": "accidents", "PORT": "0", **variables},
        timeout=60, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 1, ended.stderr
    (line,) = ended.stderr.splitlines()
    assert line.startswith("✗ ")
    return line


def test_without_any_model_it_does_not_start_and_says_both_reasons(root):
    line = refused_to_start(root, **LOCAL, MODEL_PATH="nowhere.joblib")
    assert "no version in Production" in line
    assert "nowhere.joblib is missing" in line


def test_a_threshold_of_another_scale_is_refused(root, source_of):
    with pytest.raises(ConfigError, match="assumes the balanced scale"):
        source_of(root, DECISION_THRESHOLD="0.4542", DECISION_SCALE="balanced")


def test_a_port_that_is_taken_is_one_line_before_anything_is_loaded(root):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"PORT={port}" in refused_to_start(root, PORT=str(port))


def test_threshold_band_and_time_limit_belong_to_a_server_and_an_open_one_is_warned_of(run, root):
    near = float(load_file(root / FILE, root).score(records_to_table(ACCIDENTS, [RECORD]))[0])
    server = run(
        HOST="0.0.0.0", DECISION_THRESHOLD=f"{near + 0.001}", APPROVAL_BAND="0.01",
        REQUEST_SECONDS="1", PREDICTION_LOG="kept",
    )  # fmt: skip
    assert "can use it without a key; set API_KEYS_FILE" in server.log.read_text()
    told = server.post("/predict", [RECORD, {**RECORD, "agg_": 3 - RECORD["agg_"]}]).json
    (there, other), threshold = told["predictions"], told["threshold"]
    assert threshold == pytest.approx(near + 0.001)
    assert (there["probability"], there["decision"], there["meaning"]) == (near, None, "review")
    assert abs(other["probability"] - threshold) > 0.01
    assert other["decision"] == int(other["probability"] >= threshold)
    began = time.monotonic()
    with half_sent(server) as slow:
        assert server.post("/predict", RECORD).status == 200
        assert rest_of(slow).startswith(b"HTTP/1.1 408 ")
    assert time.monotonic() - began < 8
    ends_what_is_under_way_first(server, signal.SIGINT)
    assert len(predictions_table(root / "kept")) == 4


def test_keys_are_asked_for_and_rotated_without_a_restart(run, root):
    (old, old_line), (new, new_line) = new_key("old"), new_key("new")
    (root / "keys").write_text(old_line)
    server = run(API_KEYS_FILE="keys", PREDICTION_LOG="kept")

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
    # the file is looked at by requests that need a key
    wait_until(
        lambda: (
            status(**{"X-API-Key": new}) == 200
            and server.get("/health").json["status"] == "degraded"
        ),
        5,
        "the fault",
    )
    assert "line 1 is not of the form NAME:SHA256" in server.get("/health").json["faults"][0]
    ends_what_is_under_way_first(server, signal.SIGTERM, {"X-API-Key": new})
    assert new not in server.log.read_text()
    assert old not in server.log.read_text()


@contextmanager
def half_sent(server: Running, headers: Mapping[str, str] | None = None) -> Iterator[socket.socket]:
    """A request of which the server has the headers and a part of the body."""
    lines = {
        "Host": "a",
        "Content-Type": "application/json",
        "Content-Length": len(BODY),
        **(headers or {}),
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(f"POST /predict HTTP/1.1\r\n{head}\r\n".encode() + BODY[:50])
        yield connection


def ends_what_is_under_way_first(
    server: Running, number: int, headers: Mapping[str, str] | None = None
) -> None:
    """Stop a server amid a request, which is answered; it ends with code 0, its log complete."""
    assert server.process is not None
    with half_sent(server, headers) as connection:
        time.sleep(0.2)  # nothing tells when the server has read it
        server.process.send_signal(number)
        wait_until(lambda: not accepts(server), 5, "the port to be closed")
        connection.sendall(BODY[50:])
        found = rest_of(connection)
    assert found.startswith(b"HTTP/1.1 200 ")
    assert b'"probability"' in found
    assert server.process.wait(timeout=20) == 0
    assert server.lines[-1]["event"] == "stopped"


def accepts(server: Running) -> bool:
    try:
        socket.create_connection(("127.0.0.1", server.port), timeout=1).close()
    except OSError:
        return False
    return True
