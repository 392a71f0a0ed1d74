"""Registering only what beats all earlier versions, with real trainings' outputs in real stores."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.metrics import f1_score
from tests.promotion.competing_models import (
    NIGHT_BLIND,
    STRONG,
    TWIN,
    WEAK,
    configure,
    model,
    parts,
    tidy,
    write_data,
)
from tests.registry.loaded import load_version

from lockstep.config.layout import ProblemLayout
from lockstep.config.settings import CONFIG_FILE, load_settings
from lockstep.errors import ConfigError
from lockstep.io import read_json, sha256_file, write_json
from lockstep.models.artifact import model_digest
from lockstep.problems.schema import load_schema
from lockstep.promotion import if_better as policy
from lockstep.promotion.gate_report import gate_of
from lockstep.promotion.holdout import unseen
from lockstep.registry.artifact.files import SKOPS
from lockstep.registry.lifecycle import moves as lifecycle
from lockstep.registry.publishing.outputs import read_outputs
from lockstep.registry.record.registered_models import get_model
from lockstep.registry.store import connection
from lockstep.registry.train_stage import publish_training
from lockstep.registry.trained_models import register_models

NAME, TYPE = "Accident_Prediction_Logistic_Regression", "logistic_regression"
ONE_OF_TWO = """
import sys, time
from pathlib import Path
from lockstep.registry.publishing import new_versions
from lockstep.registry.train_stage import publish_training

root, said, awaited = (Path(name) for name in sys.argv[1:])
register = new_versions.register

def after_the_other(*given, **told):
    (said / f"{root.name} judged").touch()
    deadline = time.monotonic() + 120
    while not awaited.exists():
        assert time.monotonic() < deadline, f"{awaited.name} did not come"
        time.sleep(0.02)
    done = register(*given, **told)
    (said / f"{root.name} registered").touch()
    return done

