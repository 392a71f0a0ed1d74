"""The version in Staging answers beside the one that serves: checked, bounded, never noted."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from tests.serving.conftest import NAME, RECORD, Followed, Running, wait_until

from lockstep.errors import ArtifactError, RegistryError
from lockstep.registry.lifecycle.moves import transition
from lockstep.registry.store.names import TAG_PREFIX, EmptyStage
from lockstep.serving import staging_model
from lockstep.serving.http_request import Refusal
from lockstep.serving.staging_model import IDLE_SECONDS, RETRY_SECONDS, StagingModel

PATH = "/predict?stage=Staging"


@pytest.fixture
def move(followed: Followed) -> Iterator[Callable[[str], None]]:
    """Move version 2 to a stage; afterwards it is in none again."""
    yield lambda stage: transition(followed.client, NAME, 2, stage)
    transition(followed.client, NAME, 2, "None")


def test_each_request_gets_a_refusal_of_its_own(monkeypatch):
    """One that is raised again keeps the frames of all requests, with their bodies."""
    model = StagingModel(SimpleNamespace(), SimpleNamespace(poll_seconds=60.0))
    monkeypatch.setattr(model, "_look", lambda: model._refuse("it is damaged"))
    found = []
    for _ in range(2):
        with pytest.raises(Refusal, match="it is damaged") as caught:
            model.current()
        found.append(caught.value)
    assert found[0] is not found[1]
    assert (found[0].status, found[0].message) == (found[1].status, found[1].message)


def status(server: Running) -> int:
    return server.post(PATH, RECORD).status


def decided(server: Running) -> float:
    """Return how many decisions the server has counted."""
    text = server.get("/metrics").body.decode()
    return sum(map(float, re.findall(r"^lockstep_decisions_total\{.*\} (\S+)$", text, re.M)))


def test_it_follows_the_stage_and_leaves_the_other_answers_alone(followed: Followed, move):
    server = followed.server
    told = server.post(PATH, RECORD)
    assert told.status == 404
    assert f"{NAME} has no version in Staging" in told.json["error"]
    production = server.post("/predict", RECORD).json
    decisions = decided(server)
    move("Staging")
    wait_until(lambda: status(server) == 200, 10, "version 2 to answer")
    wait_until(lambda: followed.health["source"]["staging"] == 2, 10, "the news in /health")
    answer = server.post(PATH, RECORD).json
    explained = server.post("/explain?stage=Staging", RECORD).json
    listed = server.post(PATH, [RECORD, RECORD]).json
    assert (answer["version"], answer["threshold"]) == (2, explained["threshold"])
    assert answer["probability"] == explained["probability"] != production["probability"]
    assert [one["probability"] for one in listed["predictions"]] == [answer["probability"]] * 2
    sum_of = explained["base"] + sum(explained["contributions"].values())
    assert sum_of == pytest.approx(explained["margin"], abs=1e-4)
    assert server.post(PATH, {}).status == 422
    again = server.post("/predict", RECORD).json
    assert again | {"request_id": ""} == production | {"request_id": ""}
    assert followed.version == 1
    assert decided(server) == decisions + 1  # that of the version in Production
    (served,) = re.findall(
        r"^lockstep_model_info\{.*\} 1", server.get("/metrics").body.decode(), re.M
    )
    assert production["model_digest"] in served
    move("Archived")
    wait_until(lambda: status(server) == 404, 10, "the stage to be empty")
    wait_until(lambda: followed.health["source"]["staging"] is None, 10, "the news in /health")


def test_a_server_without_a_registry_has_no_staging_and_unknown_values_are_refused(
    server: Running,
):
    told = server.post(PATH, RECORD)
    assert (told.status, told.json["error"]) == (
        404,
        "this server follows no registered model, so it has no Staging",
    )
    assert "staging" not in server.get("/health").json["source"]
    for query, words in (("stage=Production", "give stage=Staging"), ("log=no", "give log=0")):
        told = server.post(f"/predict?{query}", RECORD)
        assert told.status == 400
        assert words in told.json["error"]


@pytest.mark.parametrize("rows", [1, 300], ids=["one", "in a thread"])
def test_what_is_tried_out_is_not_noted(server: Running, rows: int):
    records = [RECORD] * rows
    plain = server.post("/predict?log=1", records).json
    before = decided(server)
    tried = server.post("/predict?log=0", records).json
    assert tried["predictions"] == plain["predictions"]
    assert decided(server) == before
    kept = server.post("/predict", records).json["request_id"]

    def log() -> bytes:
        return b"".join(one.read_bytes() for one in (server.root / "predictions").iterdir())

    wait_until(lambda: kept.encode() in log(), 10, "the log")
    assert tried["request_id"].encode() not in log()


class Registry:
    """A registry as it is asked: what it finds, or raises, and how often it opened a version."""

    def __init__(self) -> None:
        self.found: Any = version(1)
        self.last: Any = None
        self.opened: list[int] = []

    def find_moved(self, always: bool) -> Any:
        if isinstance(self.found, Exception):
            raise self.found
        moved, self.last = always or self.found is not self.last, self.found
        return self.found if moved else None

    def open(self, found: Any) -> Any:
        self.opened.append(found.version)
        if found.version == 13:
            raise ArtifactError("version 13 is damaged")
        return found

    def forget(self) -> None:
        self.last = None


def version(number: int, **more: str) -> Any:
    tags = {"model_digest": f"d{number}", "threshold": "0.5", **more}
    prefixed = {f"{TAG_PREFIX}{key}": value for key, value in tags.items()}
    return SimpleNamespace(name="m", version=number, tags=prefixed)


@pytest.fixture
def staging(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """A staging model whose clock is moved by hand."""
    clock = SimpleNamespace(now=1000.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(staging_model, "time", clock)
    monkeypatch.setattr(staging_model, "prepare", lambda checked, settings: checked)
    registry = Registry()
    model = StagingModel(registry, SimpleNamespace(poll_seconds=1))

    def later(seconds: float) -> int:
        clock.now += seconds
        return int(model.current().version)

    return SimpleNamespace(registry=registry, model=model, later=later, clock=clock)


def test_a_version_is_loaded_once_and_replaced_when_another_one_is_there(staging):
    assert [staging.later(s) for s in (0, 0.5, 2, 2)] == [1, 1, 1, 1]
    assert staging.registry.opened == [1]
    staging.registry.found = version(2)
    assert staging.later(0.5) == 1  # looked less than `poll_seconds` ago
    assert staging.later(1) == 2
    assert staging.registry.opened == [1, 2]
    staging.registry.found = version(2, score_scale="balanced")
    assert staging.later(2) == 2
    assert staging.registry.opened == [1, 2, 2]


def test_nothing_stays_in_memory_when_nobody_asks_or_the_stage_is_empty(staging):
    assert staging.later(0) == 1
    staging.clock.now += IDLE_SECONDS - 1
    staging.model.unload_idle()
    assert staging.model.served is not None
    staging.clock.now += 2
    staging.model.unload_idle()
    assert staging.model.served is None
    assert staging.later(2) == 1
    assert staging.registry.opened == [1, 1]
    staging.registry.found = EmptyStage("m has no version in Staging")
    with pytest.raises(Refusal, match="no version in Staging") as refusal:
        staging.later(2)
    assert refusal.value.status == 404
    assert staging.model.served is None


def test_a_damaged_version_is_refused_and_tried_again_after_a_while(staging):
    assert staging.later(0) == 1
    staging.registry.found = version(13)
    for _ in range(3):
        with pytest.raises(Refusal, match="version 13 is damaged") as refusal:
            staging.later(2)
    assert refusal.value.status == 503
    assert staging.registry.opened == [1, 13]
    with pytest.raises(Refusal, match="damaged"):
        staging.later(RETRY_SECONDS)
    assert staging.registry.opened == [1, 13, 13]
    staging.registry.found = version(2)
    assert staging.later(2) == 2


def test_a_registry_that_does_not_answer_leaves_the_loaded_version(staging):
    assert staging.later(0) == 1
    staging.registry.found = RegistryError("no answer")
    assert staging.later(2) == 1
    staging.registry.found = version(2)
    assert staging.later(2) == 2


def test_an_idle_look_never_waits_for_a_load(staging):
    with staging.model._lock:
        began = time.monotonic()
        staging.model.unload_idle()
        assert time.monotonic() - began < 1
