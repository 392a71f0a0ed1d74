"""Registering only what is better than all earlier versions, with real trainings' outputs in real stores."""

import joblib
import pytest
from tests.registry.contest import STRONG, TWIN, WEAK, configure, model, write_data

from lockstep.config.layout import ProblemLayout
from lockstep.config.settings import CONFIG_FILE, load_settings
from lockstep.io import read_json, sha256_file, write_json
from lockstep.models.artifact import model_digest
from lockstep.registry import store
from lockstep.registry.artifact.loading import load_version
from lockstep.registry.catalog import get_model
from lockstep.registry.judging.gated import gate_of
from lockstep.registry.publishing.publish import line, publish_training
from lockstep.registry.record import lifecycle
from lockstep.registry.register_models import register_models

NAME, TYPE = "Accident_Prediction_Logistic_Regression", "logistic_regression"


@pytest.fixture
def root(workspace, make):
    """A workspace with rows that no training has seen, and the policy if_better."""
    make.declare(workspace, TYPE)
    (workspace / "data" / "accidents" / "features").unlink()
    write_data(workspace)
    configure(workspace, policy="if_better")
    return workspace


def train(root, kind):
    """Put one of the contest's models where a training leaves its own."""
    layout = ProblemLayout(root, "accidents")
    joblib.dump(model(kind), layout.model(TYPE), compress=("lz4", 3), protocol=5)
    card = read_json(layout.model_card(TYPE))
    card |= {"model_digest": model_digest(model(kind)), "file_sha256": sha256_file(layout.model(TYPE))}
    write_json(layout.model_card(TYPE), card, digits=None)


def published(root, kind):
    train(root, kind)
    return publish_training(root, "accidents", TYPE)


def held(root):
    found = get_model(store.connect(load_settings(root), root), NAME)
    assert found.record.faults == ()
    assert found.record.open == ()
    return found


def test_the_first_is_registered_then_only_what_is_better(root):
    assert published(root, WEAK).version == 1
    assert published(root, STRONG).version == 2
    assert published(root, WEAK).version == 1, "a model that has its version keeps it"
    assert [v.version for v in held(root).versions] == [1, 2]
    assert not [e for e in held(root).record.events if e.gate]


def test_what_is_not_better_is_logged_and_refused_on_record_once(root, capsys):
    published(root, STRONG)
    done = published(root, WEAK)
    assert (done.version, done.refused.split()[0]) == (None, "roc_auc")
    assert "of version 1 on 2,500 rows that none of 1 earlier versions has seen: not better" in done.refused
    assert line(done) == f"{NAME}  not registered: {done.refused}  run {done.run_id}"
    assert line(done) in capsys.readouterr().err
    client = store.connect(load_settings(root), root)
    assert client.get_run(done.run_id).outputs.model_outputs, "the model is logged with its run"
    event = held(root).record.events[-1]
    assert (event.action, event.end.outcome, event.of_version) == ("register", "refused", None)
    assert (event.gate["verdict"], event.gate["summary"]) == ("refused", done.refused)
    assert event.details == {"model_digest": model_digest(model(WEAK)), "run_id": done.run_id}
    number = event.number
    assert register_models(root)[0] == publish_training(root, "accidents", TYPE) == done
    assert held(root).record.last.number == number, "one refusal, however often it is asked"
    assert "not registered: roc_auc" in capsys.readouterr().out


def test_what_lost_is_not_compared_again(root, monkeypatch):
    published(root, STRONG)
    first = published(root, WEAK)
    monkeypatch.setattr("lockstep.registry.judging.holdout.holdout", None)
    assert publish_training(root, "accidents", TYPE).refused == first.refused


def test_it_must_beat_all_versions_not_the_newest(root):
    published(root, STRONG)
    configure(root)
    assert published(root, WEAK).version == 2
    configure(root, policy="if_better")
    assert "of version 1 on 2,500 rows that none of 2 earlier" in published(root, TWIN).refused


def test_always_registers_what_if_better_refused(root):
    published(root, STRONG)
    assert published(root, WEAK).refused
    configure(root)
    assert publish_training(root, "accidents", TYPE).version == 2
    found = load_version(store.connect(load_settings(root), root), root, NAME, version=2)
    assert found.digest == model_digest(model(WEAK))


def test_what_cannot_be_compared_is_refused_and_tried_again(root):
    published(root, WEAK)
    tidy = ProblemLayout(root, "accidents").tidy
    away = tidy.rename(tidy.with_suffix(".away"))
    for _ in range(2):
        done = published(root, STRONG)
        assert "can't be compared with the earlier ones: this workspace has no data/accidents" in done.refused
    refusals = [e for e in held(root).record.events if e.gate]
    assert len(refusals) == 1, "the same reason once"
    away.rename(tidy)
    assert publish_training(root, "accidents", TYPE).version == 2


def test_too_few_rows_refuse(root):
    published(root, WEAK)
    configure(root, "accidents: {champion: {min_rows: 2501}}", policy="if_better")
    assert "only 2,500 rows are left that no side has seen" in published(root, STRONG).refused


def test_a_version_that_can_score_nothing_hinders_nobody(root):
    published(root, STRONG)
    found = held(root).versions[0]
    client = store.connect(load_settings(root), root)
    client.set_model_version_tag(NAME, "1", "lockstep.model_digest", "0" * 64)
    assert found.version == 1
    assert published(root, WEAK).version == 2


def test_over_a_server_the_gate_judges_what_publishing_made(root, server, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    (root / CONFIG_FILE).write_text("mlflow: {model_registry: {registered_model_name: Judged}}\n")
    for kind in (WEAK, STRONG):
        published(root, kind)
    client, name = store.connect(load_settings(root), root), "Judged_Logistic_Regression"
    lifecycle.promote(client, name, 1, gate=gate_of(client, root, name, 1))
    gate = gate_of(client, root, name)
    assert gate.verdict.figures["champion"]["rows"] == 2500
    assert lifecycle.promote(client, name, gate=gate).step.version == 2
    event = get_model(client, name).record.last
    run_id = get_model(client, name).version(2).run_id
    assert event.gate["file"] in {item.path for item in client.list_artifacts(run_id, "gates")}
    assert gate_of(client, root, name, 1).refused
