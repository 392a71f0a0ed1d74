"""Contributions add up to any model's margin, and their reasons are words of the schema."""

import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import pandas as pd
import pytest
from tests.models import served

from lockstep.models.scoring.contributions import (
    Contributions,
    Explainer,
    described,
    reasons,
    record_at,
)
from lockstep.models.scoring.scorer import columns_of
from lockstep.problems.schema import Column

ROWS = 60
TOLERANCE = {"xgboost": 1e-4, "blend": 1e-5}


@cache
def explainer(task, name, method):
    return Explainer(served.pipeline_of(task, name, method), served.schema_of(task))


def explained(task, name, method, seed=3):
    columns = columns_of(served.schema_of(task), served.rows_of(task, ROWS, seed))
    rows = len(columns["amount"])
    return explainer(task, name, method).explain(columns, rows), columns, rows


@pytest.mark.parametrize(
    "kind", [k for k in served.KINDS if k[2] in ("none", "sigmoid")], ids="-".join
)
def test_base_and_contributions_sum_to_the_margin(kind):
    found, _, rows = explained(*kind)
    assert found.features == tuple(served.schema_of(kind[0]).feature_names)
    assert found.values.shape == (rows, len(found.features))
    sums = np.array([found.base_of(row) for row in range(rows)]) + found.values.sum(axis=1)
    assert sums == pytest.approx(found.margin, abs=TOLERANCE.get(kind[1], 1e-9))
    assert np.abs(found.values).max() > 0.01
    assert (found.calibrated is None) == (kind[2] == "none")
    assert isinstance(found.base, float) == (kind[0] != "multiclass")


@pytest.mark.parametrize("name", served.CLASSIFIERS)
def test_the_margin_is_what_the_model_itself_says_before_calibration(name):
    found, _, _ = explained("binary", name, "none")
    table = served.rows_of("binary", ROWS, 3)
    chance = served.pipeline_of("binary", name, "none").predict_proba(table)[:, 1].astype(float)
    forest = explainer("binary", name, "none").scorer.model.fast.margin_scale == "probability"
    assert forest == (name in ("random_forest", "extra_trees", "blend"))
    expected = chance if forest else np.log(chance / (1 - chance))
    assert found.margin == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
def test_what_calibration_makes_of_it_is_the_score(method):
    found, columns, rows = explained("binary", "lightgbm", method)
    scores = explainer("binary", "lightgbm", method).scorer.score(columns, rows)
    assert np.array_equal(found.calibrated, scores)


def test_a_class_may_be_chosen_and_is_else_the_most_probable():
    found, columns, rows = explained("multiclass", "xgboost", "temperature")
    table = served.rows_of("multiclass", ROWS, 3)
    chances = served.pipeline_of("multiclass", "xgboost", "temperature").predict_proba(table)
    assert found.classes.tolist() == [served.LABELS[place] for place in chances.argmax(axis=1)]
    other = explainer("multiclass", "xgboost", "temperature").explain(
        columns, rows, np.full(rows, 2)
    )
    assert other.classes.tolist() == [8] * rows
    assert other.calibrated == pytest.approx(chances[:, 2], abs=1e-8)
    assert other.base_of(0) + other.values[0].sum() == pytest.approx(other.margin[0], abs=1e-4)


def test_every_encoded_column_goes_to_features_in_equal_shares():
    made = explainer("binary", "xgboost", "none")
    shares = dict(zip(made.scorer.names, made.shares, strict=True))
    assert made.shares.sum(axis=1) == pytest.approx(1)
    place = made.features.index
    assert shares["grade"][place("grade")] == 1
    assert shares["burden"][place("amount")] == shares["burden"][place("income")] == 0.5
    # kept is made of burden, town_part of the town and a part of the income
    assert shares["kept"][place("amount")] == shares["kept"][place("income")] == 0.5
    assert shares["town_part"][place("town")] == shares["town_part"][place("income")] == 0.5
    assert shares["weekday"][place("year")] == pytest.approx(1 / 3)
    assert shares["clock_sin"][place("hour")] == shares["age_line_0"][place("age")] == 1


