"""Bodies are read by the rules for files of records, and every fault is named."""

import json
import time

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.models import served

from lockstep.data.records import check_record, records_to_table
from lockstep.data.values import allowed
from lockstep.errors import DataError
from lockstep.models.scoring.prediction import Model
from lockstep.models.scoring.scorer import Scorer, columns_of
from lockstep.problems.schema import Column, Schema
from lockstep.serving.http_request import Refusal
from lockstep.serving.request_parsing import MOST_FAULTS, RecordReader

SCHEMA = served.schema_of("binary")
READER = RecordReader(SCHEMA)
GOOD = {
    "amount": 250.5, "income": 1200, "age": 33, "grade": "B", "purpose": None, "employer": "a",
    "region": 2, "rooms": 2.0, "town": 13, "hour": 0, "lat": 45.1, "lon": None,
    "year": 2010, "month": 5, "day": 6,
}  # fmt: skip


def refused(body, most_rows=10_000, reader=READER):
    with pytest.raises(Refusal) as caught:
        reader.read(body if isinstance(body, bytes) else orjson.dumps(body), most_rows)
    return caught.value


def test_one_record_is_columns_of_one_row():
    read = READER.read(orjson.dumps(GOOD), 10)
    assert (read.rows, read.single, sorted(read.columns)) == (1, True, sorted(SCHEMA.feature_names))
    assert read.columns["amount"].dtype == np.float64
    assert read.columns["grade"].tolist() == ["B"]
    assert read.columns["purpose"].tolist() == [None]
    assert np.isnan(read.columns["lon"][0])
    assert not READER.read(orjson.dumps([GOOD]), 10).single
    assert READER.read(b"\xef\xbb\xbf" + orjson.dumps(GOOD), 10).rows == 1


@pytest.mark.parametrize(
    ("change", "field", "message"),
    [
        ({"amount": 1001}, "amount", "amount = 1001 is not among numbers from 0 to 1000"),
        ({"amount": "3x"}, "amount", "amount = '3x' must be a number, not str"),
        ({"amount": True}, "amount", "amount = true must be a number"),
        ({"amount": [1, 2]}, "amount", "amount = a list of 2 must be a number"),
        ({"age": None}, "age", "age must not be missing"),
        ({"age": 33.5}, "age", "age = 33.5 is not among whole numbers from 18 to 90"),
        ({"grade": "E"}, "grade", "grade = 'E' is no known code (A, B, C, D, or null)"),
        ({"grade": 1}, "grade", "grade = 1 must be text"),
        ({"grade": {}}, "grade", "grade = an object of 0 must be text"),
        ({"employer": False}, "employer", "employer = false must be text"),
        ({"region": 4}, "region", "region = 4 is no known code (1, 2, 3, or null)"),
        ({"region": False}, "region", "region = false must be a number"),
        ({"regoin": 1}, "regoin", "no feature is called regoin (did you mean 'region'?)"),
    ],
)
@pytest.mark.parametrize("rows", [1, 3])
def test_a_fault_names_row_field_value_and_what_is_allowed(change, field, message, rows):
    records = [GOOD] * (rows - 1) + [GOOD | change]
    fault = refused(records)
    assert (fault.status, fault.details, len(fault.faults)) == (422, {}, 1)
    (told,) = fault.faults
    assert (told["row"], told["field"], told["message"]) == (rows, field, message)
    expected = allowed(SCHEMA.columns[field]) if field in GOOD else ", ".join(SCHEMA.feature_names)
    assert told["allowed"] == expected
    assert message in str(fault)
    orjson.dumps(fault.faults)


def test_what_is_allowed_is_said_by_kind_of_column():
    found = {column.name: allowed(column) for column in SCHEMA.features}
    assert found["amount"] == "numbers from 0 to 1000, or null"
    assert found["age"] == "whole numbers from 18 to 90"
    assert found["grade"] == ["A", "B", "C", "D", None]
    assert found["region"] == [1, 2, 3, None]
    assert found["employer"] == "text, or null"
    many = Column(name="c", kind="categorical", codes=dict.fromkeys(range(500), ""))
    assert len(allowed(many)) == 61