new_versions.register = after_the_other
done = publish_training(root, "accidents", "logistic_regression")
print(done.version, done.refused, sep="|")
"""
"""A process that has judged its model, and makes the version when another one got so far."""


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
    card |= {
        "model_digest": model_digest(model(kind)),
        "file_sha256": sha256_file(layout.model(TYPE)),
    }
    write_json(layout.model_card(TYPE), card, digits=None)


def published(root, kind):
    train(root, kind)
    return publish_training(root, "accidents", TYPE)


def held(root):
    found = get_model(connection.connect(load_settings(root), root), NAME)
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
    assert (done.version, done.refused.split()[0]) == (None, "f1")
    assert (
        "of version 1 on 2,500 rows that none of 1 earlier versions has seen: not better"
        in done.refused
    )
    assert done.line == f"{NAME}  not registered: {done.refused}  run {done.run_id}"
    assert done.line in capsys.readouterr().err
    client = connection.connect(load_settings(root), root)
    assert client.get_run(done.run_id).outputs.model_outputs, "the model is logged with its run"
    event = held(root).record.events[-1]
    assert (event.action, event.end.outcome, event.of_version) == ("register", "refused", None)
    assert (event.gate["verdict"], event.gate["summary"]) == ("refused", done.refused)
    assert event.details == {"model_digest": model_digest(model(WEAK)), "run_id": done.run_id}
    number = event.number
    assert register_models(root)[0] == publish_training(root, "accidents", TYPE) == done
    assert held(root).record.last.number == number, "one refusal, however often it is asked"
    assert "not registered: f1" in capsys.readouterr().out


def test_the_run_says_what_was_compared_and_how_it_ended(root):
    def noted(run_id):
        run = connection.connect(load_settings(root), root).get_run(run_id)
        named = {k: v for k, v in run.data.metrics.items() if k.startswith("registration_")}
        return run.data.tags["lockstep.registration"], named

    first, second = published(root, WEAK), published(root, STRONG)
    assert noted(first.run_id) == ("registered: the first version of its name", {})
    detail, figures = noted(second.run_id)
    own, best = figures["registration_f1"], figures["registration_best_f1"]
    assert detail == (
        f"registered: f1 {own:.4f} against {best:.4f} of version 1 on 2,500 rows that none of 1 "
        "earlier versions has seen"
    )
    assert own > best
    third = published(root, TWIN)
    detail, figures = noted(third.run_id)
    assert detail == f"refused: {third.refused}"
    assert figures["registration_best_f1"] == own >= figures["registration_f1"]


def test_f1_is_that_of_each_model_s_own_threshold(root):
    published(root, WEAK)
    done = published(root, STRONG)
    client = connection.connect(load_settings(root), root)
    rows = unseen(root, "accidents", [])
    tests = rows.take((parts(tidy()) == "test").to_numpy())
    score = model(STRONG).predict_proba(tests.table[load_schema("accidents").feature_names])[:, 1]
    threshold = read_json(ProblemLayout(root, "accidents").model_card(TYPE))["threshold"]
    expected = f1_score(tests.target, score >= threshold)
    logged = client.get_run(done.run_id).data.metrics["registration_f1"]
    assert logged == pytest.approx(expected)


def test_what_lost_is_not_compared_again(root, monkeypatch):
    published(root, STRONG)
    first = published(root, WEAK)
    monkeypatch.setattr("lockstep.promotion.if_better.unseen", None)
    assert publish_training(root, "accidents", TYPE).refused == first.refused


def test_what_lost_by_another_metric_is_compared_again(root):
    published(root, STRONG)
    assert published(root, WEAK).refused.startswith("f1 ")
    configure(root, policy="if_better, registration_metric: log_loss")
    assert publish_training(root, "accidents", TYPE).refused.startswith("log_loss ")
    event = held(root).record.events[-1]
    assert (event.gate["metric"], event.gate["champion"]) == ("log_loss", 1)


@pytest.mark.parametrize(
    ("configured", "task", "metric"),
    [
        (None, "binary", "f1"),
        (None, "multiclass", "macro_f1"),
        (None, "regression", "rmse"),
        ("roc_auc", "binary", "roc_auc"),
        ("roc_auc", "regression", "rmse"),
        ("r2", "regression", "r2"),
    ],
)
def test_each_task_has_its_metric(configured, task, metric):
    assert policy.metric_of(configured, task) == metric


def test_a_metric_of_no_task_is_refused_with_the_nearest(root):
    configure(root, policy="if_better, registration_metric: rocauc")
    with pytest.raises(ConfigError, match=r"registration_metric: .*did you mean 'roc_auc'"):
        published(root, WEAK)


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
    found = load_version(connection.connect(load_settings(root), root), root, NAME, version=2)
    assert found.digest == model_digest(model(WEAK))


def test_what_cannot_be_compared_is_refused_and_tried_again(root):
    published(root, WEAK)
    table = ProblemLayout(root, "accidents").tidy
    away = table.rename(table.with_suffix(".away"))
    for _ in range(2):
        done = published(root, STRONG)
        assert (
            "can't be compared with the earlier ones: this workspace has no data/accidents"
            in done.refused
        )
    refusals = [e for e in held(root).record.events if e.gate]
    assert len(refusals) == 1, "the same reason once"
    away.rename(table)
    assert publish_training(root, "accidents", TYPE).version == 2


def test_too_few_rows_refuse(root):
    published(root, WEAK)
    configure(root, "accidents: {champion: {min_rows: 2501}}", policy="if_better")
    assert "only 2,500 rows are left that no side has seen" in published(root, STRONG).refused


def test_a_version_that_can_score_nothing_hinders_nobody(root):
    published(root, STRONG)
    found = held(root).versions[0]
    client = connection.connect(load_settings(root), root)
    client.set_model_version_tag(NAME, "1", "lockstep.model_digest", "0" * 64)
    assert found.version == 1
    assert published(root, WEAK).version == 2


@pytest.mark.long
def test_over_a_server_the_gate_judges_what_publishing_made(root, server, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    (root / CONFIG_FILE).write_text("mlflow: {model_registry: {registered_model_name: Judged}}\n")
    for kind in (WEAK, STRONG):
        published(root, kind)
    client, name = connection.connect(load_settings(root), root), "Judged_Logistic_Regression"
    lifecycle.promote(client, name, 1, gate=gate_of(client, root, name, 1))
    gate = gate_of(client, root, name)
    assert gate.verdict.figures["champion"]["rows"] == 2500
    assert lifecycle.promote(client, name, gate=gate).step.version == 2
    event = get_model(client, name).record.last
    run_id = get_model(client, name).version(2).run_id
    assert event.gate["file"] in {item.path for item in client.list_artifacts(run_id, "gates")}
    assert gate_of(client, root, name, 1).refused


@pytest.mark.long
def test_of_two_at_once_the_second_is_judged_against_the_first(root, tmp_path):
    """Both find no version to be compared with; the worse one comes second."""
    worse, better = root.with_name("worse"), root.with_name("better")
    for folder, kind in ((worse, WEAK), (better, STRONG)):
        shutil.copytree(root, folder, ignore=shutil.ignore_patterns("mlflow.db", "mlruns"))
        train(folder, kind)
    both = [
        one_of_two(root, better, tmp_path, "worse judged"),
        one_of_two(root, worse, tmp_path, "better registered"),
    ]
    told = [process.communicate(timeout=200) for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    assert told[0][0] == "1|\n"
    assert told[1][0].startswith("None|f1 0.")
    assert "version 1 of Accident_Prediction_Logistic_Regression came or went while" in told[1][1]
    found = held(root)
    assert [v.tag("model_digest") for v in found.versions] == [model_digest(model(STRONG))]
    assert [e.end.outcome for e in found.record.events] == ["done", "refused"]


def one_of_two(root, own, said, awaited):
    store = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{root}/mlflow.db"}
    command = [sys.executable, "-c", ONE_OF_TWO, str(own), str(said), str(said / awaited)]
    return subprocess.Popen(
        command, env=store, cwd=own, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def judged(root, kind):
    """What the policy says of a model, beside any record."""
    train(root, kind)
    client = connection.connect(load_settings(root), root)
    return policy.compare(
        client, get_model(client, NAME), read_outputs(root, "accidents", TYPE), {}, "f1"
    )


@pytest.fixture
def three(root):
    """Three versions; nothing is kept of them."""
    configure(root)
    for kind in (WEAK, STRONG, NIGHT_BLIND):
        published(root, kind)
    shutil.rmtree(root / ".lockstep" / "cache")
    return root


def test_versions_whose_scores_are_kept_are_not_opened(three, monkeypatch):
    first = judged(three, TWIN)
    assert (first.best, first.detail.count("none of 3 earlier versions")) == (2, 1)
    shutil.rmtree(three / ".lockstep" / "cache" / "models")
    monkeypatch.setattr("lockstep.registry.artifact.locating._download", None)
    assert judged(three, TWIN) == first


def test_what_became_of_files_after_they_were_compared_changes_nothing(three):
    first = judged(three, TWIN)
    damage(three, 2)
    assert judged(three, TWIN) == first


@pytest.mark.parametrize("kept", ["nothing", "facts"])
def test_a_damaged_version_is_named_and_not_compared(three, capsys, kept):
    first = judged(three, TWIN)
    damage(three, 2)
    shutil.rmtree(three / ".lockstep" / "cache" / ("scores" if kept == "facts" else ""))
    capsys.readouterr()
    found = judged(three, TWIN)
    assert (first.best, found.best) == (2, 3)
    assert "none of 2 earlier versions" in found.detail
    assert (
        capsys.readouterr().err
        == f"⚠ {NAME}: version 2 not compared: its files are damaged or missing\n"
    )


def damage(root, number):
    """Damage a version's files in the store and, as time does, lose the download."""
    client = connection.connect(load_settings(root), root)
    (Path(client.get_model_version_download_uri(NAME, str(number))) / SKOPS).write_bytes(
        b"no model"
    )
    shutil.rmtree(root / ".lockstep" / "cache" / "models")


