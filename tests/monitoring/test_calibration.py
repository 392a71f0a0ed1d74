"""The calibration error of counts is that of the rows; both sides are compared at equal numbers."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.monitoring.test_reference import SCHEMA, days_of, made_reference, rows_of

from lockstep.config.monitoring import MonitoringSection
from lockstep.decision.score_scale import to_probability
from lockstep.evaluation.metrics import evaluate
from lockstep.evaluation.scored_rows import Scored
from lockstep.monitoring.analysis import analyse
from lockstep.monitoring.calibration import CALIBRATION_BINS, Reliability, reliability
from lockstep.monitoring.labelled import Against, performance
from lockstep.monitoring.reference import reference_of, score_bins, score_counts
from lockstep.monitoring.report import content, prometheus
from lockstep.monitoring.window import Rows, Window, counted_days

SETTINGS = MonitoringSection()
WITHIN = 2e-3


def within(rows):
    """Return the tolerance: a few rows may lie on the other side of a bin's edge."""
    return WITHIN + 5 / rows


def binary(rng, rows, weight=1.0, bent=1.0):
    """Return rows whose scores are on a scale of a weight; ``bent`` odds are not calibrated."""
    chance = rng.beta(1.2, 3, rows)
    label = (rng.random(rows) < chance).astype(np.int64)
    odds = (chance / (1 - chance)) ** bent * weight
    return Scored(label, odds / (1 + odds), 0.45)


@given(
    st.integers(0, 2**32 - 1),
    st.integers(200, 8000),
    st.sampled_from([1.0, 0.5, 4.0, 11.5]),
    st.sampled_from([0.4, 1.0, 2.5]),
)
@settings(max_examples=60, deadline=None)
def test_it_is_that_of_the_rows(seed, rows, weight, bent):
    rng = np.random.default_rng(seed)
    bins = score_bins(binary(rng, 5000, weight, bent))
    scored = binary(rng, rows, weight, bent)
    found = reliability(bins, score_counts(scored, bins), "binary", weight)
    probable = Scored(scored.target, to_probability(scored.score, weight), 0.5)
    exact = evaluate(probable)["calibration_error"]
    assert found.error == pytest.approx(exact, abs=within(rows))
    assert found.rows == rows
    assert found.hits.sum() == scored.target.sum()


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.5, 1.0, 3.0]))
@settings(max_examples=30, deadline=None)
def test_of_several_classes_it_is_that_of_the_most_probable_one(seed, bent):
    rng = np.random.default_rng(seed)

    def drawn(rows):
        chance = rng.dirichlet([0.8, 1, 1.5, 2], rows)
        label = (chance.cumsum(axis=1) < rng.random(rows)[:, None]).sum(axis=1).clip(max=3)
        return Scored(label, chance**bent / (chance**bent).sum(axis=1, keepdims=True))

    bins, scored = score_bins(drawn(5000)), drawn(3000)
    found = reliability(bins, score_counts(scored, bins), "multiclass", 1.0)
    assert found.error == pytest.approx(evaluate(scored)["calibration_error"], abs=within(3000))


def test_few_labels_alone_look_no_worse_than_the_reference():
    """Chance gives 300 rows an error several times that of 20,000."""
    rng = np.random.default_rng(2)
    whole = binary(rng, 20_000)
    bins = score_bins(whole)
    reference = reliability(bins, score_counts(whole, bins), "binary", 1.0)
    few = [
        reliability(bins, score_counts(binary(rng, 300), bins), "binary", 1.0) for _ in range(200)
    ]
    errors = [one.error for one in few]
    assert np.mean(errors) > 3 * reference.error
    assert reference.at(300).value == pytest.approx(np.mean(errors), rel=0.06)
    spread = np.mean([one.at(300).error for one in few])
    assert spread == pytest.approx(np.std(errors), rel=0.35)


def test_what_holds_no_rows_is_unknown():
    none = np.zeros(CALIBRATION_BINS, dtype=np.int64)
    assert not Reliability(none, none, np.linspace(0, 1, CALIBRATION_BINS)).at(10).known


@pytest.fixture(scope="module")
def made():
    return made_reference()[0]


def test_labels_of_one_decision_are_compared_on_the_same_part_of_the_scores(made):
    table, score, label = rows_of(np.random.default_rng(3), 9000)
    days = days_of(made, table, score, np.where(score >= 0.4, -1, label))
    window = sum(days.values(), Window.empty(made))
    found = performance(window, Against(made, 0.4, SETTINGS.performance, 0))
    kept = score < 0.4
    exact = evaluate(Scored(label[kept], score[kept], 0.4))["calibration_error"]
    own, there = (side["calibration_error"] for side in (found.figures, found.reference))
    assert own.value == pytest.approx(exact, abs=WITHIN)
    assert abs(own.value - there.value) < 3 * np.hypot(own.error, there.error)
    cut = int(0.4 * CALIBRATION_BINS) + 1
    assert not found.calibration.reference.bins[cut:].any()
    assert found.calibration.rows == min(kept.sum(), made.cut(made.by_class, 0.4)[0].sum())


def analysed(reference, months, *, bent=0.0, weight=1.0):
    days = {}
    for number, month in enumerate(months):
        rng = np.random.default_rng(number)
        table, chance, _ = rows_of(rng, 6000, months=[month])
        label = (rng.random(6000) < np.minimum(chance + bent * number, 1)).astype(np.int64)
        days |= days_of(reference, table, chance, label)
    return analyse(reference, days, 0.4, SETTINGS, weight)


def test_it_is_in_the_json_and_in_prometheus_text(made):
    found = analysed(made, [1, 2], bent=0.15)
    first, second = content(found, {}, [])["months"]
    calm, off = (m["performance"]["figures"]["calibration_error"] for m in (first, second))
    assert calm["value"] < 0.03
    assert off["value"] == pytest.approx(0.15, abs=0.02)
    sides = second["performance"]["calibration"]
    assert sides["labels"] == 6000
    assert sum(one["rows"] for one in sides["own"]) == 6000
    assert sum(one["rows"] for one in sides["reference"]) == 12_000
    week = content(found, {}, [])["weeks"][found.rolling[-1][0]]["figures"]
    assert {"roc_auc", "ks", "f1", "positive_rate", "calibration_error"} <= set(week)
    assert all(one["error"] > 0 for one in week.values())
    text = prometheus(found, "loan", 1, 0.0).decode()
    line = 'lockstep_monitor_performance{metric="calibration_error",model="loan",of="%s",version='
    assert line % "month" in text
    assert line % "reference" in text


def test_scores_that_are_no_probabilities_have_none(made):
    figures = analysed(made, [1], weight=None).months[0].performance
    assert "calibration_error" not in figures.figures | figures.reference
    assert figures.calibration is None
    assert "roc_auc" in figures.figures


def test_a_regression_has_none():
    schema = SCHEMA.model_copy(update={"task": "regression"})
    rng = np.random.default_rng(1)
    table, chance, _ = rows_of(rng, 3000)
    target = chance + rng.normal(0, 0.1, 3000)
    groups = np.arange(3000)
    reference = reference_of(schema, table, groups, Scored(target, chance), groups)
    columns = {name: table[name].to_numpy() for name in schema.feature_names}
    day = pd.Series(table["date"]).to_numpy().astype("datetime64[D]").astype(np.int64)
    days = counted_days(
        reference, Rows(columns, chance, np.zeros(3000, dtype=np.int64), target, day)
    )
    window = sum(days.values(), Window.empty(reference))
    found = performance(window, Against(reference, None, SETTINGS.performance, False))
    assert "rmse" in found.figures
    assert "calibration_error" not in found.figures
