import json

import numpy as np
import pandas as pd
import pytest

from lockstep.errors import ArtifactError
from lockstep.models.golden_rows import (
    COUNT,
    check_golden,
    golden_content,
    golden_from,
    golden_outputs,
    golden_rows,
)
from lockstep.problems.schema import Schema, load_schema, problem_names

TEXT = Schema.model_validate(
    {
        "name": "text",
        "title": "t",
        "task": "binary",
        "unit": "row",
        "registered_name": "Text",
        "experiment": "text",
        "columns": {
            "y": {"kind": "target"},
            "colour": {"kind": "categorical", "codes": {"red": "r", "blue": "b"}, "missing": True},
            "open": {"kind": "categorical"},
            "size": {"kind": "numeric"},
        },
    }
)


class Threshold:
    """Answers with the share of the first column that is 1, shifted."""

    def __init__(self, shift=0.0, classes=2):
        self.shift, self.classes = shift, classes

    def predict_proba(self, rows):
        positive = rows.iloc[:, 0].eq(1.0).to_numpy() * 0.5 + self.shift
        rest = [(1 - positive) / (self.classes - 1)] * (self.classes - 1)
        return np.column_stack([rest[0], positive, *rest[1:]])


@pytest.mark.parametrize("problem", problem_names())
def test_every_code_missing_unknown_and_both_ends_appear(problem):
    schema = load_schema(problem)
    rows = golden_rows(schema)
    assert list(rows.columns) == schema.feature_names
    assert len(rows) >= COUNT
    for column in schema.features:
        values = rows[column.name]
        assert values.isna().any() == column.missing, column.name
        assert {float(code) for code in column.codes if isinstance(code, int)} <= set(
            values.dropna()
        )
        if column.kind == "numeric":
            known = [v for v in (column.low, column.high) if v is not None]
            assert set(known) <= set(values)
            assert values.min() >= (known[0] if column.low is not None else -np.inf)
        elif column.codes:
            assert set(values.dropna()) - {
                float(c) if isinstance(c, int) else c for c in column.codes
            }


def test_text_categories_and_open_ones():
    rows = golden_rows(TEXT, count=20)
    assert {"red", "blue", "__never_seen__"} == set(rows["colour"].dropna())
    assert rows["colour"].isna().any()
    assert rows["open"].notna().all()


@pytest.mark.parametrize(
    ("ends", "low", "high"),
    [({"low": 1900}, 1900, 2100), ({"high": -150}, -350, -150), ({}, -100, 100)],
)
def test_an_open_end_lies_beyond_the_known_one(ends, low, high):
    columns = {**TEXT.model_dump()["columns"], "size": {"kind": "numeric", **ends}}
    sizes = golden_rows(Schema.model_validate({**TEXT.model_dump(), "columns": columns}))["size"]
    assert low <= sizes.min() < low + 10
    assert high - 10 < sizes.max() <= high


def test_a_column_with_more_codes_than_rows_gets_them_all():
    codes = {number: str(number) for number in range(300)}
    content = TEXT.model_dump()
    content["columns"]["many"] = {"kind": "categorical", "codes": codes}
    rows = golden_rows(Schema.model_validate(content), count=10)
    assert set(map(float, codes)) <= set(rows["many"])


def test_rows_depend_on_schema_and_seed_alone():
    schema = load_schema("accidents")
    pd.testing.assert_frame_equal(golden_rows(schema), golden_rows(schema))
    assert not golden_rows(schema, seed=1).equals(golden_rows(schema))


@pytest.mark.parametrize("schema", [load_schema("accidents"), TEXT], ids=["codes", "text"])
def test_the_file_holds_rows_exactly(schema):
    rows = golden_rows(schema)
    content = json.loads(json.dumps(golden_content(rows, [0.5] * len(rows)), allow_nan=False))
    again, outputs = golden_from(content, schema)
    pd.testing.assert_frame_equal(again, rows)
    assert outputs == [0.5] * len(rows)


@pytest.mark.parametrize(
    "damage", [{}, {"columns": ["a"], "rows": [[1]], "outputs": []}, {"rows": 3}]
)
def test_a_damaged_file_is_named(damage):
    with pytest.raises(ArtifactError, match="golden rows are damaged"):
        golden_from(damage, load_schema("accidents"))


def test_outputs_are_repeated_within_the_tolerance():
    rows = golden_rows(load_schema("accidents"))
    outputs = golden_outputs(Threshold(), rows)
    check_golden(Threshold(9e-7), rows, outputs)
    with pytest.raises(ArtifactError, match="256 of 256 differ, by up to 2e-06"):
        check_golden(Threshold(2e-6), rows, outputs)
    with pytest.raises(ArtifactError, match="does not repeat"):
        check_golden(Threshold(float("nan")), rows, outputs)


def test_another_number_of_classes_is_another_model():
    rows = golden_rows(load_schema("accidents"))
    outputs = golden_outputs(Threshold(classes=3), rows)
    assert np.shape(outputs) == (256, 3)
    with pytest.raises(ArtifactError, match="golden outputs in place of"):
        check_golden(Threshold(), rows, outputs)
