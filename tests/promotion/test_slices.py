from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.config.gates import Gates, SliceGate
from lockstep.errors import RegistryError
from lockstep.evaluation.metrics import Scored
from lockstep.evaluation.slices import levels
from lockstep.problems.schema import Column
from lockstep.promotion.slices import Sides, how_much_worse, judged_slices, value_of

LIGHT = Column(name="lum", kind="categorical", codes={1: "daylight", 5: "night"}, missing=True)
AGE = Column(name="age", kind="numeric", missing=True)


def rows_of(seed=0, count=4000):
    """Scores that tell a binary target well, and the light and age of each row."""
    rng = np.random.default_rng(seed)
    margin = rng.normal(size=count)
    target = (rng.random(count) < 1 / (1 + np.exp(-2 * margin))).astype(int)
    light = np.where(rng.random(count) < 0.2, 5.0, 1.0)
    table = pd.DataFrame({"lum": light, "age": rng.uniform(0, 90, count)})
    groups = np.arange(count) // 2
    return SimpleNamespace(margin=margin, target=target, groups=groups, table=table, rng=rng)


def scored(rows, noise=0.0, where=None):
    spoilt = np.ones(len(rows.target), dtype=bool) if where is None else where
    margin = 2 * rows.margin + noise * spoilt * np.random.default_rng(9).normal(
        size=len(rows.target)
    )
    return Scored(rows.target, 1 / (1 + np.exp(-margin)), 0.5)


def judged(rows, one, other, columns=(LIGHT, AGE), metric="roc_auc", **slices):
    gates = Gates(slices=SliceGate(**slices))
    return judged_slices(Sides(one, other, rows), list(columns), metric, gates)


def test_a_slice_that_fares_worse_refuses_and_the_others_do_not():
    rows = rows_of()
    night = (rows.table["lum"] == 5).to_numpy()
    found = judged(rows, scored(rows, noise=2, where=night), scored(rows))
    by_label = {(one.column, one.label): one for one in found}
    assert by_label["lum", "5 (night)"].refuses
    assert by_label["lum", "5 (night)"].worse > 0.02
    assert not by_label["lum", "1 (daylight)"].refuses
    assert by_label["lum", "1 (daylight)"].worse == 0
    assert sum(one.rows for one in found if one.column == "lum") == len(rows.target)


def test_a_better_slice_never_refuses():
    rows = rows_of()
    assert not any(one.refuses for one in judged(rows, scored(rows), scored(rows, noise=2)))


def test_small_slices_are_not_judged():
    rows = rows_of(count=600)
    assert [one.label for one in judged(rows, scored(rows), scored(rows), [LIGHT])] == [
        "1 (daylight)"
    ]
    assert len(judged(rows, scored(rows), scored(rows), [LIGHT], min_rows=50)) == 2


def test_noise_does_not_refuse_unless_the_estimate_is_to_decide():
    rows = rows_of(seed=3, count=600)
    night = (rows.table["lum"] == 5).to_numpy()
    slightly = scored(rows, noise=0.8, where=night)
    noisy = judged(rows, slightly, scored(rows), [LIGHT], min_rows=50, worse_by=0.005)
    assert [one.worse > 0.005 for one in noisy] == [False, True]
    assert not any(one.refuses for one in noisy)
    strict = judged(
        rows, slightly, scored(rows), [LIGHT], min_rows=50, worse_by=0.005, beyond_noise=False
    )
    assert [one.refuses for one in strict] == [False, True]


def test_rows_of_one_class_are_judged_by_their_brier_score():
    rows = rows_of()
    rows.target[(rows.table["lum"] == 5).to_numpy()] = 0
    good = Scored(rows.target, np.where(rows.table["lum"] == 5, 0.1, 0.5), 0.5)
    bad = Scored(rows.target, np.where(rows.table["lum"] == 5, 0.4, 0.5), 0.5)
    night = {one.label: one for one in judged(rows, bad, good, [LIGHT])}["5 (night)"]
    assert (night.metric, night.refuses) == ("brier", True)
    assert night.challenger == pytest.approx(0.16)
    assert not any(one.refuses for one in judged(rows, good, bad, [LIGHT]))


