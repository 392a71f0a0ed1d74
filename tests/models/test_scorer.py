"""The scorer answers with the pipeline's bits, whatever the type, task, calibration and rows."""

import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from tests.models import served

from lockstep.errors import DataError
from lockstep.evaluation.metrics import SCORE_DECIMALS
from lockstep.models.artifact import canonical_bytes
from lockstep.models.linear import fit_linear
from lockstep.models.matrices import Columns as EncodedColumns
from lockstep.models.model_type import Recipe
from lockstep.models.scoring.linear_scorer import LinearScorer
from lockstep.models.scoring.scorer import EncodedScorer, Scorer, columns_of
from lockstep.models.types import model_type, type_of
from lockstep.models.types._booster import WIDE
from lockstep.models.types.xgboost import dense_prediction
from lockstep.problems.schema import Column

ROWS = WIDE + 20
"""So many that xgboost answers on all threads: alone a row is answered on one."""


@cache
def scorer(task, name, method):
    return Scorer(served.pipeline_of(task, name, method), served.schema_of(task))


def scored(task, name, method, rows):
    """Return what the pipeline itself says of a table, rounded."""
    pipeline = served.pipeline_of(task, name, method)
    if task == "regression":
        return np.asarray(pipeline.predict(rows), dtype=np.float64)
    chances = np.asarray(pipeline.predict_proba(rows), dtype=np.float64)
    return np.round(chances[:, 1] if task == "binary" else chances, SCORE_DECIMALS)


@pytest.mark.parametrize("kind", served.KINDS, ids="-".join)
def test_scores_have_the_bits_of_the_pipeline(kind):
    rows = served.rows_of(kind[0], ROWS, seed=3)
    expected = scored(*kind, rows)
    columns = columns_of(served.schema_of(kind[0]), rows)
    found = scorer(*kind).score(columns, len(rows))
    assert found.dtype == expected.dtype
    assert np.array_equal(found, expected)
    assert len(np.unique(expected)) > 4  # otherwise equality would say little


@pytest.mark.parametrize("kind", served.KINDS, ids="-".join)
def test_a_row_alone_scores_as_it_does_among_others(kind):
    rows = served.rows_of(kind[0], ROWS, seed=4)
    columns = columns_of(served.schema_of(kind[0]), rows)
    one_by_one, together = scorer(*kind), scorer(*kind).score(columns, len(rows))
    for place in range(0, ROWS, 7):
        alone = {name: values[place : place + 1] for name, values in columns.items()}
        assert np.array_equal(one_by_one.score(alone, 1)[0], together[place])
        if place < 21:
            assert np.array_equal(
                one_by_one.score(alone, 1), scored(*kind, rows.iloc[place : place + 1])
            )


def values_of(column: Column) -> st.SearchStrategy:
    """Any value a validated record may have, and codes that the training rows did not know."""
    missing = st.none()
    if not column.holds_numbers:
        return st.sampled_from([*column.codes, "never seen", "a"]) | missing
    if column.codes:
        return st.sampled_from([float(code) for code in column.codes] + [77.0]) | missing
    low, high = column.low or 0.0, column.high or 1e5
    if column.integer:
        return st.integers(int(low), int(high)).map(float) | missing
    hundredths = st.integers(
        int(low * 100), int(high * 100)
    )  # what is smaller makes ratios infinite
    return hundredths.map(lambda value: value / 100) | missing


def table_of(schema, records):
    series = {
        c.name: pd.Series(
            [r[c.name] for r in records], dtype="float64" if c.holds_numbers else "str"
        )
        for c in schema.features
    }
    return pd.DataFrame(series)


RECORDS = st.lists(
    st.fixed_dictionaries({c.name: values_of(c) for c in served.schema_of("binary").features}),
    min_size=1,
    max_size=70,
)


@settings(max_examples=25, deadline=None)
@given(records=RECORDS)
def test_any_rows_are_encoded_as_the_transformer_does(records):
    table = table_of(served.schema_of("binary"), records)
    expected = (
        served.pipeline_of("binary", "xgboost", "none").named_steps["encoder"].transform(table)
    )
    found = scorer("binary", "xgboost", "none").encode(
        columns_of(served.schema_of("binary"), table), len(table)
    )
    assert found.dtype == np.float64
    assert np.array_equal(found, expected.to_numpy(), equal_nan=True)


def test_weekdays_are_told_from_dates_too():
    from lockstep.features.columns_v1 import ColumnEncoder
    from lockstep.models.training import pipeline_of

    days = pd.DataFrame(
        {"on": pd.to_datetime(["2024-02-29", None, "1969-12-31", "2026-11-21"] * 5)}
    )
    declared = [{"name": "on", "kind": "date"}]
    encoder = ColumnEncoder(declared, [{"name": "weekday", "kind": "weekday", "of": ["on"]}])
    target = np.tile([0, 1, 1, 0], 5)
    forest = RandomForestClassifier(3, random_state=0).fit(
        encoder.fit_transform(days, target), target
    )
    made = Scorer(pipeline_of(encoder, forest), served.schema_of("binary"))
    found = made.encode({"on": days["on"].to_numpy()}, len(days))
    assert np.array_equal(found, encoder.transform(days).to_numpy())
    assert len(np.unique(found)) == 4


@settings(max_examples=12, deadline=None)
@given(records=RECORDS, kind=st.sampled_from(served.KINDS))
def test_any_rows_are_scored_as_the_pipeline_does(records, kind):
    table = table_of(served.schema_of(kind[0]), records)
    found = scorer(*kind).score(columns_of(served.schema_of(kind[0]), table), len(table))
    assert np.array_equal(found, scored(*kind, table))


