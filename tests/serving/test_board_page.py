"""The board of the API: whom it answers, from what, and what it says while the registry is away."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from tests.browser import browser, check_page, opened, wait_for_charts
from tests.serving.conftest import LOCAL, NAME, RECORD

from lockstep.errors import RegistryError
from lockstep.reports.board import Board, BoardModel
from lockstep.serving import board_page
from lockstep.serving.api_keys import new_key
from lockstep.serving.board_page import BoardPage
from lockstep.serving.http_request import Refusal

__all__ = ["browser"]
AWAY = "The registry can’t be read since"


class Registry:
    """A registry that answers, refuses or hangs, as a test says; it counts who asked."""

    def __init__(self):
        self.asked, self.fault, self.answers = 0, None, threading.Event()
        self.answers.set()

    def read(self):
        self.asked += 1
        assert self.answers.wait(30)
        if self.fault is not None:
            raise self.fault
        return Board(f"place {self.asked}", datetime.now(UTC), (BoardModel("M", "p", "f1", ()),))


@pytest.fixture
def registry():
    return Registry()


@pytest.fixture
def page(registry, tmp_path):
    return BoardPage(tmp_path, True, registry.read)


def asked(page, times=1):
    """Ask at once as often; return the answers' status and text."""

    async def ask():
        return await asyncio.gather(*(page.reply() for _ in range(times)))

    return [(one.status, one.body.decode()) for one in in_a_loop(ask())]


def in_a_loop(work):
    """Run a coroutine in a thread: in that of a browser a loop is running."""
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(asyncio.run, work).result()


def expire(monkeypatch):
    monkeypatch.setattr(board_page, "FRESH_SECONDS", 0.0)


def test_many_requests_at_once_are_one_read(page, registry):
    answers = asked(page, 20)
    assert {status for status, _ in answers} == {200}
    assert registry.asked == 1
    asked(page)
    assert registry.asked == 1


def test_a_board_is_read_again_when_it_is_old(page, registry, monkeypatch):
    expire(monkeypatch)
    assert "place 1" in asked(page)[0][1]
    assert "place 2" in asked(page)[0][1]


def test_the_last_known_board_stays_while_the_registry_is_away(page, registry, monkeypatch):
    expire(monkeypatch)
    asked(page)
    registry.fault = RegistryError("the server <b> refused")
    status, text = asked(page)[0]
    assert (status, "place 1" in text, AWAY in text) == (200, True, True)
    assert "the server &lt;b&gt; refused" in text
    since = page._away_since
    asked(page)
    assert page._away_since == since
    registry.fault = None
    assert AWAY not in asked(page)[0][1]
    assert page._away_since is None


def test_a_registry_that_was_never_read_is_a_page_that_says_so(page, registry):
    registry.fault = RegistryError("it is gone")
    status, text = asked(page)[0]
    assert (status, "Nothing was read of it before" in text) == (503, True)


def test_a_registry_that_hangs_keeps_no_request_waiting(page, registry, monkeypatch):
    expire(monkeypatch)
    monkeypatch.setattr(board_page, "PATIENCE_SECONDS", 0.2)

    async def ask():
        registry.answers.clear()
        began = time.monotonic()
        first, second = await page.reply(), await page.reply()
        assert time.monotonic() - began < 5
        registry.answers.set()
        await asyncio.wait_for(page._reading, 10)
        return first, second, await page.reply()

    first, second, last = in_a_loop(ask())
    assert (first.status, second.status, last.status) == (503, 503, 200)
    assert "it did not answer within 0.2 s" in first.body.decode()
    assert registry.asked <= 2


def test_a_read_that_never_returns_is_given_up_and_its_late_result_ignored(
    page, registry, monkeypatch
):
    expire(monkeypatch)
    monkeypatch.setattr(board_page, "PATIENCE_SECONDS", 0.2)
    monkeypatch.setattr(board_page, "ABANDON_SECONDS", 0.0)
    late, hung = registry.answers, Registry()

    async def ask():
        late.clear()
        first, old = await page.reply(), page._reading
        page._read = hung.read
        second = await page.reply()
        monkeypatch.setattr(board_page, "FRESH_SECONDS", 60.0)
        hung.fault = RegistryError("it is gone")
        third = await page.reply()
        late.set()
        await asyncio.wait_for(old, 10)
        return first, second, third, await page.reply()

    first, second, third, last = in_a_loop(ask())
    assert (first.status, second.status) == (503, 200)
    assert AWAY in third.body.decode()
    assert last is third  # the old reading found a board, but too late
    assert (registry.asked, hung.asked) == (1, 2)


def test_a_fault_of_ours_is_no_registry_that_is_away(page, registry):
    registry.fault = ZeroDivisionError("ours")
    with pytest.raises(ZeroDivisionError):
        asked(page)


def test_without_a_registry_there_is_no_board(tmp_path):
    with pytest.raises(Refusal, match="run `make board`") as caught:
        asked(BoardPage(tmp_path, False))
    assert caught.value.status == 404


def test_a_server_over_a_file_has_none(server):
    answer = server.get("/board")
    assert (answer.status, "follows no registry" in answer.json["error"]) == (404, True)


@pytest.mark.parametrize("size", ["phone", "desk"])
def test_the_page_of_a_server_passes_in_a_browser(browser, followed, size):
    address = f"http://127.0.0.1:{followed.server.port}/board"
    with opened(browser, address, size, "dark") as page:
        wait_for_charts(page)
        check_page(page)
        assert page.get_by_role("heading", name=NAME).is_visible()
        column = page.get_by_label(f"Production of {NAME}", exact=True)
        assert column.locator(".first b").all_inner_texts() == ["version 1"]
    assert followed.server.post("/predict", RECORD).status == 200


def test_a_server_with_keys_asks_for_one(run, root):
    from tests.serving.conftest import client_of

    from lockstep.registry.lifecycle.moves import promote

    promote(client_of(root), NAME, 1)
    key, line = new_key("someone")
    (root / "keys").write_text(f"{line}\n")
    server = run(**LOCAL, API_KEYS_FILE="keys")
    assert server.get("/board").status == 401
    answer = server.get("/board", **{"X-API-Key": key})
    assert (answer.status, NAME in answer.body.decode()) == (200, True)
    assert answer.headers["cache-control"] == "no-store"