def test_several_classes_of_which_a_slice_has_one():
    rng = np.random.default_rng(0)
    target = np.repeat([0, 1, 2], 300)
    score = rng.dirichlet([1, 1, 1], 900)
    rows = SimpleNamespace(
        table=pd.DataFrame({"lum": np.where(target == 0, 5.0, 1.0)}),
        target=target,
        groups=np.arange(900),
    )
    one = Scored(target, score, decision=score.argmax(axis=1))
    other = Scored(target, (score + np.eye(3)[target]) / 2, decision=target)
    found = {s.label: s for s in judged(rows, one, other, [LIGHT], metric="macro_roc_auc")}
    assert (found["5 (night)"].metric, found["1 (daylight)"].metric) == ("brier", "macro_roc_auc")
    assert all(s.refuses for s in found.values())


def test_errors_in_the_targets_unit_count_as_a_share():
    rng = np.random.default_rng(1)
    target = rng.normal(300_000, 50_000, 2000)
    rows = SimpleNamespace(
        table=pd.DataFrame({"age": rng.uniform(0, 9, 2000)}), target=target, groups=np.arange(2000)
    )
    error = rng.normal(0, 10_000, 2000)
    one, other = Scored(target, target + error * 1.1), Scored(target, target + error)
    found = judged(rows, one, other, [AGE], metric="rmse")
    assert [round(s.worse, 6) for s in found] == [0.1] * 4
    assert all(s.refuses for s in found)
    assert not any(s.refuses for s in judged(rows, one, other, [AGE], metric="rmse", worse_by=0.2))
    assert how_much_worse("rmse", 1.0, 0.0) > 1
    assert how_much_worse("roc_auc", 0.7, 0.8) == pytest.approx(0.1)


def test_a_column_that_the_rows_lack_is_said():
    rows = rows_of()
    lacking = Column(name="sexe", kind="categorical")
    with pytest.raises(RegistryError, match="the rows have no column sexe"):
        judged(rows, scored(rows), scored(rows), [lacking])


def test_missing_values_and_texts_are_levels_too():
    text = Column(name="road", kind="categorical", codes={"A": "motorway", "B": "B"})
    values = pd.Series(["B", None, "A", "new", "A"])
    found = {label: mask.tolist() for label, mask in levels(values, text)}
    assert list(found) == ["missing", "A (motorway)", "B", "new"]
    assert found["A (motorway)"] == [False, False, True, False, True]
    assert found["missing"] == [False, True, False, False, False]


numbers = st.lists(
    st.one_of(st.floats(-1e9, 1e9), st.just(float("nan")), st.integers(0, 3)), min_size=1
)


@given(values=numbers)
def test_every_row_is_in_exactly_one_part(values):
    masks = [mask for _, mask in levels(pd.Series(values, dtype=np.float64), AGE)]
    assert np.sum(masks, axis=0).tolist() == [1] * len(values)
    assert len(masks) <= 5
    assert all(mask.any() for mask in masks)


def test_quartiles_hold_a_quarter_each():
    found = list(levels(pd.Series(np.arange(100.0)), AGE))
    assert [int(mask.sum()) for _, mask in found] == [25, 25, 25, 25]
    assert found[0][0] == "0 to 24.75"


def test_no_two_levels_have_the_same_label():
    """Gates and reports know a level by its label."""
    texts = pd.Series(["missing", None, "missing", "a"], dtype=object)
    column = Column(name="word", kind="categorical", missing=True)
    assert [label for label, _ in levels(texts, column)] == ["missing (no value)", "a", "missing"]
    days = pd.Series(np.linspace(20230101, 20231231, 200).round())
    labels = [label for label, _ in levels(days, AGE)]
    assert len(set(labels)) == len(labels) == 4


def test_a_part_keeps_threshold_and_decisions():
    rows = Scored(np.array([0, 1, 1]), np.array([0.1, 0.6, 0.7]), 0.65)
    part = rows.take(np.array([True, False, True]))
    assert (part.target.tolist(), part.threshold) == ([0, 1], 0.65)
    assert value_of(part, "accuracy") == 1


def test_numbers_that_are_all_equal_are_judged_by_their_errors():
    rows = rows_of(count=1000)
    night = (rows.table["lum"] == 5).to_numpy()
    rows.target = np.where(night, 0.0, rows.margin)
    off = np.where(night, 1.0, 0.1) * np.random.default_rng(1).normal(size=1000)
    worse, fine = (Scored(rows.target, rows.target + share * off) for share in (1.0, 0.3))
    by_label = {
        one.label: one for one in judged(rows, worse, fine, [LIGHT], metric="r2", min_rows=50)
    }
    assert (by_label["5 (night)"].metric, by_label["5 (night)"].refuses) == ("rmse", True)
    assert by_label["1 (daylight)"].metric == "r2"