def test_all_faults_of_a_record_are_told_at_once():
    record = {name: value for name, value in GOOD.items() if name != "town"} | {
        "age": 10,
        "twon": 3,
    }
    fault = refused(record)
    assert {told["field"] for told in fault.faults} == {"town", "twon", "age"}
    assert "(did you mean 'town'?)" in next(
        f["message"] for f in fault.faults if f["field"] == "twon"
    )
    assert "and 2 more faults" in str(fault)


def test_of_many_faults_a_hundred_are_listed_and_all_are_counted():
    fault = refused([GOOD | {"age": 10, "hour": 99}] * 300)
    assert (len(fault.faults), fault.details) == (MOST_FAULTS, {"fault_count": 600})
    assert "and 599 more faults" in str(fault)
    assert fault.faults[-1]["row"] == 50


def test_a_body_made_to_be_slow_is_refused_soon():
    begun = time.monotonic()
    fault = refused(GOOD | {f"{'amount' * 20}{number}": 1 for number in range(30_000)})
    assert (fault.details, len(fault.faults)) == ({"fault_count": 30_000}, MOST_FAULTS)
    assert (
        time.monotonic() - begun < 10
    )  # near a minute, were every name compared with all that are known
    assert len(fault.faults[0]["field"]) < 50


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"", 400, "the body is empty; send a record as JSON"),
        (b"  \n", 400, "the body is empty"),
        (b"{", 400, "the body is no valid JSON: .* at line 1, column 2"),
        (b'{"a": 1}\n{"a": 2}', 400, "the body is no valid JSON: .* at line 2, column 1"),
        (b'{"a":\n NaN}', 400, "NaN at line 2, column 2 is no JSON value; send null"),
        (b"[-Infinity]", 400, "Infinity at line 1, column 3 is no JSON value"),
        (b'{"a": 1e999}', 400, "number is infinity"),
        (b"[" * 5000 + b"]" * 5000, 400, "the body is no valid JSON"),
        (b'"\xff"', 400, "the body is no valid JSON"),
        (b"age=3&town=4", 400, "the body is no valid JSON"),
        (b"[]", 422, "no records: send at least one"),
        (b"null", 422, "the body is null; send an object"),
        (b"3", 422, "the body is a number"),
        (b'"text"', 422, "the body is a text"),
        (b"[3]", 422, "the record is a number, not an object"),
        (b"[[]]", 422, "the record is a list, not an object"),
        (b"{}", 422, "missing amount"),
    ],
)
def test_what_holds_no_records_is_refused(body, status, message):
    import re

    fault = refused(body)
    assert fault.status == status
    assert re.search(message, str(fault))


def test_deep_values_are_refused_and_not_repeated():
    nested = b"[" * 900 + b"]" * 900
    fault = refused(orjson.dumps(GOOD).replace(b"250.5", nested))
    assert fault.faults[0]["message"] == "amount = a list of 1 must be a number"


def test_more_records_than_allowed_are_too_many():
    assert READER.read(orjson.dumps([GOOD] * 3), 3).rows == 3
    fault = refused([GOOD] * 10_001)
    assert fault.status == 413
    assert str(fault) == "10,001 records are more than 10,000; send fewer at a time"


@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("name", ["age", "grade", "gr\\u0061de", "employer"])
def test_a_feature_that_is_named_twice_is_refused(rows, name):
    meant = json.loads(f'"{name}"')
    again = orjson.dumps(GOOD)[:-1] + f',"{name}":{json.dumps(GOOD[meant])}}}'.encode()
    body = b"[" + b",".join([again] * rows) + b"]"
    fault = refused(body)
    assert (fault.status, str(fault)) == (400, f"a record names {meant} twice; keep one value")


def test_quotes_in_texts_are_no_sign_of_a_name_that_stands_twice():
    read = READER.read(
        orjson.dumps([GOOD | {"employer": 'the "best"'}, GOOD | {"employer": 'a "'}]), 3
    )
    assert read.columns["employer"].tolist() == ['the "best"', 'a "']


