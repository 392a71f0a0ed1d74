import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lockstep.config.params import Preprocess
from lockstep.data.checks import check_table
from lockstep.data.records import check_record, records_to_table
from lockstep.data.values import read_texts
from lockstep.errors import DataError
from lockstep.problems.schema import Schema, load_schema
from lockstep.problems.text_tables import RawTable

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "accidents"
SCHEMA = Schema.model_validate(
    {
        "name": "toy",
        "title": "Toy",
        "task": "binary",
        "unit": "row",
        "registered_name": "toy",
        "experiment": "toy",
        "columns": {
            "day": {"kind": "date"},
            "row": {"kind": "id"},
            "part": {"kind": "part", "missing": True},
            "y": {"kind": "target", "codes": {0: "no", 1: "yes"}},
            "code": {"kind": "categorical", "missing": True, "codes": {1: "one", 2: "two"}},
            "word": {"kind": "categorical", "missing": True, "codes": {"a": "A", "b": "B"}},
            "free": {"kind": "categorical", "missing": True},
            "size": {"kind": "numeric", "low": 0, "high": 10, "missing": True, "unit": "m"},
            "count": {"kind": "numeric", "low": 1, "integer": True},
        },
    }
)
RULES = Preprocess(max_unknown_codes=0.1, max_dropped=0.2)


def rows(n=20, **changed):
    table = pd.DataFrame(
        {
            "day": pd.date_range("2021-01-01", periods=n, unit="ms"),
            "row": np.arange(n),
            "y": np.arange(n) % 2.0,
            "code": 1.0 + np.arange(n) % 2,
            "word": pd.Series(["a", "b"] * (n // 2), dtype="str"),
            "free": pd.Series(["x"] * n, dtype="str"),
            "size": np.linspace(0, 10, n),
            "count": np.arange(1.0, n + 1),
        }
    )
    for name, values in changed.items():
        table.loc[: len(values) - 1, name] = values
    return table


def check(table, rules=RULES):
    return check_table(SCHEMA, RawTable(table, {}, len(table), {}), rules)


def test_a_good_table_gets_the_schemas_columns_in_its_order():
    checked = check(rows().assign(extra=1)[["extra", *reversed(rows().columns)]])
    assert checked.table.columns.tolist() == list(SCHEMA.columns)
    assert checked.table["part"].isna().all()
    assert str(checked.table["y"].dtype) == "int64"
    assert (checked.dropped, checked.unknown_codes, checked.out_of_range) == ({}, {}, {})


@settings(max_examples=30)
@given(st.permutations(range(20)))
def test_the_order_of_rows_does_not_matter(order):
    expected = check(rows()).table
    pd.testing.assert_frame_equal(check(rows().iloc[order].reset_index(drop=True)).table, expected)


def test_unknown_codes_become_missing_and_are_counted():
    checked = check(rows(code=[7.0], word=["z", "a", "q"]))
    assert checked.unknown_codes == {"code": 1, "word": 2}
    assert checked.table["code"].isna().sum() == 1
    assert checked.table["word"].isna().sum() == 2


def test_too_many_unknown_codes_are_refused_with_examples_and_fix():
    with pytest.raises(
        DataError,
        match=r"column code: 15\.0% .* \(e\.g\. 7, 8, 9\).*max_unknown_codes = 0\.1; known: 1, 2",
    ):
        check(rows(code=[9.0, 7.0, 8.0]))


def test_values_out_of_range_become_missing_and_are_counted():
    checked = check(rows(size=[-1.0, 11.0]))
    assert checked.out_of_range == {"size": 2}
    assert checked.table["size"].isna().sum() == 2


def test_a_column_in_another_unit_is_refused():
    with pytest.raises(
        DataError,
        match=r"column size: 75% of the values \(e\.g\. 500\) "
        r"are not numbers from 0 to 10; .* than m",
    ):
        check(rows(size=[500.0] * 15))


def test_rows_that_miss_what_may_not_be_missing_are_dropped_and_counted():
    checked = check(rows(count=[0.5, 2.0], y=[1.0, np.nan]))
    assert checked.dropped == {"no_y": 1, "no_count": 1}
    assert checked.out_of_range == {"count": 1}
    assert len(checked.table) == 18


def test_too_many_dropped_rows_are_refused_with_the_reasons():
    with pytest.raises(
        DataError, match=r"5 of 20 rows of toy would be dropped \(no_count 5\).*max_dropped = 0\.2"
    ):
        check(rows(count=[0.0] * 5))


def test_one_class_only_is_refused():
    with pytest.raises(DataError, match=r"the target y has one class only \(1\) in 20 rows"):
        check(rows(y=[1.0] * 20))


def test_an_empty_table_is_refused():
    with pytest.raises(DataError, match="the table of toy is empty"):
        check(rows().iloc[:0])


def test_a_renamed_column_is_refused_with_the_nearest_name():
    with pytest.raises(DataError, match=r"'size' \(did you mean 'sise'\?\)"):
        check(rows().rename(columns={"size": "sise"}))


GOOD = {"code": 1, "word": "a", "free": "anything", "size": 1.5, "count": 3}


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"code": 2.0},
        {"code": None},
        {"code": float("nan")},
        {"size": 10},
        {"size": np.float32(2)},
        {"word": None},
    ],
)
def test_a_fitting_record_passes(change):
    check_record(SCHEMA, GOOD | change)
    table = records_to_table(SCHEMA, [GOOD | change])
    assert table.columns.tolist() == SCHEMA.feature_names


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"code": "2nd"}, r"code = '2nd' must be a number, not str"),
        ({"code": True}, r"code = True must be a number, not bool"),
        ({"code": 3}, r"code = 3 is no known code \(1, 2, or null\)"),
        ({"code": [1]}, r"code = \[1\] must be a number, not list"),
        ({"word": "c"}, r"word = 'c' is no known code"),
        ({"word": 1}, "word = 1 must be text"),
        ({"size": 10.5}, "size = 10.5 is not among numbers from 0 to 10"),
        ({"size": float("inf")}, "size = inf must be finite"),
        ({"size": 10**400}, "size = 1000.* must be finite"),
        ({"count": 1.5}, "count = 1.5 is not among whole numbers from 1"),
        ({"count": None}, "count must not be missing"),
        ({"sise": 1}, "no feature is called sise"),
    ],
)
def test_a_record_that_does_not_fit_is_refused(change, says):
    with pytest.raises(DataError, match=f"the record does not fit toy: {says}"):
        check_record(SCHEMA, GOOD | change)
    with pytest.raises(DataError, match=f"record 2 does not fit toy: {says}"):
        records_to_table(SCHEMA, [GOOD, GOOD | change])