@pytest.mark.parametrize("name", ["xgboost", "lightgbm"])
def test_the_pipeline_stays_what_its_digest_says(name):
    pipeline = served.pipeline_of("binary", name, "sigmoid")
    before = canonical_bytes(pipeline)
    rows = served.rows_of("binary", ROWS, seed=5)
    scorer("binary", name, "sigmoid").score(columns_of(served.schema_of("binary"), rows), len(rows))
    assert canonical_bytes(pipeline) == before


@pytest.mark.parametrize("name", served.CLASSIFIERS)
def test_threads_share_a_scorer(name):
    made = scorer("binary", name, "isotonic")
    tables = [served.rows_of("binary", ROWS, seed) for seed in range(3)]
    columns = [columns_of(served.schema_of("binary"), table) for table in tables]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda given: made.score(given, len(given["amount"])), columns * 4))
    for place, scores in enumerate(found):
        assert np.array_equal(scores, scored("binary", name, "isotonic", tables[place % 3]))


def test_a_forest_refuses_what_scikit_learn_refuses():
    columns = columns_of(served.schema_of("binary"), served.rows_of("binary", ROWS, seed=3))
    columns["amount"] = np.full(len(columns["amount"]), 1e39)
    with pytest.raises(DataError, match="too large for this model"):
        scorer("binary", "random_forest", "none").score(columns, len(columns["amount"]))


@pytest.mark.parametrize("name", ["logistic_regression", "ridge"])
def test_a_linear_model_refuses_what_is_infinite(name):
    task = "binary" if name == "logistic_regression" else "regression"
    columns = columns_of(served.schema_of(task), served.rows_of(task, ROWS, seed=3))
    columns["amount"], columns["income"] = np.full((2, len(columns["amount"])), [[1e308], [1e-3]])
    with pytest.raises(DataError, match="a value is infinite"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # numpy's own word on the division
        scorer(task, name, "none").score(columns, len(columns["amount"]))


def test_a_forest_with_directions_takes_no_missing_value():
    rows = np.random.default_rng(0).random((50, 2))
    forest = RandomForestRegressor(5, monotonic_cst=[1, 0], random_state=0).fit(rows, rows[:, 0])
    scorer = type_of(forest).scorer(forest, "regression")
    assert np.array_equal(scorer.outputs(rows), forest.predict(rows))
    with pytest.raises(DataError, match="takes no missing value"):
        scorer.outputs(np.array([[np.nan, 0.5]]))


LINEAR = [
    (task, names)
    for task in ("binary", "multiclass", "regression")
    for names in ("a", "x", "xz", "ab", "o", "oax")
    if (task, names)
    != ("regression", "o")  # of one column that is the same everywhere ridge learns nothing
]


@pytest.mark.parametrize(
    ("task", "names"), LINEAR, ids=[f"{task}-{names}" for task, names in LINEAR]
)
def test_linear_models_of_any_columns_are_asked_alike(task, names):
    rng = np.random.Generator(np.random.PCG64(7))
    x = rng.normal(size=300)
    columns = {
        "a": rng.integers(0, 40, 300) * 1.0,
        "b": rng.integers(2, 4, 300) * 1.0,
        "o": np.full(300, 2.0),
    }
    table = pd.DataFrame({**columns, "x": np.where(x > 1, np.nan, x), "z": rng.normal(size=300)})[
        list(names)
    ]
    target = {"regression": x, "binary": x > 0, "multiclass": np.digitize(x, [-0.5, 0.5])}[task]
    kinds = {name: "numeric" if name in "xz" else "categorical" for name in names}
    name = "ridge" if task == "regression" else "logistic_regression"
    model = fit_linear(model_type(name), Recipe(task, EncodedColumns(kinds), {}), table, target)
    new = pd.concat([table, table.assign(**{n: [77.0] * 300 for n in names})], ignore_index=True)
    scorer = LinearScorer(model, task)
    expected = model.predict(new) if task == "regression" else model.predict_proba(new)
    found = scorer.outputs(new.to_numpy())
    assert np.array_equal(found, expected[:, 1] if task == "binary" else expected)
    bases, parts = scorer.parts(new.to_numpy())
    sums = (bases + parts.sum(axis=2)).reshape(scorer.margins(new.to_numpy()).shape)
    assert sums == pytest.approx(scorer.margins(new.to_numpy()), abs=1e-9)


def test_an_estimator_of_no_model_type_is_refused():
    with pytest.raises(DataError, match="a dict can't be served; types that can: ExtraTreesClass"):
        EncodedScorer({}, "binary")


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("count", [1, ROWS])
def test_the_direct_call_of_xgboost_gives_the_bits_of_its_public_function(task, count):
    """The one use of xgboost's private names, against ``Booster.inplace_predict``."""
    booster = served.pipeline_of(task, "xgboost", "none").named_steps["model"].get_booster()
    columns = columns_of(served.schema_of(task), served.rows_of(task, ROWS, seed=6))
    rows = scorer(task, "xgboost", "none").encode(columns, ROWS)[:count].astype(np.float32, "C")
    predict = dense_prediction((0, 0))
    for margin in (False, True):
        public = booster.inplace_predict(
            rows, predict_type="margin" if margin else "value", validate_features=False
        )
        found = predict(booster.handle, rows, margin)
        assert np.array_equal(found, public)
        assert found.shape == public.shape
