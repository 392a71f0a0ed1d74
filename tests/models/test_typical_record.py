"""The typical record holds medians and most frequent values. A schema takes it; it names nobody."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep.config.layout import ProblemLayout
from lockstep.data.records import check_record
from lockstep.io import write_parquet
from lockstep.models.typical_record import (
    FEWEST_GROUPS,
    fitting,
    typical_of_training,
    typical_record,
)
from lockstep.problems.schema import Schema, load_schema, problem_names

COLUMNS = {
    "y": {"kind": "target", "codes": {0: "no", 1: "yes"}},
    "amount": {"kind": "numeric", "low": 0, "high": 1000},
    "age": {"kind": "numeric", "low": 0, "high": 120, "integer": True, "missing": True},
    "grade": {"kind": "ordered", "codes": {"A": "", "B": ""}, "missing": True},
    "town": {"kind": "categorical", "integer": True, "missing": True},
    "employer": {"kind": "categorical", "missing": True},
    "nickname": {"kind": "categorical"},
}


def schema_with(**columns: dict[str, object]) -> Schema:
    """Return the schema with some columns declared otherwise."""
    content = {"name": "lending", "title": "t", "task": "binary", "unit": "row"}
    content |= {"registered_name": "L", "experiment": "l"}
    return Schema.model_validate({**content, "columns": {**COLUMNS, **columns}})


LENDING = schema_with()


def table(rows: int = 40, **columns: object) -> pd.DataFrame:
    """Return rows with the given columns; others have one value."""
    texts = {"grade": "A", "employer": "works", "nickname": "al"}
    frame = pd.DataFrame({**dict.fromkeys(["amount", "age", "town"], 1.0), **texts}, range(rows))
    frame = frame.assign(**columns)
    return frame.astype(dict.fromkeys(texts, "str"))


def typical(frame: pd.DataFrame, groups: object = None) -> dict[str, object]:
    return typical_record(LENDING, frame, np.arange(len(frame)) if groups is None else groups)


def test_numbers_have_their_median_and_codes_their_most_frequent():
    found = typical(
        table(
            5,
            amount=[1.0, 2.0, 40.0, 50.0, 900.0],
            age=[20.0, 30.0, 31.0, 90.0, np.nan],
            grade=["B", "B", "A", None, None],
        )
    )
    assert (found["amount"], found["age"], found["grade"]) == (40, 30, "B")
    assert isinstance(found["amount"], int)


@pytest.mark.parametrize(
    ("numbers", "median"),
    [
        ([3.53911, 3.53914], 3.539),
        ([123456.4, 123457.0], 123457),
        ([2012.917, 2012.917], 2013),
        ([0.000123456], 0.0001235),
        ([-118.4951], -118.5),
        ([0.0, 0.0, 7.0], 0),
        ([np.inf, np.inf, 5.0], 5),
    ],
)
def test_a_median_has_few_digits_and_is_a_number(numbers, median):
    wide = schema_with(amount={"kind": "numeric"})
    frame = table(len(numbers), amount=numbers)
    assert typical_record(wide, frame, np.arange(len(frame)))["amount"] == median


def test_a_median_stays_in_a_range_that_its_few_digits_would_leave():
    narrow = schema_with(amount={"kind": "numeric", "low": 5.12345, "high": 5.1235})
    frame = table(3, amount=[5.12345, 5.12345, 5.1235])
    assert typical_record(narrow, frame, np.arange(3))["amount"] == 5.12345


def test_of_equally_frequent_values_the_first_in_order_is_taken_in_any_order_of_rows():
    for rows in (["b", "c", "a"] * 20, ["c", "a", "b"] * 20):
        assert typical(table(60, employer=rows))["employer"] == "a"
    assert typical(table(40, town=[9.0, 7.0] * 20))["town"] == 7


def test_a_value_of_few_groups_is_not_shown_where_the_schema_does_not_list_it():
    few, enough = ["Jo"] * (FEWEST_GROUPS - 1), ["Jo"] * FEWEST_GROUPS
    others = [f"n{number}" for number in range(30)]
    for given_texts, shown in ((few, None), (enough, "Jo")):
        names = given_texts + others
        found = typical(table(len(names), employer=names, nickname=names))
        assert found["employer"] == shown
        assert found.get("nickname") == shown
    one_person = np.zeros(40, dtype=int)
    assert typical(table(), one_person)["employer"] is None
    assert "nickname" not in typical(table(), one_person)
    assert typical(table(), one_person)["grade"] == "A"  # a code of the schema


def test_a_column_without_values_is_missing_in_the_record():
    found = typical(table(age=np.nan, grade=None, town=np.nan))
    assert (found["age"], found["grade"], found["town"]) == (None, None, None)
    assert fitting(LENDING, found) == found


@settings(max_examples=40, deadline=None)
@given(data=st.data(), problem=st.sampled_from(problem_names()))
def test_the_schema_takes_the_typical_record_of_any_rows_in_any_order(data, problem):
    schema = load_schema(problem)
    rows = data.draw(st.integers(FEWEST_GROUPS, 30))
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    frame = pd.DataFrame({c.name: _drawn(c, rows, rng) for c in schema.features})
    found = typical_record(schema, frame, np.arange(rows))
    assert fitting(schema, found) == found
    if len(found) == len(schema.features):
        check_record(schema, found)
    shuffled = frame.sample(frac=1, random_state=1)
    assert typical_record(schema, shuffled, np.arange(rows)) == found


def _drawn(column, rows, rng):
    low = -100 if column.low is None else column.low
    values = rng.uniform(low, 100 if column.high is None else column.high, rows)
    values = np.floor(values) if column.integer else values
    if column.codes:
        codes = [float(c) if column.holds_numbers else str(c) for c in column.codes]
        values = np.array(codes, dtype=object)[rng.integers(0, len(codes), rows)]
    if column.missing:
        values = np.where(rng.random(rows) < 0.3, None, values.astype(object))
    return pd.Series(values, dtype="float64" if column.holds_numbers else "str")


@pytest.fixture
def layout(tmp_path: Path) -> ProblemLayout:
    """A workspace in which rows 1 and 2 of three are the training part."""
    found = ProblemLayout(tmp_path, "lending")
    write_parquet(found.tidy, table(3, amount=[900.0, 10.0, 10.0]))
    matrix = pd.DataFrame({"amount": [10.0, 10.0], "__row__": [1, 2], "__group__": [5, 6]})
    write_parquet(found.matrix("train"), matrix)
    return found


def test_it_is_of_the_training_rows_alone(layout):
    found = typical_of_training(layout, LENDING, {"rows": {"train": 2}})
    assert found is not None
    assert (found["amount"], found["grade"]) == (10, "A")


def test_tables_that_are_missing_or_of_another_training_give_none(layout):
    assert typical_of_training(layout, LENDING, {"rows": {"train": 3}}) is None
    assert typical_of_training(layout, LENDING, {}) is None
    other = schema_with(more={"kind": "numeric"})
    assert typical_of_training(layout, other, {"rows": {"train": 2}}) is None
    kinds = schema_with(amount={"kind": "categorical"}, employer={"kind": "numeric"})
    assert typical_of_training(layout, kinds, {"rows": {"train": 2}}) is None
    write_parquet(layout.tidy, table(2))
    assert typical_of_training(layout, LENDING, {"rows": {"train": 2}}) is None
    layout.tidy.write_bytes(b"cut off")
    assert typical_of_training(layout, LENDING, {"rows": {"train": 2}}) is None
    layout.tidy.unlink()
    assert typical_of_training(layout, LENDING, {"rows": {"train": 2}}) is None


@pytest.mark.parametrize("odd", [None, [], "x", 3, {"amount": True}, {"amount": [1]}, {"age": 1e9}])
def test_of_what_is_no_record_or_does_not_fit_nothing_is_taken(odd):
    assert fitting(LENDING, odd) == {}
