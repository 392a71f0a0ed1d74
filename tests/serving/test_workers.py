"""Several worker processes behind one port: real ones, ended, killed and promoted under load."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.serving.conftest import LOCAL, NAME, RECORD, Running, client_of, wait_until
from tests.serving.test_live import Load, accepts, half_sent, refused_to_start, rest_of
from tests.warm import COLD

from lockstep.config.serving import load_serving
from lockstep.errors import ConfigError
from lockstep.monitoring.log_files import PREDICTIONS
from lockstep.registry.lifecycle.moves import promote
from lockstep.serving.prediction_log import predictions_table, read_entries, read_labels
from lockstep.serving.siblings import Siblings, worst
from lockstep.serving.telemetry import pieces
from lockstep.serving.workers import Workers

BODY = json.dumps(RECORD).encode()


def pids(server: Running) -> list[int]:
    return _pids(server.get("/health").json)


def _pids(health: dict[str, Any]) -> list[int]:
    return [one["pid"] for one in health["workers"] if "pid" in one]


def all_answer(server: Running, of: int, without: int = 0) -> bool:
    """Tell whether one answer lists that many workers, and not the one of this process id."""
    health = server.get("/health").json
    found = set(_pids(health))
    return health["status"] == "ok" and len(found) == of and without not in found


@pytest.fixture
def three(run: Callable[..., Running]) -> Iterator[Running]:
    """Three workers over the workspace's file."""
    server = run(**COLD, WORKERS="3", PREDICTION_LOG="kept")
    wait_until(lambda: all_answer(server, 3), 60, "all workers")
    yield server
    assert server.stop() == 0


def counted(server: Running, name: str) -> float:
    text = server.get("/metrics").body.decode()
    return sum(map(float, re.findall(rf"^lockstep_{name}(?:\{{.*\}})? (\S+)$", text, re.MULTILINE)))


def test_one_log_one_count_and_labels_of_all_workers(three: Running):
    with Load(three, clients=12) as load:
        wait_until(lambda: len(load.answers) > 600, 20, "answers")
    assert load.errors == []
    assert {status for status, *_ in load.answers} == {200}
    assert counted(three, "decisions_total") == len(load.answers)
    assert counted(three, "rows_total") == len(load.answers)
    for label in (1, 0):  # each on a connection of its own: any worker takes it
        told = {"request_id": "of-two-workers", "label": label}
        assert three.post("/feedback", told).status == 202
    folder = three.root / "kept"

    def logged() -> int:
        return sum(1 for _ in read_entries(folder))

    wait_until(lambda: logged() == len(load.answers), 10, "the log")
    wait_until(lambda: read_labels(folder) == {("of-two-workers", 1): 0}, 10, "the last label")
    entries = list(read_entries(folder))
    assert len({entry.request_id for entry in entries}) == len(entries)
    writers = {path.name.split("-")[2] for path in folder.glob(PREDICTIONS)}
    assert {int(one) for one in writers} <= set(pids(three))
    assert len(writers) > 1, "one worker answered all"
    assert len(predictions_table(folder)) == len(entries)
    lines = three.log.read_text().splitlines()
    wanted = [line for line in lines if '"/predict"' in line]
    assert len([json.loads(line) for line in wanted]) == len(load.answers)  # no line is torn


def test_a_killed_worker_is_replaced_and_its_counts_stay(three: Running):
    for _ in range(30):
        assert three.post("/predict", RECORD).status == 200
    before = counted(three, "decisions_total")
    old = pids(three)
    assert len(old) == 3, "a worker that answered is missing in another one's answer"
    os.kill(old[1], signal.SIGKILL)
    wait_until(lambda: all_answer(three, 3, without=old[1]), 120, "another worker")
    assert len(set(pids(three)) & set(old)) == 2
    (said,) = [line for line in three.lines if line["event"] == "worker ended"]
    assert (said["worker"], said["exit_code"], said["level"]) == (2, -signal.SIGKILL, "error")
    assert counted(three, "decisions_total") == before
    assert three.post("/predict", RECORD).status == 200
    assert counted(three, "decisions_total") == before + 1
    # Each worker writes its own gauges once a second, and the least counts.
    wait_until(lambda: counted(three, "ready") == 1, 20, "the new worker's own word")
    assert str(counted(three, "monitor_age_seconds")) == "nan"  # it never ran


def test_a_worker_that_cannot_be_started_is_tried_again(tmp_path, monkeypatch):
    """As without memory for another process."""
    settings = load_serving(tmp_path, {"WORKERS": "1", "PREDICTION_LOG": "0"})
    made = Workers(settings, tmp_path, socket.socket())
    codes, events = iter([OSError(12, "Cannot allocate memory"), 7]), []

    def start(_):
        code = next(codes)
        if isinstance(code, OSError):
            raise code
        made._stop.set()
        return code

    monkeypatch.setattr(made, "_run_once", start)
    monkeypatch.setattr(made.log, "event", lambda event, *_, **more: events.append((event, more)))
    made._was_ready = True
    made._keep(1)
    assert [event for event, _ in events] == ["worker not started", "worker ended"]
    assert events[0][1] == {"worker": 1, "error": "[Errno 12] Cannot allocate memory"}
    assert list(codes) == []
    made.listening.close()
    made._folder.cleanup()


