"""The table of effects: which values, what they are called, and the means of their scores."""

from math import isnan

import numpy as np
import pandas as pd
import pytest

from lockstep.evaluation import effects
from lockstep.evaluation.effects import (
    categories,
    effects_table,
    frequent_classes,
    numbers,
    strongest,
)

LIGHT = {0.0: "", 1.0: "unknown", 2.0: "day", 3.0: "dusk", 4.0: "night"}


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    age = np.where(rng.random(1000) < 0.1, np.nan, rng.integers(18, 90, 1000))
    light = rng.choice([0.0, 2.0, 3.0, 4.0], 1000, p=[0.1, 0.2, 0.1, 0.6])
    return pd.DataFrame({"age": age, "light": light, "speed": rng.normal(80, 20, 1000)})


def score(rows: pd.DataFrame) -> np.ndarray:
    """Scores with an interaction, so that a mean is not the score of a mean row."""
    age = rows["age"].fillna(50).to_numpy()
    fast = np.where(rows["light"] == 4, rows["speed"], 0)
    return np.round(1 / (1 + np.exp(-(age - 50) / 20 - fast / 100)), 8)


def test_every_effect_is_the_mean_of_the_sample_with_that_value(rows: pd.DataFrame) -> None:
    table = effects_table(rows, ["light", "age", "speed"], {"light": LIGHT}, score)
    sample = rows.iloc[np.unique(np.round(np.linspace(0, 999, 400)).astype(int))]
    codes = {text: code for code, text in LIGHT.items()}
    for one in table.itertuples():
        number = codes[one.value] if one.kind == "category" else float(one.value or "nan")
        alike = sample.assign(**{one.feature: number})
        assert one.effect == pytest.approx(score(alike).mean(), abs=1e-12)
    assert list(table) == ["feature", "kind", "value", "rows", "effect"]
    assert list(dict.fromkeys(table["feature"])) == ["light", "age", "speed"]


def test_the_order_of_the_sampled_rows_changes_no_bit(rows: pd.DataFrame) -> None:
    few = rows.head(effects.ROWS)
    turned = few.sample(frac=1, random_state=1)
    first, second = (
        effects_table(part, ["age", "light"], {"light": LIGHT}, score) for part in (few, turned)
    )
    assert first.equals(second)


def test_the_rows_of_an_input_s_values_are_the_whole_sample(rows: pd.DataFrame) -> None:
    table = effects_table(rows, ["age", "light", "speed"], {"light": LIGHT}, score)
    assert (table.groupby("feature")["rows"].sum() == 400).all()


def test_categories_are_named_and_a_missing_one_is_last(rows: pd.DataFrame) -> None:
    table = effects_table(rows, ["light"], {"light": LIGHT}, score)
    assert set(table["kind"]) == {"category"}
    assert table["value"].tolist() == ["day", "dusk", "night", ""]
    assert table["rows"].iloc[2] > table["rows"].iloc[0] > table["rows"].iloc[1]


def test_the_most_frequent_categories_stand_in_the_order_of_their_codes() -> None:
    texts = {float(code): f"level {code}" for code in range(1, 16)} | {0.0: ""}
    column = np.repeat(np.arange(1.0, 16.0), [1, 9, 9, 2, 9, 9, 9, 9, 9, 9, 9, 9, 9, 2, 2])
    found = categories(column, texts)
    assert [one.encoded for one in found] == [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]
    assert found[2].rows == 2
    (only,) = categories(np.zeros(3), texts)
    assert (only.encoded, only.text, only.rows) == (0.0, "", 3)


def test_an_ordered_column_s_missing_value_is_nan() -> None:
    found = categories(np.array([1.0, np.nan, 0.0, 1.0]), {0.0: "young", 1.0: "old"})
    assert [(one.text, one.rows) for one in found] == [("young", 1), ("old", 2), ("", 1)]
    assert isnan(found[-1].encoded)


def test_a_number_s_values_occur_in_the_sample_and_rise() -> None:
    column = np.append(np.arange(400.0) ** 2, np.nan)
    found = numbers(column)
    values = [float(one.text) for one in found[:-1]]
    assert len(values) == effects.VALUES
    assert values == sorted(set(values))
    assert set(values) <= set(column.tolist())
    assert all("." not in one.text for one in found)
    assert [one.rows for one in found] == [17, 34, 33, 33, 34, 33, 33, 34, 33, 33, 34, 49, 1]
    assert (found[-1].text, isnan(found[-1].encoded)) == ("", True)


def test_few_distinct_numbers_are_all_shown() -> None:
    column = np.repeat([3.0, 1.0, 1_234_567.0, 0.25], [5, 300, 2, 1])
    found = [(one.text, one.rows) for one in numbers(column)]
    assert found == [("0.25", 1), ("1", 300), ("3", 5), ("1234567", 2)]


def test_a_number_is_scored_as_it_is_written() -> None:
    (one,) = numbers(np.array([1 / 3, 0.33333331]))
    assert (one.encoded, one.text, one.rows) == (0.333333, "0.333333", 2)


def test_a_constant_input_has_one_value() -> None:
    table = effects_table(
        pd.DataFrame({"a": np.ones(5)}), ["a"], {}, lambda rows: rows["a"].to_numpy()
    )
    assert table.to_dict("records") == [
        {"feature": "a", "kind": "number", "value": "1", "rows": 5, "effect": 1.0}
    ]


def test_several_classes_have_an_effect_each(rows: pd.DataFrame) -> None:
    def by_class(rows: pd.DataFrame) -> np.ndarray:
        return np.column_stack([score(rows), 1 - score(rows), np.zeros(len(rows))])

    table = effects_table(rows, ["light"], {"light": LIGHT}, by_class, {1: "b", 0: "a"})
    assert list(table) == ["feature", "kind", "value", "class", "rows", "effect"]
    assert table["class"].tolist() == ["b"] * 4 + ["a"] * 4
    plain = effects_table(rows, ["light"], {"light": LIGHT}, score)["effect"].to_numpy()
    assert table["effect"].to_numpy() == pytest.approx(np.append(1 - plain, plain))


def test_the_most_frequent_classes_come_first() -> None:
    target = np.repeat(np.arange(12), [5, 9, 1, 2, 3, 4, 5, 6, 7, 8, 0, 5])
    found = frequent_classes(target, [*"abcdefghijkl"])
    assert "".join(found.values()) == "bjihaglfed"
    assert list(found)[:2] == [1, 9]


@pytest.mark.parametrize(
    ("importance", "expected"),
    [
        ({"c": 1.0, "a": 3.0, "b": 3.0, "not in the matrix": 9.0}, ["a", "b", "c"]),
        (dict(zip("abcdefgh", range(8), strict=True)), [*"hgfedc"]),
    ],
)
def test_the_strongest_inputs_are_those_of_the_importance(
    importance: dict[str, float], expected: list[str]
) -> None:
    assert strongest(importance, pd.DataFrame(columns=[*"abcdefgh"])) == expected


def test_few_rows_are_scored() -> None:
    scored: list[int] = []

    def counted(rows: pd.DataFrame) -> np.ndarray:
        scored.append(len(rows))
        return rows["a"].to_numpy()

    rows = pd.DataFrame({"a": np.arange(100_000.0), "b": 0.0})
    effects_table(rows, ["a", "b"], {}, counted)
    assert scored == [effects.VALUES * effects.ROWS, effects.ROWS]
