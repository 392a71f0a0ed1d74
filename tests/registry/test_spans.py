"""A run has the start and the duration of its training, also where it is logged later."""

import json
import time

import pytest

from lockstep.config.settings import load_settings
from lockstep.registry.publishing.spans import FOLDER
from lockstep.registry.store.connection import connect
from lockstep.registry.train_stage import publish_training
from lockstep.registry.trained_models import register_models

MODEL = ("accidents", "logistic_regression")
TIMINGS = {"read_seconds": 2.0, "train_seconds": 30.0, "write_seconds": 1.5}


def info_of(root, published):
    return connect(load_settings(root), root).get_run(published.run_id).info


def test_a_run_lasts_as_long_as_its_training(workspace):
    before = time.time() * 1000
    info = info_of(workspace, publish_training(workspace, *MODEL, TIMINGS))
    assert info.end_time - info.start_time == 33_500
    assert before - 1 <= info.end_time <= time.time() * 1000
    assert (info.status, info.run_name) == ("FINISHED", "logistic_regression")


def test_a_run_that_is_logged_later_has_the_trainings_time(workspace, monkeypatch):
    monkeypatch.setenv("LOCKSTEP_PUBLISH", "0")
    assert publish_training(workspace, *MODEL, TIMINGS) is None
    trained = time.time() * 1000
    monkeypatch.delenv("LOCKSTEP_PUBLISH")
    time.sleep(0.05)
    (published,) = register_models(workspace, *MODEL[:1], [MODEL[1]])
    info = info_of(workspace, published)
    assert info.end_time - info.start_time == 33_500
    assert info.end_time <= trained


@pytest.mark.parametrize("note", ["", "{", "[1]", '{"model_digest": "another", "start": 1}'])
def test_a_note_of_another_model_and_a_damaged_one_say_nothing(workspace, note):
    before = time.time() * 1000
    file = workspace / FOLDER / "accidents-logistic_regression.json"
    file.parent.mkdir(parents=True)
    file.write_text(note)
    info = info_of(workspace, publish_training(workspace, *MODEL))
    assert before - 1 <= info.start_time <= info.end_time


def test_the_note_is_of_the_model_that_was_trained(workspace):
    published = publish_training(workspace, *MODEL, TIMINGS)
    noted = json.loads((workspace / FOLDER / "accidents-logistic_regression.json").read_text())
    assert noted["model_digest"] == published.digest


def test_the_run_above_several_trainings_spans_them(workspace):
    client = connect(load_settings(workspace), workspace)
    runs = [publish_training(workspace, *MODEL, TIMINGS).run_id]
    longer = {"train_seconds": 100.0}
    runs.append(publish_training(workspace, "accidents", "random_forest", longer).run_id)
    register_models(workspace)
    infos = [client.get_run(run_id).info for run_id in runs]
    experiment = infos[0].experiment_id
    found = client.search_runs([experiment])
    (parent,) = (run for run in found if "lockstep.parent_of" in run.data.tags)
    assert parent.info.start_time == min(info.start_time for info in infos)
    assert parent.info.end_time == max(info.end_time for info in infos)
