"""Two versions on the same live rows, of several classes: what is logged is what is compared."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import orjson
import pytest
from tests.models.served import LABELS, pipeline_of, rows_of, schema_of

from lockstep.commands import traffic
from lockstep.config.serving import load_serving
from lockstep.config.settings import PredictionLogSection
from lockstep.data.values import json_values
from lockstep.errors import DataError
from lockstep.evaluation.paired_comparison import paired_difference
from lockstep.evaluation.scored_rows import Scored
from lockstep.models.scoring.prediction import Model
from lockstep.monitoring.log_files import Entry, Label, ShadowEntry
from lockstep.monitoring.traffic import Pairs, compare_traffic
from lockstep.serving.loaded_model import CheckedModel, prepare
from lockstep.serving.logged_rows import LogReader, Notes, read_labels, read_pairs
from lockstep.serving.prediction_log import PredictionLog
from lockstep.serving.responses import predicted
from lockstep.serving.shadow_scorer import Challenger, Request

ROWS, A_REQUEST, NAME = 1200, 4, "Lending"
WORDS = ["low", "middle", "high"]


def no_slices(name, values):
    return ()


def pairs_of(rng, rows=ROWS, noise=0.0, known=1.0):
    """Return rows of three classes; the champion's scores are noisy by ``noise``."""
    truth = rng.dirichlet([0.7, 1, 1.3], rows)
    label = (truth.cumsum(axis=1) < rng.random(rows)[:, None]).sum(axis=1).clip(max=2)
    worse = truth * np.exp(rng.normal(0, noise, truth.shape))
    worse /= worse.sum(axis=1, keepdims=True)
    return Pairs(
        "multiclass",
        worse,
        truth,
        worse.argmax(axis=1),
        truth.argmax(axis=1),
        np.where(rng.random(rows) < known, label, -1),
        np.arange(rows) // A_REQUEST,
        {"town": rng.choice(["a", "b"], rows)},
        seconds=np.full(rows // A_REQUEST, 0.002),
    )


def test_agreement_and_changes_are_counted_by_class():
    pairs = pairs_of(np.random.default_rng(1), noise=0.8)

    def by_town(name, values):
        return ((f"{name} {one}", (values == one).to_numpy()) for one in ("a", "b"))

    found = compare_traffic(pairs, "macro_roc_auc", WORDS, by_town)
    changed = pairs.decided != pairs.would_decide
    assert (found.rows, found.requests) == (ROWS, ROWS // A_REQUEST)
    assert found.agreement == pytest.approx(1 - changed.mean())
    assert sum(found.changes.values()) == changed.sum()
    one = "low → high"
    assert found.changes[one] == ((pairs.decided == 0) & (pairs.would_decide == 2)).sum()
    shares = dict(zip(found.slices["slice"], found.slices["changed"], strict=True))
    assert shares["town a"] == pytest.approx(changed[pairs.slices["town"] == "a"].mean())
    assert found.milliseconds == pytest.approx(2)


@pytest.mark.parametrize("metric", ["macro_roc_auc", "log_loss", "macro_f1"])
def test_with_labels_the_difference_is_that_of_the_gates(metric):
    pairs = pairs_of(np.random.default_rng(2), noise=1.0, known=0.6)
    found = compare_traffic(pairs, metric, WORDS, no_slices)
    known = pairs.label >= 0
    sides = (
        Scored(pairs.label[known], score[known], None, decided[known])
        for score, decided in (
            (pairs.challenger, pairs.would_decide),
            (pairs.champion, pairs.decided),
        )
    )
    assert found.labelled == known.sum()
    assert found.difference == paired_difference(*sides, pairs.request[known], metric)
    assert found.difference.verdict == "better"


def test_decisions_by_costs_count_as_they_were_made():
    pairs = pairs_of(np.random.default_rng(3), noise=0.1)
    pairs = replace(pairs, would_decide=np.full(ROWS, 2))
    found = compare_traffic(pairs, "accuracy", WORDS, no_slices).difference
    assert found.challenger == pytest.approx((pairs.label == 2).mean())
    assert found.champion == pytest.approx((pairs.label == pairs.decided).mean())


def test_few_labels_or_only_one_class_give_a_reason():
    pairs = pairs_of(np.random.default_rng(4), known=0.05)
    found = compare_traffic(pairs, "macro_roc_auc", WORDS, no_slices)
    assert found.difference is None
    assert found.why == f"{(pairs.label >= 0).sum()} labels, fewer than 200"
    alike = replace(pairs, label=np.ones(ROWS, dtype=np.int64))
    assert "all of one class" in compare_traffic(alike, "accuracy", WORDS, no_slices).why


# ---- through the log ----------------------------------------------------------------------------


def served_model(name, method, version, settings):
    pipeline = pipeline_of("multiclass", name, method)
    model = Model(pipeline, schema_of("multiclass"), None, NAME, version, digest=f"d{version}")
    return prepare(CheckedModel(model, "path", ""), settings)


def known_rows():
    """Return rows whose codes a request may have."""
    table = rows_of("multiclass", ROWS, 99).replace("__never_seen__", None)
    for column in schema_of("multiclass").features:
        if column.codes:
            values = table[column.name]
            table[column.name] = values.where(values.isin(column.known_codes))
    return table


@pytest.mark.parametrize("scores", [[2.5], [2.5, 2.5]])
def test_scores_that_do_not_vary_have_no_correlation(scores):
    none = np.zeros(len(scores), dtype=np.int64)
    given = np.array(scores), np.array(scores) + 0.5, none, none, np.full(len(scores), np.nan)
    found = compare_traffic(Pairs("regression", *given, none), "rmse", [], no_slices)
    assert found.agreement is None
    version = SimpleNamespace(title="Houses version 2", version=2)
    assert "agreement unknown" in traffic.readable(found, version, version)
    assert orjson.loads(orjson.dumps(traffic.facts(found, version, version)))["agreement"] is None


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    """A log of real answers of version 1, scored again by version 2, with labels."""
    root = tmp_path_factory.mktemp("several")
    settings = load_serving(root, {})
    champion = served_model("lightgbm", "none", 1, settings)
    log = PredictionLog(root / "log", PredictionLogSection())
    log.start()
    challenger = Challenger(None, settings)
    challenger.served = served_model("random_forest", "sigmoid", 2, settings)
    table = known_rows()
    names = champion.model.schema.feature_names
    columns = [json_values(table[name].tolist()) for name in names]
    records = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
    for number, first in enumerate(range(0, ROWS, A_REQUEST)):
        answer = predicted(champion, orjson.dumps(records[first : first + A_REQUEST]), A_REQUEST)
        known = (f"r{number}", 1, NAME, 1, "d1", answer.rows)
        log.add(Entry(*known, *answer[2:], *champion.decided_by))
        request = Request(f"r{number}", 1, 1, "d1", answer.rows, answer.records)
        challenger.score([request], log)
        label = LABELS[number % len(LABELS)]
        log.label([Label(f"r{number}", row, label, 1) for row in range(1, A_REQUEST)])
    log.writer.close()
    assert (challenger.refusal, challenger.counts["rows"], log.writer.dropped) == ("", ROWS, 0)
    sides = {"champion": champion, "other": challenger.served}
    return SimpleNamespace(root=root, table=table, record=records[0], **sides)


@pytest.fixture
def command(logged, monkeypatch):
    """The command over the log, with versions that exist in no registry."""
    classes = {1: LABELS, 2: LABELS}
    serving = SimpleNamespace(prediction_folder=logged.root / "log")
    section = SimpleNamespace(compare=SimpleNamespace(metric="macro_roc_auc"))
    versions = {
        number: SimpleNamespace(
            name=NAME,
            version=number,
            title=f"{NAME} version {number}",
            tag=f"d{number}".format,
            key=(NAME, number, f"d{number}"),
        )
        for number in classes
    }
    monkeypatch.setattr(traffic, "load_serving", lambda _: serving)
    monkeypatch.setattr(
        traffic, "load_params", lambda _: SimpleNamespace(problem=lambda name: section)
    )
    monkeypatch.setattr(
        traffic, "locate", lambda _, version, root: SimpleNamespace(version=version)
    )
    monkeypatch.setattr(traffic, "schema_of", lambda located: schema_of("multiclass"))
    monkeypatch.setattr(
        traffic, "classes_in", lambda located, schema: classes[located.version.version]
    )

    def compare():
        return traffic.compare_on_traffic(None, logged.root, versions[2], versions[1])

    return compare, classes


def test_an_entry_that_no_longer_fits_leaves_its_pair_out(logged, tmp_path):
    """Of a request id that came twice, each answer is compared with what was scored of it."""
    folder, notes = tmp_path / "log", Notes()
    log = PredictionLog(folder, PredictionLogSection())
    log.start()
    record = orjson.dumps([logged.record])
    odd = orjson.dumps([{**logged.record, next(iter(logged.record)): {"no": "value"}}])
    answers = [("twice", 1, record, 0.2), ("odd", 2, odd, 0.3), ("twice", 3, record, 0.4)]
    for request, time_ms, body, score in answers:
        given = np.array([[score, 1 - score, 0.0]]), [LABELS[0]]
        log.add(Entry(request, time_ms, NAME, 1, "d1", 1, *given, body))
        if time_ms > 1:  # the queue was full before
            own = (request, time_ms, NAME, 2, "d2", 1, *given)
            log.add_shadow(ShadowEntry(*own, 1, 0.001))
    log.writer.close()
    reader = LogReader(schema_of("multiclass"), LABELS, read_labels(folder, notes), notes)
    found = read_pairs(folder, reader, (NAME, 1, "d1"), (NAME, 2, "d2"))
    assert found.champion.tolist() == found.challenger.tolist() == [[0.4, 0.6, 0.0]]
    assert notes.unreadable == 1


def test_answers_of_real_models_are_compared(logged, command):
    content, text, code = command[0]()
    assert code == 0
    one, other = (
        side.model.score(logged.table).argmax(axis=1) for side in (logged.champion, logged.other)
    )
    assert content["agreement"] == pytest.approx((one == other).mean())
    assert 0 < content["agreement"] < 1
    for here, there in ((0, 1), (2, 3)):
        many = int(((one == here) & (other == there)).sum())
        assert content["changes"].get(f"{LABELS[here]} → {LABELS[there]}", 0) == many
    assert content["labelled"] == ROWS // A_REQUEST * (A_REQUEST - 1)
    assert content["difference"]["metric"] == "macro_roc_auc"
    known = np.arange(ROWS) % A_REQUEST < A_REQUEST - 1
    label = np.arange(ROWS) // A_REQUEST % len(LABELS)
    exact = paired_difference(
        *(
            Scored(label[known], side.model.score(logged.table)[known])
            for side in (logged.other, logged.champion)
        ),
        (np.arange(ROWS) // A_REQUEST)[known],
        "macro_roc_auc",
    )
    assert content["difference"]["estimate"] == pytest.approx(exact.estimate)
    assert "labels: macro_roc_auc " in text
    assert f"{ROWS:,} rows of {ROWS // A_REQUEST} requests" in text


def test_a_challenger_of_other_classes_is_refused(command):
    compare, classes = command
    classes[2] = [3, 5, 8, 21]
    with pytest.raises(DataError, match=r"version 2 are \[3, 5, 8, 21\], the champion's \[3, 5"):
        compare()