def test_names_of_the_file_pass_for_those_of_the_schema():
    told = {
        "y": {"kind": "target"},
        "size": {"kind": "numeric", "aliases": ["Size (m²)", "size_m2"]},
    }
    schema = Schema.model_validate(
        {
            "name": "s",
            "title": "t",
            "task": "regression",
            "unit": "u",
            "registered_name": "S",
            "experiment": "e",
            "columns": told,
        }
    )
    reader = RecordReader(schema)
    body = orjson.dumps([{"Size (m²)": 3}, {"size": 4}])
    read = reader.read(body, 9)
    assert read.columns["size"].tolist() == [3.0, 4.0]
    assert orjson.loads(read.body) == [{"size": 3}, {"size": 4}]  # what the prediction log keeps
    assert orjson.loads(reader.read(b'{"Size (m\xc2\xb2)": 3}', 9).body) == {"size": 3}
    assert reader.read(b' {"size": 3}', 9).body == b' {"size": 3}'
    for other in ("size", "size_m2"):
        fault = refused(orjson.dumps({"Size (m²)": 3, other: 4}), reader=reader)
        assert fault.status == 422
        assert "Size (m²)" in [told["field"] for told in fault.faults]
        assert "Size (m²) is another name of size, which is there, too; keep one" in [
            told["message"] for told in fault.faults if other == "size" or told["field"] != "size"
        ]


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 100),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0.5, 13.0, -0.0, 1e308]),
    st.sampled_from(["A", "car", "never seen", "", "3", "é\n\"'"]),
)


@st.composite
def given_records(draw):
    """Records that fit but for a few values or names."""
    records = []
    for _ in range(draw(st.integers(1, 4))):
        record = dict(GOOD)
        for name in draw(st.lists(st.sampled_from([*GOOD, "agee"]), max_size=2)):
            record[name] = draw(SCALARS)
        for name in draw(
            st.lists(st.sampled_from([*GOOD]), max_size=1 if draw(st.booleans()) else 0)
        ):
            del record[name]
        records.append(record)
    return records


@settings(max_examples=200, deadline=None)
@given(records=given_records())
def test_the_api_takes_what_a_file_of_records_takes_and_names_the_same_faults(records):
    body = orjson.dumps(records)
    try:
        table = records_to_table(SCHEMA, records)
    except DataError:
        fault = refused(body)
        assert fault.details == {}
        for told in fault.faults:
            record = records[told["row"] - 1]
            with pytest.raises(DataError) as caught:
                check_record(SCHEMA, record)
            if (
                not isinstance(told["value"], str)
                and told["field"] in record
                and told["field"] != "agee"
            ):
                several = str(caught.value)
                assert told["message"] in several or "more faults" in several
        return
    read = READER.read(body, 10)
    expected = columns_of(SCHEMA, table)
    for name, values in expected.items():
        assert read.columns[name].dtype == values.dtype
        assert read.columns[name].tolist() == pytest.approx(values.tolist(), abs=0, nan_ok=True)


NAMES = st.sampled_from([*GOOD, "x"]) | st.text(max_size=3)
JSON = st.recursive(
    SCALARS, lambda any_: st.lists(any_, max_size=3) | st.dictionaries(NAMES, any_, max_size=4)
)


@settings(max_examples=150, deadline=None)
@given(body=JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=30))
def test_whatever_a_body_is_it_is_refused_with_a_status(body):
    fault = refused(body)  # a record has 15 features, which no such body names
    assert fault.status in (400, 422)
    assert str(fault)
    assert json.loads(orjson.dumps(fault.faults)) == fault.faults


@pytest.mark.parametrize(
    "kind", [("binary", "xgboost", "sigmoid"), ("regression", "ridge", "none")], ids="-".join
)
def test_a_body_is_scored_as_the_file_of_its_records(kind):
    schema, pipeline = served.schema_of(kind[0]), served.pipeline_of(*kind)
    rng = np.random.Generator(np.random.PCG64(4))
    records = [
        GOOD | {"amount": float(rng.integers(0, 1000)), "town": int(rng.integers(0, 30))}
        for _ in range(120)
    ]
    read = RecordReader(schema).read(orjson.dumps(records), 200)
    found = Scorer(pipeline, schema).score(read.columns, read.rows)
    expected = Model(pipeline, schema, 0.5, "m").score(records_to_table(schema, records))
    assert np.array_equal(found, expected)
    assert len(np.unique(found)) > 5
