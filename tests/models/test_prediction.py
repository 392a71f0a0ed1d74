import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep.data.record_text import given as given_text
from lockstep.data.records import given_records
from lockstep.errors import DataError
from lockstep.models.scoring.prediction import Model, predict
from lockstep.problems.schema import Schema, load_schema

SCHEMA = load_schema("accidents")
RECORD = json.loads((Path(__file__).parents[2] / "src/models/test_features.json").read_text())


class BySpeed:
    """A scorer whose score is the speed limit by a thousand; a missing one scores a half."""

    def score(self, columns, rows):
        assert list(columns) == SCHEMA.feature_names
        return np.nan_to_num(columns["vma"] / 1000, nan=0.5)


def model(threshold=0.08):
    made = Model(None, SCHEMA, threshold, "Speed", 3, "Staging", "abc", "d" * 64, "xgboost")
    vars(made)["scorer"] = BySpeed()
    return made


def test_the_documented_record_has_exactly_the_features():
    assert list(RECORD) == SCHEMA.feature_names
    assert len(RECORD) == 28


def test_each_row_says_what_and_by_what():
    assert predict(model(), [RECORD, {**RECORD, "vma": 50}]) == [
        {
            "row": row,
            "probability": probability,
            "decision": decision,
            "meaning": meaning,
            "threshold": 0.08,
            "model": "Speed",
            "version": 3,
            "stage": "Staging",
            "run_id": "abc",
            "model_digest": "d" * 64,
        }
        for row, probability, decision, meaning in [
            (1, 0.08, 1, "killed or hospitalised"),
            (2, 0.05, 0, "unhurt or slightly hurt"),
        ]
    ]


def test_another_threshold_decides_otherwise():
    assert predict(model(), [RECORD], threshold=0.0801)[0]["decision"] == 0
    with pytest.raises(DataError, match="records no threshold; give one with --threshold"):
        predict(model(None), [RECORD])


def test_a_regression_takes_no_threshold():
    columns = {name: column.model_dump() for name, column in SCHEMA.columns.items()}
    columns[SCHEMA.target]["codes"] = {}
    told = SCHEMA.model_dump() | {"task": "regression", "columns": columns}
    made = Model(None, Schema.model_validate(told), None, "Speed", 3)
    vars(made)["scorer"] = BySpeed()
    assert predict(made, [RECORD])[0]["prediction"] == 0.08
    with pytest.raises(DataError, match="Speed predicts a number, not a class; leave --threshold"):
        predict(made, [RECORD], threshold=0.5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vma": 5000}, "vma = 5000 is not among"),
        ({"lum": 77}, "lum = 77 is no known code"),
        ({"catu": None}, "catu must not be missing"),
        ({"vma": "80 km/h"}, "must be a number"),
        ({"Vma": 80}, r"no feature is called Vma \(did you mean 'vma'\?\)"),
    ],
)
def test_a_record_that_does_not_fit_is_told_what_to_change(change, message):
    with pytest.raises(DataError, match=message):
        predict(model(), [{**RECORD, **change}])


def test_a_missing_feature_is_named():
    with pytest.raises(DataError, match="missing vma, lat"):
        predict(model(), [{k: v for k, v in RECORD.items() if k not in ("vma", "lat")}])


def read(text, where="x"):
    return given_records(given_text(text.encode(), where), SCHEMA)


def csv_of(records, delimiter=","):
    names = list(records[0])
    cells = [["" if r[n] is None else str(r[n]) for n in names] for r in records]
    return "\n".join(delimiter.join(line) for line in [names, *cells]) + "\n"


records = st.lists(
    st.fixed_dictionaries(
        {
            "vma": st.none() | st.integers(0, 999),
            "lat": st.none() | st.floats(-90, 90, allow_subnormal=False),
            "hour": st.integers(0, 23),
        }
    ).map(lambda change: {**RECORD, **change}),
    min_size=1,
    max_size=4,
)


@given(given=records)
@settings(max_examples=40, deadline=None)
def test_all_forms_of_input_say_the_same(given):
    forms = [
        json.dumps(given),
        "\n".join(json.dumps(r) for r in given) + "\n",
        "\ufeff" + csv_of(given),
        csv_of(given, ";"),
    ]
    if len(given) == 1:
        forms.append(json.dumps(given[0], indent=2))
    answers = [predict(model(), read(form)) for form in forms]
    assert all(rows == answers[0] for rows in answers)


def test_csv_needs_no_order_and_quotes_are_read():
    shuffled = dict(sorted(RECORD.items()))
    text = csv_of([shuffled]).replace("80", '"80"')
    assert predict(model(), read(text))[0]["probability"] == 0.08


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "x is empty; give a record"),
        (" \n\t", "x is empty"),
        ("[]", "x holds no record"),
        ("[1, 2]", "x: record 1 is a int, not an object"),
        ('{"a": 1', r"x is no valid JSON: .* at line 1"),
        ('{"a": 1}\n{"a": }\n', "x, line 2 is no valid JSON"),
        ('{"a": 1}\n[1]\n', "x: record 2 is a list"),
        ('{"a": NaN}', "NaN is no JSON value; write null"),
        ('{"a": 1, "a": 2}', "names a twice"),
        ('{"a": "\\ud83d"}', r"x holds half a letter \(\\ud83d\); write the whole one"),
        ("hello", "x is neither JSON nor a table with a header line and rows"),
        ("a,b", "x is neither JSON nor a table with a header line and rows"),
        ("a,b\n1,2\n1\n", "x: line 3 has 1 value, the header 2"),
        ("vma,vma\n1,2\n", "x has the column 'vma' twice; rename or remove one"),
    ],
)
def test_what_is_no_record_is_one_line(text, message):
    with pytest.raises(DataError, match=message) as caught:
        read(text)
    assert "\n" not in str(caught.value)


def test_a_letter_of_two_halves_is_read():
    assert read('{"a": "\\ud83d\\ude00"}') == [{"a": "\U0001f600"}]


def test_text_in_a_number_of_a_csv_is_named():
    text = csv_of([{**RECORD, "vma": "fast"}])
    with pytest.raises(DataError, match="vma = 'fast' must be a number"):
        predict(model(), read(text))
