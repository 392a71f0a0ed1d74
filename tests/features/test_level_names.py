"""Codes of encoded columns are called as the schema or the encoder calls their levels."""

import pandas as pd
import pytest

from lockstep.config.params import Features
from lockstep.features.encoder import encoder_of
from lockstep.features.level_names import level_names
from lockstep.problems.schema import Schema

SCHEMA = Schema.model_validate(
    {
        "name": "pears",
        "title": "Pears",
        "task": "binary",
        "unit": "pear",
        "registered_name": "Pears",
        "experiment": "pears",
        "columns": {
            "ripe": {"kind": "target", "codes": {0: "no", 1: "yes"}},
            "day": {"kind": "date"},
            "light": {"kind": "categorical", "codes": {1: "day", 2: "", 7: "night"}},
            "tree": {"kind": "categorical"},
            "place": {"kind": "categorical", "codes": {"a": "other", "b": "other", "c": "unknown"}},
            "size": {"kind": "ordered", "codes": {"s": "small", "l": "large"}},
            "rank": {"kind": "ordered", "integer": True},
            "weight": {"kind": "numeric"},
        },
        "derived": [
            {"name": "weekday", "kind": "weekday", "of": ["day"]},
            {"name": "both", "kind": "cross", "of": ["light", "tree"]},
        ],
    }
)
ROWS = pd.DataFrame(
    {
        "day": pd.to_datetime(["2026-01-05", "2026-01-11", None]),
        "light": [1.0, 7.0, None],
        "tree": ["oak", "ash", "oak"],
        "place": ["a", "b", None],
        "size": ["l", "s", None],
        "rank": [1.0, 2.0, 3.0],
        "weight": [1.0, 2.0, 3.0],
    }
)


@pytest.fixture(scope="module")
def encoded() -> tuple[pd.DataFrame, dict[str, dict[float, str]]]:
    encoder = encoder_of(SCHEMA, Features())
    found = encoder.fit_transform(ROWS, [0, 1, 0])
    return found, level_names(encoder, SCHEMA)


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ("light", ["day", "night", ""]),
        ("tree", ["oak", "ash", "oak"]),
        ("place", ["a: other", "b: other", ""]),
        ("weekday", ["Monday", "Sunday", ""]),
        ("both", ["1 × oak", "7 × ash", "missing × oak"]),
    ],
)
def test_every_code_of_a_row_has_its_level_s_name(column, expected, encoded) -> None:
    rows, names = encoded
    assert [names[column][code] for code in rows[column]] == expected


def test_a_declared_order_is_named_and_what_is_missing_has_no_code(encoded) -> None:
    rows, names = encoded
    assert names["size"] == {0.0: "small", 1.0: "large"}
    assert rows["size"].tolist()[:2] == [1.0, 0.0]


def test_a_level_without_a_meaning_is_called_by_its_code(encoded) -> None:
    assert encoded[1]["light"] == {0.0: "", 1.0: "unknown", 2.0: "day", 3.0: "2", 4.0: "night"}


def test_no_two_levels_have_one_name(encoded) -> None:
    assert encoded[1]["place"][4.0] == "c: unknown"
    for texts in encoded[1].values():
        assert len(set(texts.values())) == len(texts)


def test_numbers_have_no_names(encoded) -> None:
    assert set(encoded[1]) == {"light", "tree", "place", "size", "weekday", "both"}
