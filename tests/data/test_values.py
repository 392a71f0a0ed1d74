"""Both speeds of the value reader go by one set of rules; a table says where sources differ."""

import math

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lockstep.data import values
from lockstep.data.record_text import given as given_content
from lockstep.data.records import given_records, records_to_table
from lockstep.data.values import (
    allowed_labels,
    column_check,
    fault,
    fit_check,
    is_label,
    json_values,
    missing_texts,
    out_of_range,
    read_cells,
    read_texts,
    typed_column,
    unknown_codes,
)
from lockstep.errors import DataError
from lockstep.problems.schema import Column, Schema
from lockstep.problems.text_tables import trimmed
from lockstep.serving.http_request import Refusal
from lockstep.serving.request_parsing import RecordReader

EXACT = 2**53
"""Beyond, not all whole numbers are float64: a value is compared exactly, a column as float64."""

ends = st.none() | st.integers(-5, 5) | st.floats(-5, 5)
numeric = st.builds(
    lambda low, high, integer, missing: Column(
        name="x", kind="numeric", low=low, high=high, integer=integer, missing=missing
    ),
    *(ends, ends, st.booleans(), st.booleans()),
)
codes = st.one_of(
    st.just({}),
    st.just({1: "", 2: "", -3: ""}),
    st.just({"a": "", "NA": ""}),
    st.just({"a": "", 3: ""}),
)
coded = st.builds(
    lambda kind, codes, missing: Column(name="x", kind=kind, codes=codes, missing=missing),
    *(st.sampled_from(["categorical", "ordered"]), codes, st.booleans()),
)
columns = numeric | coded

json_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-6, 6),
    st.integers(-EXACT, EXACT),
    st.floats(-6, 6),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["a", "NA", "", "3", "b", 0.5, -0.0, 2.0, 1e308]),
)
python_values = json_scalars | st.sampled_from(
    [math.nan, math.inf, -math.inf, 10**400,
     np.float32(2), np.int64(1), np.str_("a"), np.float64("nan")]
)  # fmt: skip


def same(one, other):
    return np.array_equal(
        pd.Series(one, dtype=object).fillna("missing"),
        pd.Series(other, dtype=object).fillna("missing"),
    )


def schema_of(column):
    target = {"kind": "target", "codes": {0: "no", 1: "yes"}}
    return Schema.model_validate(
        {
            "name": "toy",
            "title": "Toy",
            "task": "binary",
            "unit": "row",
            "registered_name": "toy",
            "experiment": "toy",
            "columns": {"y": target, "x": column.model_dump(exclude={"name"})},
        }
    )


@settings(max_examples=400, deadline=None)
@example(column=Column(name="x", kind="numeric"), values=[math.nan])
@example(column=Column(name="x", kind="numeric", missing=True, integer=True), values=[math.inf])
@given(column=columns, values=st.lists(python_values, min_size=1, max_size=4))
def test_one_value_and_a_column_of_values_are_read_by_the_same_rules(column, values):
    plain = json_values(values)
    fits = [fit_check(column)(value) for value in plain]
    assert [fault(column, value) is None for value in values] == fits
    found = column_check(column)(plain)
    if not all(fits):
        assert found is None
        return
    assert found.dtype == (np.float64 if column.holds_numbers else object)
    assert same(found, plain)
    assert same(found, typed_column(column, plain))


@settings(max_examples=300, deadline=None)
@given(column=columns, values=st.lists(json_scalars, min_size=1, max_size=3))
def test_the_api_and_a_file_of_records_give_the_same_column_or_the_same_error(column, values):
    schema, records = schema_of(column), [{"x": value} for value in values]
    reader, table, reason = RecordReader(schema), None, ""
    try:
        table = records_to_table(schema, records)
    except DataError as error:
        reason = str(error)
    if table is None:
        with pytest.raises(Refusal) as caught:
            reader.read(orjson.dumps(records), 10)
        first = caught.value.faults[0]
        # true and false are written as JSON does
        assert first["message"] in reason or isinstance(values[first["row"] - 1], bool)
        return
    assert same(reader.read(orjson.dumps(records), 10).columns["x"], table["x"])
    for place, record in enumerate(records):
        alone = reader.read(orjson.dumps(record), 1).columns["x"]
        assert same(alone, table["x"].iloc[[place]])


