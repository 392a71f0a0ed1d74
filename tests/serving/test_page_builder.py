"""The page is made once however many ask for it, and a failure is not repeated."""

import threading
from types import SimpleNamespace

import pytest

from lockstep.serving import loaded_model
from lockstep.serving.page_builder import PageBuilder


def test_those_who_ask_at_once_get_one_page():
    made, go = [], threading.Event()

    def make():
        made.append(threading.current_thread())
        assert go.wait(30)
        return b"page"

    builder = PageBuilder(make)
    pages = [builder.begun() for _ in range(3)]
    assert not any(page.done() for page in pages)
    go.set()
    assert [page.result(30) for page in pages] == [b"page"] * 3
    assert len(made) == 1
    assert made[0] is not threading.current_thread()


def test_a_failure_is_remembered():
    tries = []

    def make():
        tries.append(1)
        raise ValueError("no page")

    builder = PageBuilder(make)
    for _ in range(2):
        with pytest.raises(ValueError, match="no page"):
            builder.begun().result(30)
    assert len(tries) == 1


def test_without_an_order_the_page_has_that_of_the_schema(monkeypatch):
    def fails(*_):
        raise ValueError("no order")

    given = []
    monkeypatch.setattr(loaded_model, "by_effect", fails)
    monkeypatch.setattr(loaded_model, "what_if_page", lambda *rest: given.append(rest) or "page")
    model = SimpleNamespace(schema="the schema")
    checked = SimpleNamespace(model=model, typical=None, example={}, counts=lambda: None)
    assert loaded_model._page(checked, None, None, None, True) == b"page"
    assert given == [("the schema", None, "probability", None, [], True)]