def test_who_cannot_be_compared_is_named_with_the_reason(three, monkeypatch, capsys):
    client = connection.connect(load_settings(three), three)
    client.set_model_version_tag(NAME, "1", "lockstep.pruned", "9")
    scores_of = policy.scores_of

    def broken(client, root, version, rows):
        found = scores_of(client, root, version, rows)
        return found if version.version == 2 else replace(found, score=found.score * np.nan)

    monkeypatch.setattr(policy, "scores_of", broken)
    assert judged(three, TWIN).best == 2
    assert capsys.readouterr().err.splitlines() == [
        f"⚠ {NAME}: version 1 not compared: its files were pruned",
        f"⚠ {NAME}: version 3 not compared: its scores are no finite numbers",
    ]


def test_versions_of_other_columns_or_another_task_do_not_count(three, capsys):
    judged(three, TWIN)
    for path, change in zip(
        sorted((three / ".lockstep/cache/facts").iterdir()),
        ({"task": "regression"}, {"features": ["gone", "vma"]}, {"task": "regression"}),
        strict=True,
    ):
        write_json(path, read_json(path) | change)
    capsys.readouterr()
    assert judged(three, TWIN) == policy.Answer(True, policy.NONE_ABLE)
    told = capsys.readouterr().err
    assert "not compared: it is a model for regression" in told
    assert "not compared: it reads gone, which the schema lacks" in told