@settings(max_examples=200, deadline=None)
@given(column=columns, values=st.lists(json_scalars, min_size=1, max_size=4))
def test_a_typed_column_loses_what_a_record_would_be_refused_for(column, values):
    kind = (int, float) if column.holds_numbers else str
    plain = [v for v in values if v is None or (isinstance(v, kind) and not isinstance(v, bool))]
    typed = typed_column(column, plain)
    unfit = pd.Series(False, index=typed.index)
    if column.codes:
        unfit = unknown_codes(column, typed)
    elif column.holds_numbers:
        unfit = out_of_range(column, typed)
    expected = [
        v is not None and (bool(column.codes) or column.holds_numbers) and not fit_check(column)(v)
        for v in plain
    ]
    assert unfit.tolist() == expected


cells = st.lists(
    st.none()
    | st.floats(allow_nan=False, allow_infinity=False).map(str)
    | st.integers(-(10**20), 10**20).map(str)
    | st.sampled_from(
        ["", "NA", "nan", "none", "1,5", "1.234,5", "1_0", "inf", "1e999", "3+", "a", "٣"]
    )
    | st.text(max_size=4).map(str.strip),
    min_size=1,
    max_size=5,
)
written = st.sampled_from(["", ".", ","]).flatmap(
    lambda decimal: columns.map(
        lambda c: c.model_copy(update={"decimal": decimal, "absent": ["none", "3+"]})
    )
)


@settings(max_examples=300, deadline=None)
@given(column=written, cells=cells)
def test_a_cell_is_read_alike_alone_and_among_others(column, cells):
    values, bad = read_cells(column, pa.array(cells, pa.string()))
    assert (len(values), len(bad)) == (len(cells), len(cells))
    for place, cell in enumerate(cells):
        alone, unreadable = read_cells(column, pa.array([cell], pa.string()))
        assert same(alone, values[place : place + 1])
        assert unreadable[0] == bad[place]
        if cell is None or cell in missing_texts(column):
            assert pd.isna(alone[0])
            assert not unreadable[0]


NUMBER = Column(name="x", kind="numeric", missing=True, absent=["3+"])
EUROS = Column(name="x", kind="numeric", missing=True, decimal=",")
TEXT = Column(name="x", kind="categorical", missing=True, absent=["none"])
LEVELS = Column(name="x", kind="categorical", missing=True, codes={"NA": "", "None": "", "a": ""})
CODES = Column(name="x", kind="categorical", missing=True, codes={1: "", 2: ""})
WHOLE = Column(name="x", kind="numeric", integer=True, low=0)
MISSING, REFUSED = None, "refused"


def predicted(schema, records):
    """Return the value that the feature x of the first record has, or what became of it."""
    try:
        found = records_to_table(schema, records)["x"].iloc[0]
    except DataError:
        return REFUSED
    return MISSING if pd.isna(found) else found