def test_a_linear_models_parts_are_coefficients_times_values():
    """Two rows that differ in one column only differ in its contribution, by its coefficients."""
    task, name = "regression", "ridge"
    rows = served.rows_of(task, ROWS, 3).head(1)
    two = pd.concat([rows.assign(rooms=1.0), rows.assign(rooms=3.0)], ignore_index=True)
    found = explainer(task, name, "none").explain(columns_of(served.schema_of(task), two), 2)
    apart = found.values[1] - found.values[0]
    told = served.pipeline_of(task, name, "none").predict(two)
    assert apart[found.features.index("rooms")] == pytest.approx(told[1] - told[0])
    assert np.abs(np.delete(apart, found.features.index("rooms"))).max() < 1e-12


def test_forests_are_explained_while_warnings_are_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found, _, rows = explained("multiclass", "random_forest", "isotonic")
    assert found.margin.shape == (rows,)


@pytest.mark.parametrize("name", served.CLASSIFIERS)
def test_threads_share_an_explainer(name):
    made = explainer("binary", name, "none")
    tables = [
        columns_of(served.schema_of("binary"), served.rows_of("binary", 20, seed))
        for seed in range(5)
    ]
    alone = [made.explain(columns, 20).values for columns in tables]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda columns: made.explain(columns, 20).values, tables * 4))
    for place, values in enumerate(found):
        assert np.array_equal(values, alone[place % 5])


def column(**told):
    return Column.model_validate({"kind": "numeric", "name": "credit_score", **told})


@pytest.mark.parametrize(
    ("given", "value", "words"),
    [
        (column(description="Credit score (FICO)"), 612.0, "credit score of 612"),
        (column(description="FICO score; 300-850"), 612, "FICO score of 612"),
        (column(), 1234567.25, "credit score of 1234567.25"),
        (column(description="income", unit="EUR"), 1200.5, "income of 1200.5 EUR"),
        (column(description="income"), None, "missing income"),
        (column(description="income"), float("nan"), "missing income"),
        (column(kind="categorical", codes={"A": "best", "B": ""}), "A", 'credit score "best"'),
        (column(kind="categorical", codes={"A": "best", "B": ""}), "B", 'credit score "B"'),
        (column(kind="categorical", codes={1: "own house"}), 1.0, 'credit score "own house"'),
        (column(kind="categorical"), "x", 'credit score "x"'),
    ],
)
def test_a_value_is_told_in_the_schemas_words(given, value, words):
    assert described(given, value) == words


def told(task, values, classes=None):
    features = ("amount", "income", "age", "grade", "purpose", "hour")
    return Contributions(
        0.0,
        features,
        np.array([values]),
        np.zeros(1),
        None,
        None if classes is None else np.array(classes),
    )


RECORD = {"amount": 900.0, "income": 300.0, "age": 20.0, "grade": "D", "purpose": None, "hour": 3.0}


def test_reasons_are_what_raises_the_risk_most_harmful_first():
    found = reasons(
        served.schema_of("binary"), told("binary", [0.5, 0.9, -2.0, 0.1, 0.2, 0.05]), RECORD
    )
    assert found == [
        "monthly income of 300 raises the risk",
        "loan amount of 900 EUR raises the risk",
        "missing purpose of the loan raises the risk",
        'grade "poor" raises the risk',
    ]
    assert (
        reasons(served.schema_of("binary"), told("binary", [-1.0, 0.0, -2.0, 0, 0, 0]), RECORD)
        == []
    )


def test_reasons_of_a_number_say_which_way():
    found = reasons(
        served.schema_of("regression"), told("regression", [5.0, 0, -9.0, 0, 0, 0]), RECORD
    )
    assert found == [
        "age of the applicant of 20 lowers the prediction",
        "loan amount of 900 EUR raises the prediction",
    ]


def test_reasons_of_several_classes_name_the_class():
    given = told("multiclass", [0, 0, 0, 0, 0, 1.0], [1])
    assert reasons(served.schema_of("multiclass"), given, RECORD) == ["hour of 3 speaks for yes"]


def test_reasons_are_made_of_a_row_of_columns():
    found, columns, _ = explained("binary", "lightgbm", "none")
    record = record_at(columns, 5)
    table = served.rows_of("binary", ROWS, 3)
    assert record["grade"] == (table["grade"].iloc[5] if pd.notna(table["grade"].iloc[5]) else None)
    words = reasons(served.schema_of("binary"), found, record, row=5)
    assert 0 < len(words) <= 4
    assert all(word.endswith("raises the risk") for word in words)
