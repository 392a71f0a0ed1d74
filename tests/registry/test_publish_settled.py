"""Each training is published once DVC has committed its outputs, while DVC goes on."""

import time
from types import SimpleNamespace

import pytest

from lockstep.errors import ConfigError
from lockstep.registry import publish_models

TYPES = ("ridge", "random_forest", "lightgbm")


@pytest.fixture
def dvc(monkeypatch):
    """A DVC that ends a stage at each look at it, and what was published meanwhile."""
    state = SimpleNamespace(settled=set(), written=1, published=[], publishes=True, steps=[])
    state.writes, state.fault = [], []

    def ended(_seconds):
        if not state.steps:
            return True
        step = state.steps.pop(0)
        if step is not None:
            state.settled.add(step)
            state.written += 1
        return False

    state.ended = ended
    monkeypatch.setattr(
        publish_models, "load_settings", lambda _: SimpleNamespace(publish=state.publishes)
    )
    monkeypatch.setattr(publish_models, "is_settled", lambda _, __, name: name in state.settled)
    monkeypatch.setattr(publish_models, "lock_time", lambda _: state.written)

    class Outputs:
        def __init__(self, name):
            self.name = name

        @property
        def changed_inputs(self):
            if state.fault:
                raise state.fault.pop()
            state.written += state.writes.pop() if state.writes else 0
            return {}

    monkeypatch.setattr(publish_models, "read_outputs", lambda _, __, name: Outputs(name))
    monkeypatch.setattr(
        publish_models,
        "publish_or_warn",
        lambda _, outputs: state.published.append((outputs.name, len(state.steps))),
    )
    return state


def published(state, tmp_path, types=TYPES):
    publish_models.publish_settled(tmp_path, "houses", types, state.ended)
    return state.published


def test_each_is_published_once_and_before_the_next_is_trained(dvc, tmp_path):
    dvc.steps = [None, "ridge", None, "lightgbm", None, "random_forest", None]
    assert published(dvc, tmp_path) == [("ridge", 5), ("lightgbm", 3), ("random_forest", 1)]


def test_several_that_ended_meanwhile_come_together(dvc, tmp_path):
    dvc.steps = ["ridge", "lightgbm"]
    dvc.settled = {"random_forest"}
    assert [name for name, _ in published(dvc, tmp_path)] == ["ridge", "lightgbm"]


def test_what_was_settled_before_and_what_ends_with_dvc_is_left_to_register(dvc, tmp_path):
    dvc.settled = {"ridge"}
    dvc.steps = [None, "lightgbm"]
    assert [name for name, _ in published(dvc, tmp_path)] == ["lightgbm"]
    assert dvc.ended(0)


def test_outputs_whose_lineage_was_read_while_dvc_wrote_its_lock_are_read_again(dvc, tmp_path):
    dvc.steps, dvc.writes = ["ridge", None, None], [1]
    assert published(dvc, tmp_path) == [("ridge", 1)]


def test_a_lock_that_is_cut_off_is_read_again_when_it_is_whole(dvc, tmp_path):
    dvc.steps, dvc.fault = ["ridge", None, "lightgbm", None], [ConfigError("dvc.lock is cut off")]
    assert published(dvc, tmp_path) == [("ridge", 1), ("lightgbm", 1)]


def test_a_lock_that_was_just_written_is_left_for_a_while(dvc, tmp_path):
    dvc.written = time.time_ns()
    dvc.steps = ["ridge", *[None] * 100_000]
    before = time.time_ns()
    assert [name for name, _ in published(dvc, tmp_path)] == ["ridge"]
    assert time.time_ns() - before >= publish_models._WRITTEN_NS


def test_nothing_is_published_where_publishing_is_off(dvc, tmp_path):
    dvc.publishes, dvc.steps = False, ["ridge"]
    assert published(dvc, tmp_path) == []
    assert dvc.steps == ["ridge"], "it does not wait for DVC either"