@pytest.mark.parametrize(
    ("column", "cell", "meant"),
    [
        (TEXT, "NA", MISSING),
        (TEXT, "null", MISSING),
        (TEXT, "none", MISSING),
        (TEXT, "", MISSING),
        (TEXT, "NONE", "NONE"),
        (TEXT, "\u00a0Town 3 ", "Town 3"),
        (TEXT, "12", "12"),
        (LEVELS, "NA", "NA"),
        (LEVELS, " None", "None"),
        (LEVELS, "N/A", MISSING),
        (LEVELS, "b", REFUSED),
        (CODES, "2", 2.0),
        (CODES, "2.0", 2.0),
        (CODES, "3", REFUSED),
        (CODES, "NULL", MISSING),
        (NUMBER, "NA", MISSING),
        (NUMBER, "nan", MISSING),
        (NUMBER, "3+", MISSING),
        (NUMBER, "4+", REFUSED),
        (NUMBER, "1,5", 1.5),
        (NUMBER, " 1.5\t", 1.5),
        (NUMBER, "1_0", REFUSED),
        (NUMBER, "inf", REFUSED),
        (NUMBER, "12", 12.0),
        (NUMBER, "84.015,07", REFUSED),
        (EUROS, "84.015", 84015.0),
        (EUROS, "84.015,07 €", 84015.07),
        (EUROS, "68,5", 68.5),
        (EUROS, "68.5", 68.5),
        (EUROS, "84015", 84015.0),
        (EUROS, "12 %", 12.0),
        (EUROS, "1.2.3", REFUSED),
        (WHOLE, "3", 3.0),
        (WHOLE, "NA", REFUSED),
        (WHOLE, "-1", REFUSED),
    ],
)
def test_a_cell_means_the_same_wherever_it_stands(column, cell, meant, tmp_path):
    """In a prepared table, a CSV and a Parquet file to predict, and a JSON text."""
    schema = schema_of(column)
    values, bad = read_cells(column, trimmed(pa.array([cell])))
    in_table = MISSING if pd.isna(values[0]) else values[0]
    is_refused = bad[0] or fault(column, in_table) is not None
    assert (REFUSED if is_refused else in_table) == meant
    assert predicted(schema, [{"x": cell}]) == meant
    content = f'x;y\n"{cell}";1\n'.encode()
    assert predicted(schema, given_records(given_content(content, "piped"), schema)) == meant
    path = tmp_path / "x.parquet"
    pd.DataFrame({"x": [cell], "y": [1]}).to_parquet(path)
    assert predicted(schema, given_records(given_content(b"PAR1", "p", path), schema)) == meant
    reader = RecordReader(schema)
    for body in ({"x": cell}, [{"x": cell}, {"x": cell}]):
        if meant == REFUSED:
            with pytest.raises(Refusal) as caught:
                reader.read(orjson.dumps(body), 2)
            assert caught.value.faults[0]["field"] == "x"
        else:
            read = reader.read(orjson.dumps(body), 2)
            kept = orjson.loads(read.body)
            assert same(read.columns["x"][:1], [meant])
            assert (kept if read.single else kept[1])["x"] == meant


@pytest.mark.parametrize(
    ("column", "value"),
    [(TEXT, 1), (TEXT, True), (LEVELS, 1.0), (NUMBER, True), (CODES, False), (CODES, 3)],
)
def test_numbers_and_booleans_of_json_are_no_cells(column, value):
    assert predicted(schema_of(column), [{"x": value}]) == REFUSED
    with pytest.raises(Refusal):
        RecordReader(schema_of(column)).read(orjson.dumps({"x": value}), 1)


BOOLEANS = Column(name="x", kind="categorical", codes={"FALSE": "", "TRUE": "", "?": ""})
BITS = Column(name="x", kind="categorical", codes={0: "", 1: ""})
TWICE = Column(name="x", kind="categorical", codes={"True": "", "true": ""})


@pytest.mark.parametrize(
    ("column", "value", "meant"),
    [
        (BOOLEANS, True, "TRUE"),
        (BOOLEANS, False, "FALSE"),
        (BOOLEANS, "True", "TRUE"),
        (BITS, True, 1.0),
        (BITS, False, 0.0),
        (TWICE, True, REFUSED),
        (TEXT, True, REFUSED),
    ],
)
def test_booleans_are_the_codes_that_a_file_has_for_them(column, value, meant, tmp_path):
    schema, body = schema_of(column), orjson.dumps([{"x": value}])
    assert predicted(schema, [{"x": value}]) == meant
    if meant == REFUSED:
        with pytest.raises(Refusal):
            RecordReader(schema).read(body, 1)
    else:
        assert RecordReader(schema).read(body, 1).columns["x"].tolist() == [meant]
    path = tmp_path / "x.parquet"
    pd.DataFrame({"x": [value]}).to_parquet(path)
    assert predicted(schema, given_records(given_content(b"PAR1", "p", path), schema)) == meant


def test_a_number_of_json_is_not_read_by_the_columns_decimal_sign():
    assert predicted(schema_of(EUROS), [{"x": 84.015}]) == 84.015