def test_missing_and_extra_features_are_listed_with_the_nearest_name():
    record = {"sise": 1} | {k: v for k, v in GOOD.items() if k not in ("size", "code")}
    with pytest.raises(
        DataError,
        match=r"missing code, size .*; no feature is called sise \(did you mean 'size'\?\)",
    ):
        check_record(SCHEMA, record)


def test_a_message_shows_five_faults_at_most():
    schema = load_schema("accidents")
    with pytest.raises(DataError, match=r"and 23 more faults$"):
        check_record(schema, dict.fromkeys(schema.feature_names, "x"))


def test_no_records_and_no_object_are_refused():
    with pytest.raises(DataError, match="no records"):
        records_to_table(SCHEMA, [])
    with pytest.raises(DataError, match="record 2 is no object"):
        records_to_table(SCHEMA, [GOOD, [1, 2]])


values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 12),
    st.floats(),
    st.sampled_from(["a", "b", "z", "1"]),
)


@settings(max_examples=300)
@example(changes=[("count", math.inf)])
@given(st.lists(st.tuples(st.sampled_from([*GOOD, "other"]), values), max_size=2))
def test_the_vectorised_check_agrees_with_the_record_check(changes):
    record = GOOD | dict(changes)
    try:
        check_record(SCHEMA, record)
    except DataError:
        with pytest.raises(DataError):
            records_to_table(SCHEMA, [record])
    else:
        row = records_to_table(SCHEMA, [record]).iloc[0]
        for name, value in record.items():
            if isinstance(value, str):  # a cell: "1" is the code 1
                value = read_texts(SCHEMA.columns[name], [value])[value]
            gone = value is None or (isinstance(value, float) and math.isnan(value))
            assert pd.isna(row[name]) if gone else row[name] == value


def test_records_have_the_dtypes_of_the_tidy_table():
    tidy = check(rows()).table[SCHEMA.feature_names]
    assert records_to_table(SCHEMA, [GOOD] * 3).dtypes.to_dict() == tidy.dtypes.to_dict()


@pytest.mark.real_data
@pytest.mark.skipif(not DATA.exists(), reason="the real files are not beside the project")
def test_the_published_record_passes():
    record = json.loads((DATA / "onisr_2021_prepared" / "test_features.json").read_text())
    assert records_to_table(load_schema("accidents"), [record]).loc[0, "vma"] == 50
