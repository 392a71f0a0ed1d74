"""Downloads against a real HTTP server on loopback that misbehaves as told."""

import hashlib
import os
import pty
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep.data.download import Patience, fetch_all, note_of, spot_of
from lockstep.errors import DataError
from lockstep.problems.source_files import RemoteFile

BODY = bytes(range(256)) * 1200  # 307,200 bytes; cuts below fall on whole blocks of 8,192
SHA = hashlib.sha256(BODY).hexdigest()
QUICK = Patience(connect=2.0, read=0.4, tries=3, pause=0.0)


class Server:
    """A server whose answers are a list of plans, one a request; the last plan stays."""

    def __init__(self) -> None:
        self.body = BODY
        self.etag: str | None = '"one"'
        self.plans: list[dict] = [{}]
        self.requests: list[dict[str, str]] = []
        self.stop = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.requests.append(dict(self.headers))
                plan = server.plans.pop(0) if len(server.plans) > 1 else server.plans[0]
                server.answer(self, plan)

            def log_message(self, *_: object) -> None:
                """Stay silent."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/file.csv"

    def answer(self, to: BaseHTTPRequestHandler, plan: dict) -> None:
        to.close_connection = True
        wanted = to.headers.get("Range") if plan.get("ranges", True) else None
        if wanted and to.headers.get("If-Range") not in (None, self.etag):
            wanted = None
        status, start = plan.get("status", 200), 0
        if status == 200 and self.etag and to.headers.get("If-None-Match") == self.etag:
            status = 304
        if status == 200 and wanted:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            status = 206 if start < len(self.body) else 416
        payload = plan.get("payload", self.body)[start:] if status in (200, 206) else b""
        to.send_response(status)
        to.send_header("Content-Type", plan.get("type", "text/csv"))
        if plan.get("length", True):
            to.send_header("Content-Length", str(len(payload)))
        if status == 206:
            to.send_header("Content-Range", f"bytes {start}-{len(self.body) - 1}/{len(self.body)}")
        if self.etag:
            to.send_header("ETag", self.etag)
        to.end_headers()
        to.wfile.write(payload[: plan.get("cut", len(payload))])
        if plan.get("hang"):
            to.wfile.flush()
            self.stop.wait(5)


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    thread = threading.Thread(target=made.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.stop.set()
    made.http.shutdown()
    made.http.server_close()
    thread.join()


def fetch(
    server: Server, cache: Path, sha256: str | None = None, patience: Patience = QUICK
) -> Path:
    return fetch_all([RemoteFile("file.csv", server.url, sha256)], cache, patience)[0]


def part(server: Server, cache: Path) -> Path:
    return spot_of(RemoteFile("file.csv", server.url), cache).part


def test_a_file_arrives_whole_and_leaves_no_part(
    server: Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert fetch(server, tmp_path, SHA).read_bytes() == BODY
    assert not part(server, tmp_path).exists()
    assert capfd.readouterr() == ("", "")  # no progress bar in a log


def test_experiments_beside_each_other_fetch_a_file_once(server: Server, tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(lambda _: fetch(server, tmp_path, SHA), range(4)))
    assert {path.read_bytes() for path in paths} == {BODY}
    assert len(server.requests) == 1


def test_progress_is_shown_on_a_terminal(server: Server, tmp_path: Path) -> None:
    program = (
        "from pathlib import Path; from lockstep.data.download import fetch_all; "
        "from lockstep.problems.source_files import RemoteFile; "
        f"fetch_all([RemoteFile('file.csv', {server.url!r})], Path({str(tmp_path)!r}))"
    )
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 100))
    subprocess.run([sys.executable, "-c", program], stderr=theirs, check=True)
    os.close(theirs)
    shown = os.read(ours, 65_536).decode()
    os.close(ours)
    assert "file.csv: 100%" in shown
    assert "307k/307k" in shown


def test_a_cut_connection_is_resumed_where_it_stopped(server: Server, tmp_path: Path) -> None:
    server.plans = [{"cut": 98_304}, {"cut": 65_536}, {}]
    assert fetch(server, tmp_path, SHA).read_bytes() == BODY
    assert [r.get("Range") for r in server.requests] == [None, "bytes=98304-", "bytes=163840-"]
    assert server.requests[1]["If-Range"] == '"one"'


def test_many_cuts_are_no_failure_while_every_try_gets_further(
    server: Server, tmp_path: Path
) -> None:
    server.plans = [{"cut": 49_152}] * 6 + [{}]
    assert fetch(server, tmp_path, SHA).read_bytes() == BODY
    assert len(server.requests) == 7 > QUICK.tries


def test_an_interrupted_run_is_resumed_by_the_next(server: Server, tmp_path: Path) -> None:
    server.plans = [{"cut": 98_304}]
    once = Patience(connect=2.0, read=0.4, tries=1, pause=0.0)
    with pytest.raises(DataError, match=r"cut after 98,304 bytes.*run the command again") as caught:
        fetch(server, tmp_path, patience=once)
    assert "\n" not in str(caught.value)
    assert part(server, tmp_path).stat().st_size == 98_304
    server.plans = [{}]
    assert fetch(server, tmp_path).read_bytes() == BODY
    assert server.requests[-1]["Range"] == "bytes=98304-"


def test_a_server_without_ranges_starts_anew(server: Server, tmp_path: Path) -> None:
    server.plans = [{"cut": 98_304, "ranges": False}, {"ranges": False}]
    assert fetch(server, tmp_path, SHA).read_bytes() == BODY


def test_a_server_without_ranges_that_always_cuts_is_given_up(
    server: Server, tmp_path: Path
) -> None:
    server.plans = [{"cut": 98_304, "ranges": False}]
    with pytest.raises(DataError, match="could not be fetched"):
        fetch(server, tmp_path)
    assert len(server.requests) == QUICK.tries


def test_a_part_is_never_continued_with_another_revision(server: Server, tmp_path: Path) -> None:
    server.plans = [{"cut": 98_304}]
    with pytest.raises(DataError):
        fetch(server, tmp_path, patience=Patience(tries=1))
    server.body, server.etag, server.plans = b"new " * 50_000, '"two"', [{}]
    assert fetch(server, tmp_path).read_bytes() == server.body


def test_another_length_is_noticed_where_the_server_has_no_etag(
    server: Server, tmp_path: Path
) -> None:
    server.etag, server.plans = None, [{"cut": 98_304}]
    with pytest.raises(DataError):
        fetch(server, tmp_path, patience=Patience(tries=1))
    server.body, server.plans = b"new " * 50_000, [{}]
    assert fetch(server, tmp_path).read_bytes() == server.body


def test_416_drops_the_part_and_starts_anew(server: Server, tmp_path: Path) -> None:
    server.etag, server.plans = None, [{"cut": 294_912}]
    with pytest.raises(DataError):
        fetch(server, tmp_path, patience=Patience(tries=1))
    server.body, server.plans = b"short " * 1000, [{}]
    assert fetch(server, tmp_path).read_bytes() == server.body
    assert [r.get("Range") for r in server.requests] == [None, "bytes=294912-", None]


def test_a_part_that_is_complete_needs_no_request(server: Server, tmp_path: Path) -> None:
    whole = fetch(server, tmp_path)
    whole.replace(part(server, tmp_path))
    note_of(whole).replace(note_of(part(server, tmp_path)))
    asked = len(server.requests)
    assert fetch(server, tmp_path, SHA).read_bytes() == BODY
    assert len(server.requests) == asked


def test_a_part_nobody_knows_is_dropped(server: Server, tmp_path: Path) -> None:
    tmp_path.mkdir(exist_ok=True)
    part(server, tmp_path).write_bytes(b"from somewhere")
    assert fetch(server, tmp_path).read_bytes() == BODY
    assert "Range" not in server.requests[0]


def test_a_wrong_sum_names_both_and_removes_the_file(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"SHA-256 {SHA}, pinned is {'0' * 64}"):
        fetch(server, tmp_path, "0" * 64)
    assert list(tmp_path.iterdir()) == []


def test_a_changed_pin_does_not_accept_the_cached_copy(server: Server, tmp_path: Path) -> None:
    fetch(server, tmp_path)
    with pytest.raises(DataError, match="pinned is"):
        fetch(server, tmp_path, "0" * 64)


def test_a_cached_copy_with_the_pinned_sum_costs_no_request(server: Server, tmp_path: Path) -> None:
    fetch(server, tmp_path, SHA)
    fetch(server, tmp_path, SHA)
    assert len(server.requests) == 1


def test_an_unpinned_copy_is_asked_about_and_kept_while_unchanged(
    server: Server, tmp_path: Path
) -> None:
    first = fetch(server, tmp_path).stat().st_mtime_ns
    assert fetch(server, tmp_path).stat().st_mtime_ns == first
    assert server.requests[1]["If-None-Match"] == '"one"'
    server.body, server.etag = b"revised", '"two"'
    assert fetch(server, tmp_path).read_bytes() == b"revised"


def test_an_earlier_copy_is_used_loudly_while_the_server_is_away(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fetch(server, tmp_path)
    server.plans = [{"status": 503}]
    assert fetch(server, tmp_path).read_bytes() == BODY
    assert "going on with the copy fetched earlier" in capsys.readouterr().err


def test_404_is_told_at_once_with_the_address_and_the_fix(server: Server, tmp_path: Path) -> None:
    server.plans = [{"status": 404}]
    with pytest.raises(DataError, match=r"file\.csv.*404.*base_url.*make add-data") as caught:
        fetch(server, tmp_path)
    assert server.url in str(caught.value)
    assert len(server.requests) == 1


def test_a_server_error_is_tried_again(server: Server, tmp_path: Path) -> None:
    server.plans = [{"status": 500}, {"status": 503}, {}]
    assert fetch(server, tmp_path).read_bytes() == BODY


def test_a_server_error_that_stays_is_given_up(server: Server, tmp_path: Path) -> None:
    server.plans = [{"status": 500}]
    with pytest.raises(DataError, match="the server answered 500"):
        fetch(server, tmp_path)
    assert len(server.requests) == QUICK.tries


def test_a_server_that_falls_silent_is_left_and_resumed(server: Server, tmp_path: Path) -> None:
    server.plans = [{"cut": 98_304, "hang": True}, {}]
    assert fetch(server, tmp_path, SHA).read_bytes() == BODY
    assert server.requests[1]["Range"] == "bytes=98304-"


def test_a_server_that_stays_silent_is_given_up(server: Server, tmp_path: Path) -> None:
    server.plans = [{"cut": 0, "hang": True}]
    with pytest.raises(DataError, match="fell silent"):
        fetch(server, tmp_path)


@pytest.mark.parametrize(
    "plan",
    [{"type": "text/html; charset=utf-8"}, {"payload": b"\n<!DOCTYPE html><p>sign in</p>"}],
    ids=["by type", "by content"],
)
def test_a_web_page_is_no_file(server: Server, tmp_path: Path, plan: dict) -> None:
    server.plans = [plan]
    with pytest.raises(DataError, match="web page in place of the file"):
        fetch(server, tmp_path)


def test_an_empty_file_is_refused(server: Server, tmp_path: Path) -> None:
    server.body = b""
    with pytest.raises(DataError, match="empty file"):
        fetch(server, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_without_a_told_length_arrives(server: Server, tmp_path: Path) -> None:
    server.plans = [{"length": False}]
    assert fetch(server, tmp_path, SHA).read_bytes() == BODY


def test_nobody_listening_is_one_line(tmp_path: Path) -> None:
    nobody = RemoteFile("file.csv", "http://127.0.0.1:9/file.csv")
    with pytest.raises(DataError, match=r"cannot be reached.*make add-data") as caught:
        fetch_all([nobody], tmp_path, QUICK)
    assert "\n" not in str(caught.value)


def test_a_proxy_that_does_not_answer_is_named(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "NO_PROXY", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    named = r"the proxy http://127\.0\.0\.1:9 \(from the variable http_proxy\) cannot be reached"
    with pytest.raises(DataError, match=named + r".*add 127\.0\.0\.1 to no_proxy") as caught:
        fetch(server, tmp_path)
    assert "\n" not in str(caught.value)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert fetch(server, tmp_path).read_bytes() == BODY


def test_a_wrong_address_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no address to fetch"):
        fetch_all([RemoteFile("file.csv", "data.example/file.csv")], tmp_path, QUICK)


@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(0, len(BODY)), max_size=4), ranges=st.booleans())
def test_wherever_it_is_cut_the_bytes_are_the_same(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int], ranges: bool
) -> None:
    server = Server()
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    server.plans = [*({"cut": cut, "ranges": ranges} for cut in cuts), {}]
    patient = Patience(connect=2.0, read=2.0, tries=6, pause=0.0)
    try:
        assert (
            fetch(server, tmp_path_factory.mktemp("cache"), patience=patient).read_bytes() == BODY
        )
    finally:
        server.http.shutdown()
        server.http.server_close()
        thread.join()