def test_a_text_among_numbers_is_refused_with_the_form_of_the_column():
    said = r"x = 'ca. 3' must be a number, not str, written as 1\.234,5"
    with pytest.raises(DataError, match=said):
        records_to_table(schema_of(EUROS), [{"x": "ca. 3"}])
    with pytest.raises(Refusal, match=said):
        RecordReader(schema_of(EUROS)).read(orjson.dumps({"x": "ca. 3"}), 1)


def test_two_other_names_of_one_feature_are_refused():
    column = Column(name="x", kind="numeric", aliases=["X", "ex"])
    schema, record = schema_of(column), {"X": 1, "ex": 2}
    assert predicted(schema, [record]) == REFUSED
    with pytest.raises(Refusal, match="missing x"):
        RecordReader(schema).read(orjson.dumps(record), 1)


def test_a_number_under_another_name_is_read_as_one():
    column = Column(name="x", kind="numeric", aliases=["X (m²)"])
    assert predicted(schema_of(column), [{"X (m²)": "1,5"}]) == 1.5


@pytest.mark.parametrize(
    ("target", "task", "good", "bad"),
    [
        ({"codes": {0: "", 1: ""}}, "binary", [0, 1], [2, 1.0, True, "1", None]),
        ({"codes": {"n": "", "y": ""}}, "binary", ["n", "y"], ["N", 0, None]),
        ({"codes": {"a": "", 3: ""}}, "multiclass", ["a", "3"], [3, "b"]),
        ({}, "binary", [0, 1], [2, "1", 0.0]),
        ({}, "multiclass", ["any", 7, -(2**63) + 1], [7.0, None, [], 2**63, False]),
        ({"low": 0}, "regression", [1.5, -3, 2**63 - 1], [2**63, "1", None, True, 1e300]),
    ],
)
def test_a_label_is_an_integer_a_text_or_a_finite_number(target, task, good, bad):
    schema = schema_of(NUMBER).model_copy(
        update={"task": task, "columns": {"y": Column(name="y", kind="target", **target)}}
    )
    assert all(is_label(schema, label) for label in good)
    assert not any(is_label(schema, label) for label in bad)
    assert allowed_labels(schema)


cells = st.one_of(
    st.text(max_size=6),
    st.sampled_from(["NA", " nan", "null\t", "3+", "x", "é", "e\u0301", "1,5", "1.5.", "٣", "1_0"]),
    st.from_regex(
        r"[ \u00a0]?[+-]?[0-9]{0,4}[.,]?[0-9]{0,3}([eE][+-]?[0-9]{1,3})? ?", fullmatch=True
    ),
    st.floats().map(repr),
    st.integers(-(10**20), 10**20).map(str),
)
read = columns | st.sampled_from(
    [
        Column(name="x", kind="numeric", absent=["3+", "-999", "1,5"]),
        Column(name="x", kind="numeric", decimal=","),
        Column(name="x", kind="categorical", spellings={"x": "a", "é": "NA"}, absent=["?", "a "]),
        Column(name="x", kind="categorical", codes={"é": "", "x": ""}, spellings={"3+": "é"}),
    ]
)


@settings(max_examples=300, deadline=None)
@example(column=Column(name="x", kind="numeric"), given_cells=["1e999", "-inf", "1,5", "1,5,5"])
@given(column=read, given_cells=st.lists(cells, min_size=1, max_size=8))
def test_few_texts_and_many_are_read_alike(column, given_cells):
    few = read_texts(column, given_cells)
    many = values._read_many(column, list(dict.fromkeys(given_cells)))
    assert few == many
    assert list(map(type, few.values())) == list(map(type, many.values()))


def test_more_than_few_texts_are_read_at_once(monkeypatch):
    monkeypatch.setattr(values, "trimmed_text", None)  # what reads texts one by one
    many = [str(number) for number in range(values.FEW_TEXTS + 1)]
    assert read_texts(Column(name="x", kind="numeric"), many)["100"] == 100
    with pytest.raises(TypeError):
        read_texts(Column(name="x", kind="numeric"), many[:-1])
