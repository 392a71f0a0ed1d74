"""A version's reference: made of rows, read again, cut at any threshold; seasons are known."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from lockstep.config.monitoring import MonitoringSection
from lockstep.errors import ArtifactError
from lockstep.evaluation.scored_rows import Scored
from lockstep.monitoring.bins import number_bins
from lockstep.monitoring.drift import LEFT_OUT, STEADY, WARN, feature_drifts, score_drift
from lockstep.monitoring.labelled import Against, outcome_of, performance, selected_of
from lockstep.monitoring.performance import area
from lockstep.monitoring.reference import read_reference, reference_of
from lockstep.monitoring.window import Rows, Window, counted_days
from lockstep.problems.schema import Schema

ROWS = 12_000
SETTINGS = MonitoringSection()
SCHEMA = Schema.model_validate(
    {
        "name": "loans",
        "title": "Loans",
        "task": "binary",
        "unit": "loan",
        "registered_name": "loan",
        "experiment": "loans",
        "columns": {
            "date": {"kind": "date"},
            "month": {"kind": "numeric", "integer": True},
            "income": {"kind": "numeric", "missing": True},
            "heating": {"kind": "numeric"},
            "purpose": {"kind": "categorical", "missing": True},
            "default": {"kind": "target", "codes": {0: "no", 1: "yes"}},
        },
    }
)


def rows_of(rng, rows, *, year=2024, months=range(1, 13), shift=0.0, purposes=("car", "house")):
    """Return a table, scores and labels."""
    month = rng.choice(list(months), rows)
    dates = pd.to_datetime({"year": np.full(rows, year), "month": month, "day": 5})
    income = np.where(rng.random(rows) < 0.05, np.nan, rng.normal(shift, 1, rows))
    chance = 1 / (1 + np.exp(1.5 + np.nan_to_num(income)))
    label = (rng.random(rows) < chance).astype(np.int64)
    table = pd.DataFrame(
        {
            "date": dates,
            "month": month.astype(float),
            "income": income,
            "heating": np.cos(month / 2) + rng.normal(0, 0.2, rows),
            "purpose": pd.Series(rng.choice(list(purposes), rows), dtype="str"),
        }
    )
    return table, chance, label


@pytest.fixture(scope="module")
def made():
    return made_reference()


def made_reference():
    """Return a reference and the scored rows that it was made of."""
    rng = np.random.default_rng(5)
    table, chance, label = rows_of(rng, ROWS)
    groups = np.arange(ROWS)
    scored = Scored(label, chance, 0.4)
    return reference_of(SCHEMA, table, groups, scored, groups), scored


def days_of(reference, table, score, label, decided=None):
    decided = (score >= 0.4).astype(np.int64) if decided is None else decided
    columns = {name: table[name].to_numpy() for name in SCHEMA.feature_names}
    day = table["date"].to_numpy().astype("datetime64[D]").astype(np.int64)
    return counted_days(reference, Rows(columns, score, decided, label, day))


def test_it_is_read_as_it_was_written(made):
    reference, _ = made
    content = json.loads(json.dumps(reference.content, allow_nan=False))
    assert read_reference(content, "it").content == reference.content
    assert set(reference.rows.values()) == {ROWS}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda c: c.update(format=2), "has format 2, and this code reads 1"),
        (lambda c: c.pop("scores"), "is damaged"),
        (lambda c: c["features"]["income"].pop("counts"), "is damaged"),
        (lambda c: c["features"]["income"]["counts"].update({"1": [1]}), "is damaged"),
    ],
)
def test_a_damaged_one_is_refused(made, change, fault):
    content = json.loads(json.dumps(made[0].content))
    change(content)
    with pytest.raises(ArtifactError, match=fault):
        read_reference(content, "its reference")


@pytest.mark.parametrize("threshold", [0.4, 0.25, 0.6])
def test_it_can_be_cut_at_any_threshold(made, threshold):
    reference, scored = made
    below, above = reference.cut(reference.by_class, threshold)
    assert above.sum() == pytest.approx((scored.score >= threshold).sum(), abs=ROWS / 1000)
    assert area(*reference.by_class[:, :-1]).value == pytest.approx(
        roc_auc_score(scored.target, scored.score), abs=1e-4
    )
    kept = scored.score < threshold
    assert area(*below[:, :-1]).value == pytest.approx(
        roc_auc_score(scored.target[kept], scored.score[kept]), abs=2e-3
    )


def test_days_add_up(made):
    reference, _ = made
    table, score, label = rows_of(np.random.default_rng(1), 3000)
    days = days_of(reference, table, score, label)
    total = sum(days.values(), Window.empty(reference))
    whole = counted_days(
        reference,
        Rows(
            {name: table[name].to_numpy() for name in SCHEMA.feature_names},
            score,
            (score >= 0.4).astype(np.int64),
            label,
            np.zeros(3000, dtype=np.int64),
        ),
    )[0]
    assert total.rows == whole.rows == 3000
    for name, counts in whole.features.items():
        assert (total.features[name] == counts).all()
    assert (total.labelled == whole.labelled).all()
    assert (total.scores == whole.scores).all()


def drifts(reference, months=frozenset({1}), **changes):
    table, score, label = rows_of(np.random.default_rng(2), 6000, months=months, **changes)
    days = days_of(reference, table, score, label)
    window = sum(days.values(), Window.empty(reference))
    found = feature_drifts(reference, window, set(months), SETTINGS.drift)
    return {one.name: one for one in found}, score_drift(reference, window, SETTINGS.drift)


def test_seasons_and_parts_of_the_date_are_no_drift(made):
    found, score = drifts(made[0])
    assert (found["month"].verdict, found["month"].why) == (LEFT_OUT, "it is the month of the date")
    assert (found["heating"].verdict, found["heating"].against) == (STEADY, "January")
    assert (found["income"].verdict, found["income"].against) == (STEADY, "the whole year")
    assert found["month"].against == ""
    assert score.verdict == STEADY


def test_a_shift_and_new_values_are_named(made):
    found, score = drifts(made[0], shift=0.5, purposes=("car", "house", "boat"))
    assert [name for name, one in found.items() if one.warns] == ["purpose", "income"]
    assert found["income"].moved == pytest.approx(0.5, abs=0.1)
    assert list(found["purpose"].new) == ["boat"]
    assert found["purpose"].new["boat"] == pytest.approx(2000, abs=150)
    assert score.verdict == WARN


def test_labels_of_one_decision_are_compared_with_the_same_cut(made):
    reference, _ = made
    table, score, label = rows_of(np.random.default_rng(3), 20_000)
    selected = np.where(score >= 0.4, -1, label)
    days = days_of(reference, table, score, selected)
    window = sum(days.values(), Window.empty(reference))
    assert selected_of(window) == 0
    found = performance(window, Against(reference, 0.4, SETTINGS.performance, 0))
    own, there = found.figures["roc_auc"], found.reference["roc_auc"]
    kept = score < 0.4
    assert own.value == pytest.approx(roc_auc_score(label[kept], score[kept]), abs=1e-3)
    assert abs(own.value - there.value) < 3 * np.hypot(own.error, there.error)
    assert "f1" not in found.figures
    assert abs(found.outcome.distance) < 3


def test_labels_of_the_other_decision_are_compared_with_the_same_cut(made):
    """As where only flagged rows are looked into."""
    reference, _ = made
    table, score, label = rows_of(np.random.default_rng(3), 20_000)
    kept = score >= 0.4
    window = sum(
        days_of(reference, table, score, np.where(kept, label, -1)).values(),
        Window.empty(reference),
    )
    assert selected_of(window) == 1
    found = performance(window, Against(reference, 0.4, SETTINGS.performance, 1))
    own, there = found.figures["roc_auc"], found.reference["roc_auc"]
    assert own.value == pytest.approx(roc_auc_score(label[kept], score[kept]), abs=1e-3)
    assert abs(own.value - there.value) < 3 * np.hypot(own.error, there.error)
    assert "f1" not in found.figures
    assert abs(found.outcome.distance) < 3


def test_the_centre_of_a_bin_beyond_the_reference_is_not_below_its_neighbour():
    bins = number_bins(np.linspace(0, 0.6, 1000), 20, np.linspace(0.002, 0.998, 499))
    assert list(bins.centers) == sorted(bins.centers)


def test_more_positives_than_expected_are_seen(made):
    reference, _ = made
    table, score, label = rows_of(np.random.default_rng(4), 20_000)
    more = np.maximum(label, np.random.default_rng(5).random(len(label)) < 0.05)
    window = sum(days_of(reference, table, score, more).values(), Window.empty(reference))
    assert outcome_of(reference.by_class, window.labelled.sum(axis=0)).distance > 5
