"""What slow, hostile and merely odd clients send over one connection, and over many.

They meet a real server with small bounds.
"""

from __future__ import annotations

import http.client
import json
import re
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
from tests.serving.conftest import RECORD, Running, rest_of, wait_until

from lockstep.config.settings import CONFIG_FILE

BODY = json.dumps(RECORD).encode()
CONNECTIONS = 20
CONFIG = """
serving:
  limits: {{body_seconds: {body_seconds}, request_seconds: 10, connections: {connections}}}
"""
SOON = """
import sys
from lockstep.serving import connection_limits as protocol
protocol.HEADER_SECONDS, protocol.STALL_SECONDS = 1.5, 1.5
from lockstep.serving.__main__ import main
sys.exit(main())
"""
"""Starts the server with shorter bounds than anybody may configure.

Else each test of one would take ten seconds.
"""


@pytest.fixture(scope="module")
def bounded(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    yield from serving(made, tmp_path_factory.mktemp("bounded"), 1)


@pytest.fixture
def patient(made: Path, tmp_path: Path) -> Iterator[Running]:
    """A server that waits for a body as long as a busy machine needs to send a large one."""
    yield from serving(made, tmp_path, 60)


def serving(made: Path, folder: Path, body_seconds: float) -> Iterator[Running]:
    root = folder / "a project"
    shutil.copytree(made, root)
    (root / CONFIG_FILE).parent.mkdir(parents=True)
    limits = CONFIG.format(body_seconds=body_seconds, connections=CONNECTIONS)
    (root / CONFIG_FILE).write_text(limits)
    running = Running(root, {"PREDICTION_LOG": "0"}, program=("-c", SOON)).start()
    yield running
    assert running.stop() == 0
    assert [line for line in running.lines if line["level"] == "error"] == []
    assert 500 not in {line.get("status") for line in running.lines}


def request(body: bytes = BODY, path: str = "/predict", more: str = "") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n{more}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


LAST = b"GET /health/live HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


def opened(server: Running, content: bytes = b"", seconds: float = 15) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=seconds)
    connection.sendall(content)
    return connection


def answers(server: Running, content: bytes) -> list[tuple[int, dict]]:
    """Send bytes over one connection; return each answer's status and content until it closes."""
    with opened(server, content) as connection:
        text = rest_of(connection)
    found = []
    while text:
        head, _, text = text.partition(b"\r\n\r\n")
        length = int(re.search(rb"content-length: (\d+)", head)[1])
        found.append((int(head.split()[1]), json.loads(text[:length])))
        text = text[length:]
    return found


# ---- several requests on one connection ----------------------------------------------------------
def test_requests_sent_without_waiting_are_answered_in_their_order(bounded: Running):
    sent = [request(more=f"X-Request-ID: r-{number}\r\n") for number in range(40)]
    told = answers(bounded, b"".join(sent) + LAST)
    assert [status for status, _ in told] == [200] * 41
    assert [content["request_id"] for _, content in told[:-1]] == [
        f"r-{number}" for number in range(40)
    ]


def test_what_is_no_http_is_told_after_the_answers_to_what_came_before(bounded: Running):
    for number in (0, 1, 5):
        told = answers(bounded, request() * number + b"hello\r\n\r\n")
        assert [status for status, _ in told] == [200] * number + [400]
    (told,) = answers(
        bounded, request().replace(b"Content-Length: ", b"Transfer-Encoding: chunked\r\nX: ")[:-300]
    )
    assert told[0] == 400


def test_a_request_cut_in_its_head_behind_many_is_no_endless_head(bounded: Running):
    with opened(bounded) as connection:
        big = request(json.dumps([RECORD] * 60).encode())
        content = big * 5 + request()
        assert len(content) > 64 * 1024
        cut = len(content) - len(BODY) - 40
        connection.sendall(content[:cut])
        time.sleep(0.3)  # so that the server has read a part of the head behind the bodies
        connection.sendall(content[cut:] + LAST)
        found = rest_of(connection)
    assert re.findall(rb"HTTP/1.1 (\d+)", found) == [b"200"] * 7


def test_too_many_requests_in_a_row_are_refused_after_the_answers_to_the_first(bounded: Running):
    told = answers(bounded, LAST.replace(b"Connection: close\r\n", b"") * 5000)
    statuses = [status for status, _ in told]
    assert 60 < len(statuses) < 70
    assert statuses == [200] * (len(statuses) - 1) + [503]


@pytest.mark.parametrize("protocol", ["h2c", "websocket"])
def test_a_wish_for_another_protocol_is_passed_over_with_the_body_kept(
    bounded: Running, protocol: str
):
    wish = (
        f"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: {protocol}\r\n"
        "HTTP2-Settings: AAMAAABkAAQAAP__\r\n"
    )
    content = request(more=wish)
    told = answers(bounded, content + content + LAST)
    assert [status for status, _ in told] == [200] * 3
    plain = bounded.post("/predict", RECORD).json["probability"]
    assert [content["probability"] for _, content in told[:2]] == [plain] * 2
    with opened(bounded) as connection:  # byte groups as they may come over a network
        for start in range(0, len(content), 97):
            connection.sendall(content[start : start + 97])
            time.sleep(0.002)
        connection.sendall(LAST)
        assert re.findall(rb"HTTP/1.1 (\d+)", rest_of(connection)) == [b"200", b"200"]


@pytest.mark.parametrize("content", [
    b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n",
    request().replace(b"Content-Length", b"Transfer-Encoding: chunked\r\nContent-Length"),
    request().replace(b"Content-Length: ", b"Content-Length: -"),
    request().replace(b"Content-Length: ", b"Content-Length: 99999999999999999999"),
    request().replace(b"Content-Length: ", b"Content-Length: 1\r\nContent-Length: "),
    b"GET http://a:b/ HTTP/1.1\r\nHost: a\r\n\r\n",
], ids=["connect", "two lengths", "negative", "huge", "twice", "address"])  # fmt: skip
def test_heads_that_mean_two_things_are_refused(bounded: Running, content: bytes):
    assert [status for status, _ in answers(bounded, content)] == [400]


