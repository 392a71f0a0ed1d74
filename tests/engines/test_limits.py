"""What is wrong with a master or its settings is said in time, by the clock of a whole command."""

import os
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from tests.engines.conftest import CONF
from tests.registry_workspace import free_port
from tests.warm import COLD

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
NO_PAGE = "http://127.0.0.1:9"
UNREACHABLE, TOO_SMALL = 10, 30
"""Seconds within which a fault of an address, and of a cluster's size, is said."""


def within(seconds):
    """Return the bound: more only where over two processes wait for each of the cores."""
    return seconds * max(1.0, os.getloadavg()[0] / (2 * (os.cpu_count() or 1)))


@dataclass(frozen=True)
class Said:
    """What a command said, and how long it took."""

    code: int
    text: str
    seconds: float


@pytest.fixture(scope="module")
def train(tmp_path_factory):
    """Return what trains xgboost in three tasks, as a user would; no file of it may change."""
    folder = tmp_path_factory.mktemp("a project")
    params = yaml.safe_load((ROOT / "params.yaml").read_text("utf-8"))
    first = params["train"]["accidents-xgboost"]
    params["prepare_spark"] = {"accidents": {"partitions": 3}}
    params["train_spark"] = {"accidents-xgboost": {**first, "cv_folds": 0}}
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), "utf-8")
    (folder / "dvc.yaml").write_bytes((ROOT / "dvc.yaml").read_bytes())

    def run(*words, **settings):
        script = ROOT / "src" / "models" / "train_spark.py"
        command = [sys.executable, str(script), "--models", "xgboost", *words]
        began = time.monotonic()
        done = subprocess.run(
            command, cwd=folder, env={**os.environ, **COLD, **settings},
            capture_output=True, text=True, check=False, timeout=90,
        )  # fmt: skip
        seconds = time.monotonic() - began
        assert {path.name for path in folder.iterdir()} == {"params.yaml", "dvc.yaml"}
        assert (done.stdout, done.stderr.count("\n")) == ("", 1), done.stdout + done.stderr
        return Said(done.returncode, done.stderr, seconds)

    return run


@pytest.fixture
def addresses():
    """Return masters that can't be reached, by what is said of them."""
    with ExitStack() as stack:
        silent, full = (stack.enter_context(socket.socket()) for _ in range(2))
        for listening in (silent, full):
            listening.bind(("127.0.0.1", 0))
            listening.listen(0)
        waiting = [stack.enter_context(socket.socket()) for _ in range(4)]
        for client in waiting:
            client.setblocking(False)
            client.connect_ex(full.getsockname())
        ports = [free_port(), silent.getsockname()[1], full.getsockname()[1]]
        yield {
            f"127.0.0.1:{ports[0]}": "Connection refused",
            "no-such-host.invalid:7077": "not known",
            f"127.0.0.1:{ports[1]}": "no answer within 4 seconds",
            f"127.0.0.1:{ports[2]}": "no answer within 4 seconds",
        }


def test_a_master_that_cannot_be_reached(train, addresses):
    """Nothing listens, no such name, a program that never answers, dropped packets."""
    with ThreadPoolExecutor(2) as pool:  # two of them wait most of the time
        everything = list(pool.map(lambda place: train("--master", f"spark://{place}"), addresses))
    for said, (place, reason) in zip(everything, addresses.items(), strict=True):
        assert said.code == 1
        assert said.text.startswith(f"✗ the Spark master spark://{place} can't be reached ({place}")
        assert reason in said.text
        assert said.seconds < within(UNREACHABLE)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"LOCKSTEP_SPARK_MEMORY": "90t"}, "LOCKSTEP_SPARK_MEMORY is '90t', and this machine has "),
        ({"LOCKSTEP_SPARK_MASTER": "local[1]"}, "3 tasks must run at once, and local[1] runs 1; "),
    ],
)
def test_a_setting_that_is_wrong(train, settings, told):
    said = train(**settings)
    assert (said.code, told in said.text) == (1, True), said.text
    assert said.seconds < within(UNREACHABLE)


def test_more_tasks_or_memory_than_there_is_by_the_masters_page(train, whole_cluster):
    place = {"LOCKSTEP_SPARK_MASTER_PAGE": whole_cluster.page}
    said = train("--master", whole_cluster.url, **place)
    assert said.text.startswith("✗ 3 tasks must run at once, and the 2 workers of")
    assert said.seconds < within(UNREACHABLE)
    memory = {"LOCKSTEP_SPARK_CONF": f"{CONF} spark.executor.memory=2g"}
    said = train("--master", whole_cluster.url, **place, **memory)
    assert said.text.startswith("✗ an executor asks for 2g of memory, and the largest worker of")
    assert said.seconds < within(UNREACHABLE)


@pytest.mark.soak
def test_more_tasks_than_there_are_cores_without_the_masters_page(train, whole_cluster):
    """Only a session can tell; it is opened before any stage runs."""
    said = train("--master", whole_cluster.url, LOCKSTEP_SPARK_MASTER_PAGE=NO_PAGE)
    assert said.text.startswith("✗ 3 tasks must run at once, and spark://127.0.0.1:")
    assert "gave cores for 2: " in said.text
    assert said.seconds < within(TOO_SMALL), said
