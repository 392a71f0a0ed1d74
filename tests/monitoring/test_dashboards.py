"""Dashboard and alerts against a real Prometheus that scrapes the real API."""

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
import requests
from tests.monitoring.test_shadow import SHADOW, records_of
from tests.registry_workspace import free_port
from tests.serving.conftest import NAME, Running, wait_until
from tests.shared.services import REQUIRED

from lockstep.registry.lifecycle.moves import transition

FOLDER = Path(__file__).parents[2] / "dashboards"
PANELS = json.loads((FOLDER / "grafana.json").read_text("utf-8"))["panels"]
QUERIES = {
    f"{panel['title']} {target['refId']}": target["expr"]
    for panel in PANELS
    for target in panel["targets"]
}


@pytest.fixture(scope="session")
def prometheus() -> str:
    """Return the program; skipped or failed with the fix where it is missing."""
    found = shutil.which("prometheus")
    if found is None or shutil.which("promtool") is None:
        fix = "prometheus is not installed; run scripts/install_services.sh"
        if os.environ.get(REQUIRED) == "1":
            pytest.fail(f"{fix} ({REQUIRED}=1 forbids to skip)", pytrace=False)
        pytest.skip(fix)
    return found


def test_the_rules_fire_when_they_should(prometheus):
    done = subprocess.run(
        ["promtool", "test", "rules", str(FOLDER / "alerts_test.yml")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_configuration_is_valid(prometheus):
    checked = ["promtool", "check", "config", str(FOLDER / "prometheus.yml")]
    subprocess.run(checked, check=True, capture_output=True)


@pytest.mark.long
def test_every_panel_is_answered(prometheus, served, tmp_path):
    transition(served.client, NAME, 2, "Staging")
    served.answer("2026-01", labels=served.new("2026-01")["grav"].to_numpy().astype(int))
    served.run()
    server = Running(served.root, SHADOW).start()
    port = free_port()
    config = (FOLDER / "prometheus.yml").read_text("utf-8")
    config = config.replace("127.0.0.1:8000", f"127.0.0.1:{server.port}").replace("15s", "1s")
    (tmp_path / "prometheus.yml").write_text(config.replace("alerts.yml", f"{FOLDER}/alerts.yml"))
    process = subprocess.Popen(
        [
            prometheus,
            f"--config.file={tmp_path}/prometheus.yml",
            f"--storage.tsdb.path={tmp_path}/data",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        records = records_of(served, 20)

        def lacking() -> list[str]:
            for record in records:
                server.post("/predict", record)
            return [name for name, query in QUERIES.items() if not answer(port, query)]

        deadline = time.monotonic() + 60
        wait_until(lambda: ready(port), 30, "Prometheus")
        while missing := lacking():
            assert time.monotonic() < deadline, f"no answer: {missing}"
        rules = requests.get(f"http://127.0.0.1:{port}/api/v1/rules", timeout=5).json()
        found = rules["data"]["groups"][0]["rules"]
        assert {rule["health"] for rule in found} <= {"ok", "unknown"}
        assert {rule["lastError"] for rule in found if "lastError" in rule} == set()
    finally:
        process.terminate()
        process.wait(timeout=30)
        assert server.stop() == 0


def ready(port):
    try:
        return requests.get(f"http://127.0.0.1:{port}/-/ready", timeout=2).ok
    except requests.ConnectionError:
        return False


def answer(port, query):
    """Return the values of a query that are numbers."""
    asked = {"query": query.replace("[5m]", "[20s]").replace("[1h]", "[20s]")}
    found = requests.get(f"http://127.0.0.1:{port}/api/v1/query", params=asked, timeout=5).json()
    assert found["status"] == "success", found
    return [one for one in found["data"]["result"] if one["value"][1] != "NaN"]