def test_a_head_that_came_whole_is_measured_too(bounded: Running):
    (told,) = answers(bounded, request(more=f"X: {'x' * 40_000}\r\n"))
    assert (told[0], told[1]["error"]) == (431, "the headers are longer than 32,768 bytes")


# ---- slow clients --------------------------------------------------------------------------------
def test_slow_heads_bodies_and_leftovers_are_ended_in_time(bounded: Running):
    began = time.monotonic()
    with ExitStack() as stack:

        def slow(content: bytes) -> socket.socket:
            return stack.enter_context(opened(bounded, content))

        heads = [slow(b""), slow(b"\r\n"), slow(b"POST /pre"), slow(request()[:80])]
        body, unwanted = slow(request()[:-10]), slow(request(path="/nothing")[:-10])
        leftover = slow(b"GET /health/live HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n{")
        for _ in range(8):  # a byte now and then prolongs nothing
            time.sleep(0.1)
            leftover.sendall(b" ")
        for one in heads:
            assert rest_of(one).startswith(b"HTTP/1.1 408 ")
        assert b"did not arrive within 1 s" in rest_of(body)
        assert rest_of(unwanted).startswith(b"HTTP/1.1 404 ")
        assert rest_of(leftover).startswith(b"HTTP/1.1 200 ")
    assert time.monotonic() - began < 8
    assert bounded.lives()


def test_a_client_that_never_reads_its_answers_is_dropped(bounded: Running):
    many = request(json.dumps([RECORD] * 10_000).encode())
    with opened(bounded) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sender = threading.Thread(target=send_until_refused, args=(connection, many * 6))
        sender.start()
        process = psutil.Process(bounded.process.pid)
        wait_until(lambda: established(process) == [], 25, "the connection to be dropped")
        sender.join(timeout=10)
        assert not sender.is_alive()
    assert bounded.lives()


def send_until_refused(connection: socket.socket, content: bytes) -> None:
    try:
        connection.sendall(content)
    except OSError:
        return


def established(process: psutil.Process) -> list[int]:
    return [one.raddr.port for one in process.net_connections("tcp") if one.status == "ESTABLISHED"]


def test_a_client_that_goes_away_in_the_middle_hinders_nobody(bounded: Running):
    wanted = bounded.post("/predict", RECORD).json["probability"]
    stop = threading.Event()

    def leave() -> None:
        while not stop.is_set():
            with opened(bounded, request() * 3):
                pass
            with opened(bounded, request()[:-5]):
                pass

    leaving = threading.Thread(target=leave)
    leaving.start()
    try:
        connection = http.client.HTTPConnection("127.0.0.1", bounded.port, timeout=10)
        for _ in range(200):
            connection.request("POST", "/predict", BODY, {"Content-Type": "application/json"})
            got = connection.getresponse()
            assert (got.status, json.loads(got.read())["probability"]) == (200, wanted)
        connection.close()
    finally:
        stop.set()
        leaving.join()


# ---- more than the server takes ------------------------------------------------------------------
def test_more_connections_than_are_answered_are_told_so_and_health_still_answers(bounded: Running):
    process = psutil.Process(bounded.process.pid)
    wait_until(lambda: not established(process), 10, "the connections of other tests to be gone")
    with ExitStack() as stack:
        for _ in range(CONNECTIONS):
            stack.enter_context(opened(bounded, b"POST /pre"))
        told = bounded.post("/predict", RECORD, {"X-Request-ID": "busy-1"})
        assert (told.status, told.headers["retry-after"], told.headers["connection"]) == (
            503,
            "1",
            "close",
        )
        assert told.json == {
            "error": "too much is under way; try again in a second",
            "request_id": "busy-1",
        }
        assert bounded.get("/health").status == 200
        assert 'route="/predict",status="503"' in bounded.get("/metrics").body.decode()
    wait_until(
        lambda: bounded.post("/predict", RECORD).status == 200, 5, "the server to be free again"
    )


def test_more_connections_than_can_be_held_are_dropped(bounded: Running):
    process = psutil.Process(bounded.process.pid)
    with ExitStack() as stack:
        for _ in range(CONNECTIONS + 150):
            stack.enter_context(opened(bounded))
        wait_until(
            lambda: len(established(process)) <= CONNECTIONS + 64, 1, "the rest to be dropped"
        )
    wait_until(
        lambda: bounded.post("/predict", RECORD).status == 200, 5, "the server to be free again"
    )


@pytest.mark.parametrize("kind", ["Content-Length: 100000000", "Transfer-Encoding: chunked"])
def test_a_large_body_is_not_kept_in_memory(patient: Running, kind: str):
    assert patient.post("/predict", b" " * 20_000_000).status == 413
    process, part = psutil.Process(patient.process.pid), b" " * 1_000_000
    before = peak = process.memory_info().rss
    piece, end = (
        (b"%x\r\n%b\r\n" % (len(part), part), b"0\r\n\r\n") if "chunked" in kind else (part, b"")
    )
    head = f"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n{kind}\r\n\r\n"
    with opened(patient, head.encode()) as connection:
        for _ in range(100):
            connection.sendall(piece)
            peak = max(peak, process.memory_info().rss)
        connection.sendall(end)
        assert connection.recv(65_536).startswith(b"HTTP/1.1 413 ")
    assert peak - before < 40_000_000  # twice what a body may have, and room
    assert patient.lives()
