"""One declaration a column."""

import pytest
import yaml

from lockstep.errors import ConfigError, UsageError
from lockstep.problems.schema import load_schema, problem_names, read_schema

MINIMAL = {
    "name": "toy",
    "title": "Toy",
    "task": "binary",
    "unit": "row",
    "registered_name": "Toy",
    "experiment": "toy",
    "columns": {"x": {"kind": "numeric"}, "y": {"kind": "target"}},
}


def schema_file(tmp_path, **changes):
    path = tmp_path / "schema.yaml"
    path.write_text(yaml.safe_dump({**MINIMAL, **changes}))
    return path


def test_accidents_has_the_28_features_in_order():
    assert load_schema("accidents").feature_names == [
        "place",
        "catu",
        "sexe",
        "secu1",
        "year_acc",
        "victim_age",
        "catv",
        "obsm",
        "motor",
        "catr",
        "circ",
        "surf",
        "situ",
        "vma",
        "jour",
        "mois",
        "lum",
        "dep",
        "com",
        "agg_",
        "int",
        "atm",
        "col",
        "lat",
        "long",
        "hour",
        "nb_victim",
        "nb_vehicules",
    ]


@pytest.mark.parametrize("problem", problem_names())
def test_every_shipped_schema_is_valid_and_described(problem):
    schema = load_schema(problem)
    assert schema.name == problem
    assert [c.name for c in schema.columns.values() if c.is_feature and not c.description] == []
    sliceable = [c for c in schema.features if c.kind == "numeric" or 2 <= len(c.codes) <= 12]
    assert len(schema.slices) >= min(3, len(sliceable))
    assert set(schema.slices) <= set(schema.feature_names)


def test_an_unknown_problem_comes_with_the_nearest():
    with pytest.raises(
        UsageError, match=r"unknown problem 'acidents' \(did you mean 'accidents'\?\)"
    ):
        load_schema("acidents")


def test_exactly_one_target(tmp_path):
    with pytest.raises(ConfigError, match="exactly one column must have kind target, found 0"):
        read_schema(schema_file(tmp_path, columns={"x": {"kind": "numeric"}}))


def test_a_schema_of_another_code_page_says_how_to_mend_it(tmp_path):
    path = schema_file(tmp_path)
    path.write_bytes("# für\n".encode("latin-1") + path.read_bytes())
    with pytest.raises(ConfigError, match=r"schema\.yaml is not UTF-8 \(byte 0xfc.*save it as"):
        read_schema(path)


def test_a_derived_column_of_an_unknown_one_comes_with_the_nearest(tmp_path):
    derived = [{"name": "d", "kind": "frequency", "of": ["xx"]}]
    with pytest.raises(ConfigError, match=r"unknown column 'xx' \(did you mean 'x'\?\)"):
        read_schema(schema_file(tmp_path, derived=derived))


def test_a_derived_column_may_build_on_another(tmp_path):
    derived = [
        {"name": "d", "kind": "clip", "of": ["x"]},
        {"name": "e", "kind": "bin", "of": ["d"]},
    ]
    assert len(read_schema(schema_file(tmp_path, derived=derived)).derived) == 2


def test_an_unknown_kind_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"columns\.x\.kind = 'number'"):
        read_schema(
            schema_file(tmp_path, columns={"x": {"kind": "number"}, "y": {"kind": "target"}})
        )


def test_the_digest_changes_with_the_declaration(tmp_path):
    first = read_schema(schema_file(tmp_path)).digest
    assert first == read_schema(schema_file(tmp_path)).digest
    assert first != read_schema(schema_file(tmp_path, title="Other")).digest


@pytest.mark.parametrize(
    ("derived", "fault"),
    [
        ({"name": "wd", "kind": "weekday", "of": ["day"]}, "uses the date 'day', which a predicti"),
        ({"name": "x", "kind": "clip", "of": ["x"]}, "a column called 'x' is there twice"),
        ({"name": "y", "kind": "clip", "of": ["x"]}, "a column called 'y' is there twice"),
    ],
)
def test_derived_columns_that_no_prediction_could_have_are_refused(tmp_path, derived, fault):
    columns = {**MINIMAL["columns"], "day": {"kind": "date"}}
    with pytest.raises(ConfigError, match=fault):
        read_schema(schema_file(tmp_path, columns=columns, derived=[derived]))


def test_two_derived_columns_have_two_names(tmp_path):
    same = {"name": "z", "kind": "clip", "of": ["x"]}
    with pytest.raises(ConfigError, match="'z' is there twice"):
        read_schema(schema_file(tmp_path, derived=[same, same]))
