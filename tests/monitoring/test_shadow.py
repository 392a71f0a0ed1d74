"""A challenger in the shadow: the same requests are scored again, and no answer changes."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import orjson
import psutil
import pytest
from benchmarks.shadow_soak import Soak, accounted
from tests.monitoring.conftest import PROJECT
from tests.registry.populated_registry import flip
from tests.serving.conftest import LOCAL, NAME, UNSET, Running, wait_until

from lockstep.config.serving import load_serving
from lockstep.config.settings import PredictionLogSection
from lockstep.data.values import json_values
from lockstep.monitoring.log_files import Entry
from lockstep.problems.schema import Schema
from lockstep.registry.artifact.model_cache import CACHE
from lockstep.registry.lifecycle.moves import transition
from lockstep.serving.logged_rows import Notes, read_shadow
from lockstep.serving.model_source import registry_source
from lockstep.serving.prediction_log import PredictionLog
from lockstep.serving.request_parsing import RecordReader
from lockstep.serving.shadow import message, parts
from lockstep.serving.shadow_scorer import Challenger, Request, scores_of, taken

REQUESTS = 40
FILE = "models/accidents/xgboost_model.joblib"
SHADOW = {**LOCAL, "SHADOW": "Staging"}
START = 30
"""Seconds for the challenger's process, which starts at the lowest priority beside other tests."""
SMALL_QUEUE = "serving: {prediction_log: {waiting_bytes: 65536}}"


@pytest.fixture
def shadowed(served):
    """The API over version 1, with version 2 in Staging."""
    transition(served.client, NAME, 2, "Staging")
    server = Running(served.root, SHADOW).start()
    yield served, server
    assert server.stop() == 0


@pytest.fixture
def narrow(served):
    """The API with a challenger whose queue takes few requests."""
    config = served.root / "src" / "config" / "model_config.yaml"
    config.parent.mkdir(parents=True)
    config.write_text(SMALL_QUEUE)
    transition(served.client, NAME, 2, "Staging")
    server = Running(served.root, SHADOW).start()
    wait_until(lambda: status_of(server).get("version") == 2, START, "the challenger")
    yield served, server
    assert server.stop() == 0


@pytest.fixture
def challenger(served, monkeypatch):
    """A challenger in this process, with version 2 loaded."""
    monkeypatch.chdir(served.root)
    transition(served.client, NAME, 2, "Staging")
    settings = load_serving(served.root, {"PROBLEM": "accidents", **SHADOW})
    registry = registry_source(settings, served.root, "Staging")
    made = Challenger(registry, settings)
    made.look()
    assert made.served.model.version == 2, made.fault
    return made


def request_of(record, number=0, rows=1):
    return Request(f"r{number}", 0, 1, "another", rows, orjson.dumps(record))


def records_of(served, rows):
    table = served.new("2026-04").head(rows)
    names = served.model().schema.feature_names
    columns = [json_values(table[name].tolist()) for name in names]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def status_of(server):
    return server.get("/health").json["shadow"]