def test_a_stopped_worker_is_told_in_health(three: Running):
    victim = pids(three)[2]
    os.kill(victim, signal.SIGSTOP)
    try:
        wait_until(lambda: three_is_degraded(three), 30, "the news")
    finally:
        os.kill(victim, signal.SIGCONT)
    wait_until(lambda: all_answer(three, 3), 30, "all workers")


def three_is_degraded(server: Running) -> bool:
    """Ask on connections of ours until a worker that runs takes one."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=2)
    try:
        connection.request("GET", "/health")
        found = json.loads(connection.getresponse().read())
    except TimeoutError:  # the stopped one took it
        return False
    finally:
        connection.close()
    return found["status"] == "degraded" and "not answering" in str(found["workers"])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_end_answers_what_is_under_way_in_every_worker(run, number):
    server = run(**COLD, WORKERS="2", PREDICTION_LOG="kept")
    wait_until(lambda: all_answer(server, 2), 60, "all workers")
    workers = pids(server)
    assert server.process is not None
    found: list[bytes] = []
    opened = [half_sent(server) for _ in range(6)]
    connections = [one.__enter__() for one in opened]
    assert server.get("/health/live").status == 200
    threading.Event().wait(0.3)  # nothing tells when a server has read a part of a body
    server.process.send_signal(number)
    wait_until(lambda: not accepts(server), 10, "the port to be closed")
    for connection in connections:
        connection.sendall(BODY[50:])
        found.append(rest_of(connection))
    for one in opened:
        one.__exit__(None, None, None)
    assert [one[:13] for one in found] == [b"HTTP/1.1 200 "] * 6
    assert server.process.wait(timeout=60) == 0
    for pid in workers:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert len(list(read_entries(server.root / "kept"))) == 6
    assert Counter(line["event"] for line in server.lines)["stopped"] == 3


def test_workers_end_when_their_parent_is_killed(run):
    server = run(**COLD, WORKERS="2")
    wait_until(lambda: all_answer(server, 2), 60, "all workers")
    assert server.process is not None
    server.process.kill()
    wait_until(lambda: not accepts(server), 30, "the workers to end")


def test_all_workers_switch_and_no_request_fails(run, root):
    client = client_of(root)
    promote(client, NAME, 1)
    server = run(**LOCAL, **COLD, WORKERS="2")
    wait_until(lambda: all_answer(server, 2), 60, "all workers")

    def versions() -> set[int]:
        return {one.get("version") for one in server.get("/health").json["workers"]}

    with Load(server, clients=6) as load:
        promote(client, NAME, 2)
        wait_until(lambda: versions() == {2}, 4 * 5, "both workers' switch")
        wait_until(lambda: len(load.answers) > 100, 20, "some answers")
    assert load.errors == []
    assert {status for status, *_ in load.answers} == {200}
    assert {version for _, version, _ in load.answers} <= {1, 2}
    assert counted(server, "model_version") == 2


def test_a_first_worker_that_can_not_start_ends_the_server_with_its_one_line(root):
    line = refused_to_start(root, **COLD, WORKERS="2", MODEL_PATH="nowhere.joblib")
    assert "nowhere.joblib is missing" in line


@pytest.mark.parametrize("given", ["0", "65", "many"])
def test_a_number_that_is_none_is_refused(tmp_path, given):
    with pytest.raises(ConfigError, match="WORKERS"):
        load_serving(tmp_path, {"WORKERS": given})


def test_a_state_that_is_missing_or_old_is_no_answer(tmp_path, monkeypatch):
    first, second = Siblings(1, 3, tmp_path), Siblings(2, 3, tmp_path)
    second.write({"status": "ok", "version": 4})
    found = first.read({"status": "ok"})
    assert [one["status"] for one in found] == ["ok", "ok", "not answering"]
    assert found[1] == {"worker": 2, "status": "ok", "version": 4}
    assert worst(found) == "degraded"
    assert worst(found[:2]) == "ok"
    monkeypatch.setattr("lockstep.serving.siblings.time.time", lambda: 2e9 + 1e9)
    assert first.read({"status": "ok"})[1]["status"] == "not answering"


def test_lines_are_written_whole_in_pieces_that_fit_a_pipe():
    lines = [b"x" * size for size in (10, 4000, 90, 5000, 3, 4000)]
    found = list(pieces(lines))
    assert b"".join(found) == b"\n".join([*lines, b""])
    assert all(piece.endswith(b"\n") for piece in found)
    assert [len(piece) <= 4096 for piece in found].count(False) == 1  # a line that is longer itself
