"""Leaks are found alone or by a formula, in small tables too, and no outlier makes or hides one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep.data.tables import read_any
from lockstep.drafting.draft import draft
from lockstep.drafting.formulas import find_formula
from lockstep.errors import DataError


def generator(seed=0):
    return np.random.Generator(np.random.PCG64(seed))


def drafted(tmp_path, columns):
    path = tmp_path / "t.csv"
    rows = zip(*columns.values(), strict=True)
    lines = [",".join(columns), *(",".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return draft(read_any(path), "toy", "y", "")


def counts(rows=300, seed=0):
    noise = generator(seed)
    return {
        "a": noise.poisson(40, rows).astype(float), "b": noise.poisson(90, rows).astype(float),
        "c": noise.normal(20, 5, rows).round(2), "d": noise.uniform(1, 9, rows).round(1),
    }  # fmt: skip


FORMULAS = {
    "sum": (lambda t: t["a"] + t["b"], {"a", "b"}, "a + b"),
    "difference": (lambda t: t["b"] - t["a"], {"a", "b"}, "- a + b"),
    "constant": (lambda t: 2 * t["a"] - 0.5 * t["b"] + 32, {"a", "b"}, "2 · a - 0.5 · b +32"),
    "of three": (lambda t: t["a"] + t["b"] + t["c"], {"a", "b", "c"}, "a + b + c"),
    "mean": (lambda t: (t["a"] + t["b"]) / 2, {"a", "b"}, "0.5 · a + 0.5 · b"),
    "rounded": (lambda t: (t["a"] / 3 + t["c"] / 7).round(1), {"a", "c"}, None),
    "product": (lambda t: t["a"] * t["b"], {"a", "b"}, "a · b"),
    "taxed": (lambda t: (1.2 * t["a"] * t["d"]).round(2), {"a", "d"}, "1.2 · a · d"),
    "ratio": (lambda t: (t["b"] / t["d"]).round(3), {"b", "d"}, "b / d"),
    "index": (lambda t: (10 * t["b"] / t["c"] ** 2).round(3), {"b", "c"}, "10 · b / c^2"),
}


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("spoilt", [0, 2])
def test_a_target_that_columns_give_is_named_with_its_formula(tmp_path, name, spoilt):
    make, used, text = FORMULAS[name]
    table = counts()
    wanted = make(table)
    wanted[:spoilt] += 1e6  # mistakes in a few rows hide nothing
    found = drafted(tmp_path, {**table, "y": [f"{v:.6g}" for v in wanted]})
    assert used == {c for c in found.left_out if "suspected leak: y =" in found.left_out[c]}
    if text:
        part = (300 - spoilt) / 300
        assert all(f"y = {text} in {part:.1%} of the rows" in found.left_out[c] for c in used)
    assert sum("Suspected leak" in line for line in found.decide) == len(used)


def test_a_part_that_is_a_leak_alone_hides_no_formula(tmp_path):
    before, change = generator(1).normal(20, 8, 250).round(2), generator(2).normal(1, 0.4, 250)
    change = change.round(2)
    found = drafted(
        tmp_path,
        {
            "x": generator(3).normal(size=250),
            "before": before,
            "change": change,
            "y": (before + change).round(2),
        },
    )
    assert set(found.left_out) == {"before", "change"}
    assert all("y = before + change in 100.0%" in why for why in found.left_out.values())


def test_a_copy_of_the_target_hides_no_formula(tmp_path):
    table = counts()
    wanted = table["a"] + table["b"]
    found = drafted(tmp_path, {**table, "copy": wanted * 2, "y": wanted})
    assert set(found.left_out) == {"a", "b", "copy"}


def test_a_target_with_other_causes_has_no_formula(tmp_path):
    table = counts()
    wanted = table["a"] + table["b"] + generator(9).normal(0, 2, 300)
    assert drafted(tmp_path, {**table, "y": wanted.round(1)}).left_out == {}


def test_whole_numbers_of_a_small_range_have_no_formula(tmp_path):
    table = counts()
    wanted = (table["a"] / 20 + generator(9).normal(0, 0.4, 300)).round() + np.arange(300) % 12
    assert drafted(tmp_path, {**table, "y": wanted}).left_out == {}


def test_with_as_many_columns_as_rows_nothing_is_a_formula():
    noise = generator(3)
    columns = {f"c{i}": noise.normal(size=100) for i in range(90)}
    assert find_formula(columns, noise.normal(size=100), dict.fromkeys(columns, 0.0), 0.0) is None


def test_where_only_leaks_remain_the_message_names_them(tmp_path):
    table = {name: values for name, values in counts().items() if name in "ab"}
    says = r"no column to predict 'y' from: 'a' is left out \(suspected leak: y = a \+ b in 100"
    with pytest.raises(DataError, match=says):
        drafted(tmp_path, {**table, "y": table["a"] + table["b"]})


@settings(max_examples=25, deadline=None)
@given(
    weights=st.lists(st.integers(-9, 9).filter(bool), min_size=2, max_size=4),
    constant=st.integers(-50, 50),
    seed=st.integers(0, 99),
)
def test_any_sum_of_multiples_is_found(weights, constant, seed):
    noise = generator(seed)
    columns = {f"c{i}": noise.normal(50, 10, 200).round(1) for i in range(6)}
    wanted = sum(w * columns[f"c{i}"] for i, w in enumerate(weights)) + constant
    found = find_formula(columns, wanted, dict.fromkeys(columns, 0.1), 0.1)
    assert found is not None
    assert found.columns == tuple(f"c{i}" for i in range(len(weights)))
    assert found.share == 1.0


def labels(rows, seed=0, share=0.5):
    return generator(seed).uniform(size=rows) < share


@pytest.mark.parametrize("rows", [100, 150, 1000])
@pytest.mark.parametrize("share", [0.25, 0.5])
def test_small_tables_show_a_leak_of_a_class(tmp_path, rows, share):
    ill = labels(rows, share=share)
    value = np.where(ill, 5, 1) + generator(1).uniform(0, 3, rows).round(3)  # a threshold tells it
    found = drafted(
        tmp_path,
        {"x": generator(2).normal(size=rows).round(3), "dose": value, "y": np.where(ill, "s", "w")},
    )
    assert list(found.left_out) == ["dose"]
    assert "95% interval: at least" in found.left_out["dose"]


@pytest.mark.parametrize("kind", ["word", "missing", "inside", "name"])
def test_a_class_is_told_by_a_word_a_gap_or_a_range(tmp_path, kind):
    ill = labels(200)
    one = generator(1).uniform(size=200)
    inside = np.where(ill, one, np.where(one < 0.5, one - 1, one + 1)).round(4)
    columns = {
        "word": np.where(ill, "discharged", "home"),
        "missing": [f"note {i}" if v else "" for i, v in enumerate(ill)],
        "inside": inside,
        "name": np.where(ill, 7, 3),
    }
    found = drafted(
        tmp_path,
        {
            "x": generator(2).normal(size=200).round(3),
            "tells": columns[kind],
            "y": np.where(ill, "s", "w"),
        },
    )
    assert list(found.left_out) == ["tells"]
    assert "leak" in found.left_out["tells"]


@pytest.mark.parametrize("rows", [100, 300])
def test_one_outlier_hides_no_leak_and_makes_none(tmp_path, rows):
    amount = generator(0).normal(100, 20, rows).round(2)
    paid, other = (amount * 1.1).round(2), generator(1).normal(100, 20, rows).round(2)
    spoilt = amount.copy()
    paid[3], other[5], spoilt[5] = 1e9, 1e9, 1e9
    hidden = drafted(tmp_path, {"paid": paid, "x": generator(2).normal(size=rows), "y": amount})
    assert list(hidden.left_out) == ["paid"]
    made = drafted(tmp_path, {"other": other, "x": generator(2).normal(size=rows), "y": spoilt})
    assert made.left_out == {}


def test_one_wrong_row_of_a_class_hides_no_leak(tmp_path):
    ill = labels(100)
    value = np.where(ill, 5, 1) + generator(1).uniform(0, 3, 100).round(3)
    value[7] = 1e9 if not ill[7] else -1e9
    columns = {"x": generator(2).normal(size=100).round(3), "dose": value}
    assert list(drafted(tmp_path, {**columns, "y": np.where(ill, "s", "w")}).left_out) == ["dose"]


@pytest.mark.parametrize("seed", range(4))
def test_chance_makes_no_leak(tmp_path, seed):
    noise = generator(seed)
    columns = {f"c{i}": noise.normal(size=100).round(3) for i in range(40)}
    columns |= {f"w{i}": noise.choice(["a", "b", "c", "d"], 100) for i in range(10)}
    for wanted in (np.where(labels(100, seed), "s", "w"), noise.normal(size=100).round(3)):
        found = drafted(tmp_path, {**columns, "y": wanted})
        assert found.left_out == {}
        assert not any("leak" in line or "AUC" in line for line in found.decide)


def test_a_curve_with_a_rising_function_is_a_leak(tmp_path):
    amount = np.exp(generator(0).normal(3, 1, 200)).round(4)
    columns = {"x": generator(2).normal(size=200), "log": np.log(amount).round(6)}
    assert list(drafted(tmp_path, {**columns, "y": amount}).left_out) == ["log"]


def test_a_strong_number_is_asked_with_its_area(tmp_path):
    ill = labels(2000, share=0.04)
    value = np.where(ill, 5.2, 1) + generator(1).normal(size=2000).round(3)
    found = drafted(
        tmp_path, {"x": generator(2).normal(size=2000), "calls": value, "y": ill.astype(int)}
    )
    assert found.left_out == {}
    assert any("calls" in line and "AUC of 0.99" in line for line in found.decide)


def asked(found, name):
    return [line for line in found.decide if line.startswith(f"{name}: Suspected leak")]


def test_a_text_that_nearly_tells_the_target_is_asked(tmp_path):
    ill = labels(600, share=0.3)
    told = np.where(generator(4).random(600) < 0.02, ~ill, ill)
    columns = {"x": generator(2).normal(size=600).round(3), "note": np.where(told, "b", "a")}
    found = drafted(tmp_path, columns | {"y": np.where(ill, "s", "w")})
    (line,) = asked(found, "note")
    assert "It stays a feature. If it arises after the target, the metrics are too good" in line


@pytest.mark.parametrize("level", ["ICU", "", "7"])
def test_a_level_that_only_one_label_has_is_asked_with_its_rows(tmp_path, level):
    ill = labels(300)
    only = ill & (generator(4).random(300) < 0.6)
    rest = generator(5).integers(1, 5, 300).astype(str)
    columns = {"x": generator(2).normal(size=300).round(3), "note": np.where(only, level, rest)}
    found = drafted(tmp_path, columns | {"y": np.where(ill, "s", "w")})
    (line,) = asked(found, "note")
    shown = f"with '{level}'" if level else "without a value"
    part = f"{only.sum() / ill.sum():.1%}"
    assert f"all {only.sum()} rows {shown} have the same label, and are {part} of" in line


def test_a_level_of_one_label_among_many_classes_is_no_suspicion(tmp_path):
    kind = generator(1).integers(0, 6, 400)
    columns = {"x": generator(2).normal(size=400).round(3), "milk": np.where(kind == 2, "y", "n")}
    found = drafted(tmp_path, columns | {"y": [f"k{v}" for v in kind]})
    assert asked(found, "milk") == []


@pytest.mark.parametrize(("factor", "digits"), [(100, 1), (0.05, 5), (1.2, 3), (2.54, 3)])
def test_a_factor_is_shown_with_the_fewest_digits_that_fit(tmp_path, factor, digits):
    table = counts(600)
    wanted = (factor * table["a"] / table["b"]).round(digits + 1)
    found = drafted(tmp_path, {**table, "y": wanted})
    assert f"y = {factor:g} · a / b in" in found.left_out.get("a", "")


THRESHOLDS = {
    "sum": (lambda t: t["a"] + t["b"] > 130, {"a", "b"}),
    "difference": (lambda t: t["b"] - 2 * t["a"] > 10, {"a", "b"}),
    "ratio": (lambda t: t["a"] / t["b"] > 0.45, {"a", "b"}),
    "of three": (lambda t: t["a"] + t["b"] + 3 * t["c"] > 190, {"a", "b", "c"}),
}


@pytest.mark.parametrize("name", THRESHOLDS)
def test_a_label_made_by_a_threshold_of_a_sum_is_asked(tmp_path, name):
    make, used = THRESHOLDS[name]
    table = counts(1500)
    found = drafted(tmp_path, {**table, "y": np.where(make(table), "yes", "no")})
    lines = [line for line in found.decide if "a weighted sum of" in line]
    assert {line.partition(":")[0] for line in lines} == used
    assert all("It stays a feature" in line for line in lines)


@pytest.mark.parametrize("seed", range(3))
def test_a_label_with_other_causes_is_no_threshold(tmp_path, seed):
    table = counts(1500, seed)
    margin = table["a"] + table["b"] + generator(seed + 9).normal(0, 3, 1500)
    found = drafted(tmp_path, {**table, "y": np.where(margin > 130, "yes", "no")})
    assert not any("weighted sum" in line for line in found.decide)


def test_the_largest_number_of_a_float64_hides_no_threshold(tmp_path):
    table = counts(1500)
    huge = table["c"].astype(str).astype(object)
    huge[:2] = "1.7976931348623157E308"
    labels = np.where(table["a"] + table["b"] > 130, "yes", "no")
    found = drafted(tmp_path, {**table, "c": huge, "y": labels})
    lines = [line for line in found.decide if "a weighted sum of" in line]
    assert {line.partition(":")[0] for line in lines} == {"a", "b"}


def paid(rows=400, at_par=0.6, seed=5):
    noise = generator(seed)
    amount = noise.integers(200, 2000, rows) * 50
    rate = np.where(noise.random(rows) < at_par, 1.0, noise.choice([0.013, 0.74, 1.09], rows))
    return noise, amount, (amount * rate).round().astype(int)


def test_a_column_that_is_the_target_in_many_rows_is_left_out(tmp_path):
    noise, amount, converted = paid()
    table = {"amount": amount, "x": noise.normal(size=400).round(3), "y": converted}
    found = drafted(tmp_path, table)
    share = f"{(amount == converted).mean():.1%}"
    assert "amount" not in {c.source for c in found.columns}
    (said,) = asked(found, "amount")
    assert f"it equals the target in {share} of the rows, by chance in 0.2%. The column" in said


def test_few_equal_rows_and_equal_rows_by_chance_are_no_suspicion(tmp_path):
    noise, amount, converted = paid(at_par=0.2)
    few = {"amount": amount, "x": noise.normal(size=400).round(3), "y": converted}
    small = {"a": noise.integers(0, 3, 400), "x": noise.normal(size=400).round(3)}
    small["y"] = np.where(noise.random(400) < 0.5, small["a"], noise.integers(0, 40, 400))
    for table, name in ((few, "amount"), (small, "a")):
        assert name in {c.source for c in drafted(tmp_path, table).columns}