def scorers(root):
    """Return the challenger's processes of a workspace."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        words = process.info["cmdline"] or []
        if "lockstep.serving.shadow_scorer" in words and process.info["cwd"] == str(root):
            found.append(process)
    return found


def scored_by(served):
    key = (NAME, 2, served.model(2).digest)
    found = read_shadow(served.folder, key, 1, Notes()) if served.folder.is_dir() else {}
    return {request: one for (request, _), one in found.items()}


@pytest.mark.long
def test_each_request_is_scored_again_and_compared(shadowed):
    served, server = shadowed
    wait_until(lambda: status_of(server).get("version") == 2, START, "the challenger")
    records = records_of(served, 2 * REQUESTS)
    answers = [
        server.post("/predict", records[2 * n : 2 * n + 2], {"X-Request-ID": f"r{n}"}).json
        for n in range(REQUESTS)
    ]
    wait_until(lambda: len(scored_by(served)) == REQUESTS, 20, "the challenger's scores")
    table = served.new("2026-04").head(2 * REQUESTS)
    ours = [one["probability"] for answer in answers for one in answer["predictions"]]
    assert ours == served.model(1).score(table).tolist()
    found = scored_by(served)
    theirs = [score for n in range(REQUESTS) for score in found[f"r{n}"].scores.tolist()]
    assert theirs == served.model(2).score(table).tolist()
    said = compare(served)
    assert f"{2 * REQUESTS} rows of {REQUESTS} requests" in said
    assert re.search(r"agreement \d+\.\d\d%, \d+\.\d\d ms a row", said)
    assert "no comparison with labels: 0 labels, fewer than 200" in said
    told = (
        f"{NAME} version 2 in the shadow of version 1: {2 * REQUESTS} rows of {REQUESTS} requests"
    )
    assert told in served.run()
    assert served.report["shadow"]["rows"] == 2 * REQUESTS
    page = (served.written / "page.html").read_text()
    assert f"<h2>The challenger in the shadow</h2><p>{told}</p>" in page


def compare(served):
    words = ["compare", "--model-name", NAME, "--version", "2", "--against", "1", "--on-traffic"]
    environment = {k: v for k, v in os.environ.items() if k not in UNSET} | LOCAL
    done = subprocess.run(
        [sys.executable, PROJECT / "scripts" / "manage_model_registry.py", *words],
        cwd=served.root, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.long
def test_a_killed_challenger_changes_no_answer_and_comes_back(shadowed):
    served, server = shadowed
    wait_until(lambda: status_of(server).get("version") == 2, START, "the challenger")
    record = records_of(served, 1)[0]
    before = server.post("/predict", record).json["probability"]
    # A request that waits for a process that has ended starts another one, and its status is new.
    wait_until(lambda: accounted(status_of(server)) == 1, 20, "the first score")
    (process,) = scorers(served.root)
    process.kill()
    wait_until(lambda: "ended (exit code -9)" in status_of(server).get("fault", ""), 10, "its end")
    sent = 1

    def ask():
        nonlocal sent
        sent += 1
        assert server.post("/predict", record).json["probability"] == before

    for _ in range(20):
        ask()

    def is_back():
        ask()
        return status_of(server).get("version") == 2 and status_of(server)["rows"] > 0

    wait_until(is_back, 40, "the challenger's return")
    wait_until(lambda: accounted(status_of(server)) == sent, 10, "the last scores")


@pytest.mark.long
def test_a_challenger_that_stands_still_drops_requests_and_changes_no_answer(narrow):
    served, server = narrow
    records = records_of(served, 20)
    before = server.post("/predict", records).json["predictions"]
    sent = 1
    (process,) = scorers(served.root)
    process.suspend()
    while status_of(server)["dropped"] < 5:
        assert server.post("/predict", records).json["predictions"] == before
        sent += 1
        assert sent < 200, "a queue of 64 KB takes no 200 requests of 15 KB"
    health = server.get("/health")
    assert (health.status, health.json["status"]) == (200, "ok")
    process.resume()
    wait_until(lambda: accounted(status_of(server)) == sent, 20, "the requests that waited")
    state = status_of(server)
    assert state["requests"] == sent - state["dropped"]
    assert 0 < state["requests"] * 20 == state["rows"]
    wait_until(lambda: len(scored_by(served)) == state["requests"], 10, "their entries")


@pytest.mark.long
def test_a_challenger_that_stands_still_is_ended_with_the_server(narrow):
    served, server = narrow
    records = records_of(served, 20)
    (process,) = scorers(served.root)
    process.suspend()
    while not status_of(server)["dropped"]:
        assert server.post("/predict", records).status == 200
    assert server.stop() == 0
    assert not process.is_running()


@pytest.mark.long
def test_a_damaged_challenger_is_a_fault_in_health_and_changes_no_answer(served):
    skops = Path(served.client.get_model_version_download_uri(NAME, "2")) / "model.skops"
    assert skops.is_relative_to(served.root)
    shutil.rmtree(served.root / CACHE, ignore_errors=True)  # it may have been fetched before
    flip(skops)
    transition(served.client, NAME, 2, "Staging")
    server = Running(served.root, SHADOW).start()
    wait_until(lambda: "digest" in status_of(server).get("fault", ""), START, "the refusal")
    answers = [server.post("/predict", record).json for record in records_of(served, 20)]
    own = served.model(1).score(served.new("2026-04").head(20)).tolist()
    assert [one["probability"] for one in answers] == own
    wait_until(lambda: status_of(server)["skipped"] == 20, 10, "the requests it skipped")
    assert server.get("/health").json["status"] == "ok"
    assert server.stop() == 0
    assert not list(served.folder.glob("shadow-*"))


def test_a_request_that_the_challengers_schema_refuses_is_counted_and_the_rest_is_scored(
    served, challenger
):
    schema = challenger.served.model.schema
    content = schema.model_dump(exclude_defaults=True)
    optional = next(column.name for column in schema.features if column.missing)
    content["columns"][optional]["missing"] = False
    stricter = RecordReader(Schema.model_validate(content))
    challenger.served = replace(challenger.served, reader=stricter)
    records = [one | {optional: one[optional] or 0} for one in records_of(served, 10)]
    whole = [one for one in records if fits(stricter, one)]
    assert len(whole) > 2
    asked = [request_of(one, n) for n, one in enumerate([*whole, whole[0] | {optional: None}])]
    log = PredictionLog(served.folder, PredictionLogSection())
    log.start()
    challenger.score(asked, log)
    log.writer.close()
    assert set(scored_by(served)) == {one.request_id for one in asked[:-1]}
    state = challenger.state()
    assert (state["requests"], state["failed"]) == (len(whole), 1)
    assert f"{NAME} version 2 does not score a request" in state["fault"]
    assert optional in state["fault"]


def test_a_model_whose_code_fails_is_a_fault_and_ends_nothing(served, challenger):
    def fail(columns, rows):
        raise ZeroDivisionError("by its own code")

    broken = replace(challenger.served, scorer=type("Broken", (), {"score": staticmethod(fail)}))
    challenger.served = broken
    log = PredictionLog(served.folder, PredictionLogSection())
    challenger.score([request_of(one) for one in records_of(served, 3)], log)
    assert challenger.counts["failed"] == 3
    assert "ZeroDivisionError('by its own code')" in challenger.state()["fault"]


def test_requests_scored_together_get_the_same_bits_as_alone(served, challenger):
    records = records_of(served, 200)
    asked = [request_of(one) for one in records[:150]] + [request_of(records[150:], rows=50)]
    together, decided = scores_of(challenger.served, asked)
    alone = [scores_of(challenger.served, [one]) for one in asked]
    assert together.tolist() == [score for scores, _ in alone for score in scores.tolist()]
    assert decided == [decision for _, decisions in alone for decision in decisions]


def test_requests_are_read_wherever_the_pipe_cuts_them():
    entries = [Entry(f"r{n}", n, NAME, 1, "d", 2, None, [], b"[%d]" % n * n) for n in range(1, 5)]
    sent = message(entries[:3]) + message(entries[3:])
    wanted = [Request(e.request_id, e.time_ms, 1, "d", 2, e.records) for e in entries]
    for cut in range(len(sent) + 1):
        waiting, found = bytearray(), []
        for piece in (sent[:cut], sent[cut:]):
            waiting += piece
            some, end = taken(waiting)
            found += some
            del waiting[:end]
        assert (found, bytes(waiting)) == (wanted, b"")


def test_a_message_holds_about_as_much_as_a_pipe():
    entries = [Entry(f"r{n}", n, NAME, 1, "d", 1, None, [], b"x" * 30_000) for n in range(7)]
    assert [len(part) for part in parts(entries)] == [3, 3, 1]
    assert [one for part in parts(entries) for one in part] == entries


@pytest.mark.long
def test_versions_move_while_the_challenger_scores(served):
    transition(served.client, NAME, 2, "Staging")
    records = records_of(served, 30)
    soak = Soak(served.root, NAME, "accidents", records, requests=400, rate=200.0)
    found = soak.run(["promote 2", "rollback"])
    del found["faults"]["memory that grew"]  # two loads fill caches
    assert not any(found["faults"].values()), found
    assert set(found["answered by version"]) == {1, 2}
    assert "(1, 2)" in found["scored by champion and challenger"]
    assert found["shadow"]["skipped"] > 0


def fits(reader, record):
    return reader._columns([record]) is not None


def test_nothing_in_staging_scores_nothing_also_where_the_workspace_has_a_model(served):
    (served.root / "models/accidents/production.pkl").symlink_to(served.root / FILE)
    server = Running(served.root, SHADOW).start()
    assert server.post("/predict", records_of(served, 1)[0]).status == 200
    wait_until(lambda: status_of(server)["skipped"] == 1, 30, "its state")
    assert "no version in Staging" in status_of(server)["fault"]
    (process,) = scorers(served.root)
    assert process.nice() == 10
    assert server.stop() == 0
    assert scorers(served.root) == []
    assert not list(served.folder.glob("shadow-*"))


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"SHADOW": "Production"}, "SHADOW='Production' (from the variable SHADOW): give Staging"),
        ({**SHADOW, "PREDICTION_LOG": "0"}, "needs the prediction log; remove PREDICTION_LOG=0"),
        ({"SHADOW": "Staging", "MODEL_PATH": FILE}, "needs a registered model to follow"),
    ],
)
def test_a_shadow_that_could_not_work_is_refused(served, variables, told):
    server = Running(served.root, variables).launch()
    assert server.process.wait(60) == 1
    assert told in server.log.read_text()


def test_decisions_and_monitoring_are_metrics(shadowed):
    served, server = shadowed
    for record in records_of(served, 30):
        server.post("/predict", record)
    served.answer("2026-01")
    served.run()
    text = server.get("/metrics").body.decode()
    counts = re.findall(r'^lockstep_decisions_total\{decision="(\w)"\} (\S+)$', text, re.M)
    assert sum(float(many) for _, many in counts) == 30
    assert re.search(rf'^lockstep_monitor_rows{{model="{NAME}",version="1"}} ', text, re.M)
    (age,) = re.findall(r"^lockstep_monitor_age_seconds (\S+)$", text, re.M)
    assert 0 <= float(age) < 60
    assert orjson.loads(server.get("/health").body)["status"] == "ok"
