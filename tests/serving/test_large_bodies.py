"""Memory for large bodies is bounded, and an answer that comes too late counts for nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow as pa
from tests.serving.conftest import RECORD, Running, wait_until
from tests.serving.table_forms import stream
from tests.serving.test_wire import opened

from lockstep.config.settings import CONFIG_FILE
from lockstep.serving.http_request import ARROW_STREAM
from lockstep.serving.prediction_log import read_entries

Run = Callable[..., Running]
TABLE_BYTES = 1_000_000


def table(rows: int) -> bytes:
    return stream(pa.Table.from_pylist([RECORD] * rows))


def sent(server: Running, body: bytes, **headers: Any) -> int:
    return server.ask(
        "POST", "/predict", body, {"Content-Type": ARROW_STREAM.decode(), **headers}
    ).status


def test_an_answer_that_nobody_got_is_neither_logged_nor_counted(run: Run, root: Path):
    (root / CONFIG_FILE).parent.mkdir(parents=True)
    (root / CONFIG_FILE).write_text("serving: {limits: {request_seconds: 0.05}}")
    server = run(PREDICTION_LOG="kept")
    body = table(60_000)
    late = [sent(server, body, **{"X-Request-ID": f"late-{number}"}) for number in range(4)]
    assert late == [503] * 4
    records = [RECORD] * 250  # more than is answered in the event loop: behind the tables
    wait_until(lambda: server.post("/predict", records).status == 200, 20, "an answer in time")
    assert server.post("/predict", RECORD, {"X-Request-ID": "in-time"}).status == 200
    text = server.get("/metrics").body.decode()
    counted = sum(map(float, re.findall(r"^lockstep_decisions_total\{.*\} (\S+)$", text, re.M)))
    assert server.stop() == 0
    entries = list(read_entries(server.root / "kept"))
    assert "in-time" in {entry.request_id for entry in entries}
    assert [entry for entry in entries if entry.request_id.startswith("late")] == []
    assert counted == sum(entry.rows for entry in entries)


def test_large_bodies_under_way_have_a_limit_together(run: Run):
    server = run(MAX_TABLE_BYTES=str(TABLE_BYTES), PREDICTION_LOG="0")
    head = f"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: {ARROW_STREAM.decode()}\r\n"
    declared = f"{head}Content-Length: {TABLE_BYTES}\r\n\r\nhalf".encode()
    unknown = f"{head}Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n".encode()
    body = table(2_000)
    assert 100_000 < len(body) < TABLE_BYTES
    with ExitStack() as stack:
        for start in (declared, unknown) * 4:
            stack.enter_context(opened(server, start))
        wait_until(lambda: sent(server, body) == 503, 5, "the memory to be taken")
        assert server.post("/predict", RECORD).status == 200
        assert sent(server, table(2)) == 200  # a small one needs none
    wait_until(lambda: sent(server, body) == 200, 5, "the memory to be free again")


def test_records_of_unknown_length_take_memory_as_they_come(run: Run):
    server = run(MAX_TABLE_BYTES=str(TABLE_BYTES), PREDICTION_LOG="0")
    head = "POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
    chunk = b" " * (TABLE_BYTES // 5)
    start = f"{head}Transfer-Encoding: chunked\r\n\r\n{len(chunk):x}\r\n".encode()
    body = table(2_000)
    with ExitStack() as stack:

        def taken():
            stack.enter_context(opened(server, start + chunk + b"\r\n"))
            return sent(server, body) == 503

        wait_until(taken, 5, "the memory to be taken")
        assert server.post("/predict", RECORD).status == 200
    wait_until(lambda: sent(server, body) == 200, 5, "the memory to be free again")
