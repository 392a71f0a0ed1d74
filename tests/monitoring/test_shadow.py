"""A challenger in the shadow: the same requests are scored again, and no answer changes."""

import os
import re
import subprocess
import sys

import orjson
import psutil
import pytest
from tests.monitoring.conftest import PROJECT
from tests.serving.conftest import LOCAL, NAME, UNSET, Running, wait_until

from lockstep.data.values import json_values
from lockstep.registry.lifecycle.moves import transition
from lockstep.serving.logged_rows import Notes, read_shadow

REQUESTS = 40
FILE = "models/accidents/xgboost_model.joblib"
SHADOW = {**LOCAL, "SHADOW": "Staging"}


@pytest.fixture
def shadowed(served):
    """The API over version 1, with version 2 in Staging."""
    transition(served.client, NAME, 2, "Staging")
    server = Running(served.root, SHADOW).start()
    yield served, server
    assert server.stop() == 0


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
    return read_shadow(served.folder, key, 1, Notes()) if served.folder.is_dir() else {}


def test_each_request_is_scored_again_and_compared(shadowed):
    served, server = shadowed
    wait_until(lambda: status_of(server).get("version") == 2, 30, "the challenger")
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


def test_a_killed_challenger_changes_no_answer_and_comes_back(shadowed):
    served, server = shadowed
    wait_until(lambda: status_of(server).get("version") == 2, 30, "the challenger")
    record = records_of(served, 1)[0]
    before = server.post("/predict", record).json["probability"]
    (process,) = scorers(served.root)
    process.kill()
    for _ in range(20):
        assert server.post("/predict", record).json["probability"] == before

    def is_back():
        assert server.post("/predict", record).json["probability"] == before
        return status_of(server).get("version") == 2 and status_of(server).get("rows", 0) > 0

    wait_until(is_back, 40, "the challenger's return")


def test_nothing_in_staging_costs_nothing(served):
    server = Running(served.root, SHADOW).start()
    assert server.post("/predict", records_of(served, 1)[0]).status == 200
    wait_until(lambda: "Staging" in status_of(server).get("fault", ""), 30, "its state")
    assert len(scorers(served.root)) == 1
    assert server.stop() == 0
    assert scorers(served.root) == []
    assert scored_by(served) == {}


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
