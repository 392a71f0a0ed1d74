import re

import pytest

from lockstep.config.settings import LimitsSection
from lockstep.data.records import check_record, other_columns
from lockstep.problems.schema import Schema, load_schema, problem_names
from lockstep.serving.openapi import example, openapi


@pytest.mark.parametrize("problem", problem_names())
def test_the_example_is_accepted_and_every_reference_leads_somewhere(problem):
    schema = load_schema(problem)
    check_record(schema, example(schema))
    told = openapi(schema, LimitsSection())
    parts = told["components"]["schemas"]
    named = set(re.findall(r"#/components/schemas/(\w+)", str(told)))
    assert named <= set(parts)
    record = parts["Record"]
    assert list(record["properties"]) == schema.feature_names
    assert record["additionalProperties"] is False


def test_types_ranges_and_codes_come_from_the_schema():
    schema = load_schema("accidents")
    fields = openapi(schema, LimitsSection())["components"]["schemas"]["Record"]["properties"]
    for column in schema.features:
        told = fields[column.name]
        assert told.get("nullable", False) == column.missing
        assert told["type"] == ("string" if not column.holds_numbers else told["type"])
        if column.codes:
            assert [code for code in told["enum"] if code is not None] == list(column.codes)
            assert all(meaning in told["description"] for meaning in column.codes.values())
        else:
            assert (told.get("minimum"), told.get("maximum")) == (column.low, column.high)


def test_what_a_record_may_hold_beside_the_features_is_described():
    schema = load_schema("california_housing")
    parts = openapi(schema, LimitsSection())["components"]["schemas"]
    told = parts["Record"]["description"]
    assert "A text is read as a cell of the file" in told
    names, ignored = told.split("Columns of the file that are no features are ignored: ")
    for alias, name in schema.feature_aliases.items():
        assert f"{alias} for {name}" in names
    assert sorted(ignored.rstrip(".").split(", ")) == sorted(other_columns(schema))
    for answer in ("Answer", "AnswerList", "Explained", "ExplainedList"):
        assert parts[answer]["properties"]["ignored"]["type"] == "array"
        assert "ignored" not in parts[answer]["required"]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ({"low": 12344}, 12344),
        ({"low": 12344.4, "high": 12344.6}, 12344.5),
        ({"low": 2.5, "integer": True}, 3),
        ({"high": 3.5, "integer": True}, 3),
        ({"low": 0, "high": 2}, 1),
    ],
)
def test_the_middle_of_a_range_is_rounded_only_where_it_stays_in_the_range(column, expected):
    columns = {"y": {"kind": "target"}, "x": {"kind": "numeric", **column}}
    content = {"name": "p", "title": "p", "task": "regression", "unit": "p", "columns": columns}
    schema = Schema.model_validate({**content, "registered_name": "P", "experiment": "p"})
    assert example(schema) == {"x": expected}
    check_record(schema, example(schema))
