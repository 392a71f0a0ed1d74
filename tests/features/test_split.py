"""The laws of every split, and what is refused."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep.config.layout import PARTS
from lockstep.config.params import Split
from lockstep.errors import ConfigError, DataError
from lockstep.features.split import group_codes, mixed, split_rows
from lockstep.problems.schema import Schema

COLUMNS = {
    "crash": {"kind": "group"},
    "date": {"kind": "date"},
    "part": {"kind": "part"},
    "hurt": {"kind": "target"},
    "age": {"kind": "numeric"},
}


def schema(*without: str) -> Schema:
    columns = {name: column for name, column in COLUMNS.items() if name not in without}
    return Schema.model_validate(
        {"name": "crashes", "title": "", "task": "binary", "unit": "person", "registered_name": "C",
         "experiment": "c", "columns": columns}
    )  # fmt: skip


def crashes(sizes: list[int], days: list[int], text: bool = False) -> pd.DataFrame:
    """One row a person: crashes of the given sizes at the given days."""
    number = np.repeat(np.arange(len(sizes)), sizes)
    table = pd.DataFrame({"crash": number * 7 + 3, "age": 1.0, "hurt": 0})
    table["date"] = pd.Timestamp("2021-01-01") + pd.to_timedelta(np.array(days)[number], unit="D")
    table["part"] = np.where(number % 4 == 3, "test", "train")
    return table.astype({"crash": "str"}) if text else table


@st.composite
def tables(draw: st.DrawFn) -> pd.DataFrame:
    count = draw(st.integers(40, 120))
    sizes = draw(st.lists(st.integers(1, 5), min_size=count, max_size=count))
    days = draw(st.lists(st.integers(0, 60), min_size=count, max_size=count))
    return crashes(sizes, days, text=draw(st.booleans()))


kinds = st.sampled_from(["given", "time", "group"])


class TestLaws:
    @settings(max_examples=60, deadline=None)
    @given(tables(), kinds, st.integers(0, 3))
    def test_every_row_has_one_part_and_groups_stay_together(self, table, kind, seed):
        parts = split_rows(table, schema(), Split(kind=kind, seed=seed))
        assert parts.index.equals(table.index)
        assert set(parts) == set(PARTS)
        assert (parts.groupby(table["crash"]).nunique() == 1).all()

    @settings(max_examples=60, deadline=None)
    @given(tables(), kinds, st.randoms(use_true_random=False))
    def test_the_order_of_rows_does_not_matter(self, table, kind, random):
        order = list(range(len(table)))
        random.shuffle(order)
        parts = split_rows(table, schema(), Split(kind=kind))
        again = split_rows(table.iloc[order], schema(), Split(kind=kind))
        pd.testing.assert_series_equal(again.sort_index(), parts)

    @settings(max_examples=60, deadline=None)
    @given(tables(), st.sampled_from(["time", "group"]), st.floats(0.1, 0.4), st.floats(0.1, 0.5))
    def test_shares_are_met_within_one_group(self, table, kind, test, validation):
        parts = split_rows(table, schema(), Split(kind=kind, test=test, validation=validation))
        shares = parts.value_counts() / len(table)
        expected = {
            "test": test,
            "stop": (1 - test) * validation / 2,
            "choose": (1 - test) * validation / 2,
        }
        for part, share in expected.items():
            assert abs(shares.get(part, 0) - share) <= 5 / len(table)

    @settings(max_examples=60, deadline=None)
    @given(tables())
    def test_time_runs_from_train_to_test(self, table):
        parts = split_rows(table, schema(), Split(kind="time"))
        ends = [table.loc[parts == part, "date"] for part in PARTS]
        for earlier, later in itertools.pairwise(ends):
            assert earlier.max() <= later.min()

    @settings(max_examples=30, deadline=None)
    @given(tables(), st.integers(0, 3))
    def test_a_given_test_part_is_kept_and_validation_comes_from_train(self, table, seed):
        parts = split_rows(table, schema(), Split(kind="given", seed=seed, validation=0.3))
        assert ((parts == "test") == (table["part"] == "test")).all()
        training = parts[table["part"] == "train"]
        assert abs((training != "train").mean() - 0.3) <= 10 / len(training)

    def test_the_seed_moves_rows(self):
        table = crashes([2] * 100, [0] * 100)
        first, other = (
            split_rows(table, schema(), Split(kind="group", seed=seed)) for seed in (0, 1)
        )
        assert (first != other).any()

    @given(
        st.lists(st.integers(0, 2**63 - 1), unique=True, min_size=1, max_size=50),
        st.integers(0, 99),
    )
    def test_mixing_keeps_distinct_numbers_distinct(self, values, seed):
        assert len(np.unique(mixed(np.array(values, dtype=np.uint64), seed))) == len(values)

    def test_group_codes_are_settled(self):
        """Codes are in the registry as the rows a version was fitted on, so they never change."""
        assert group_codes(crashes([1], [0]), schema()).tolist() == [2092789425003139053]
        assert group_codes(crashes([1], [0], text=True), schema()).tolist() == [
            16533624784773925609
        ]

    def test_without_a_group_column_each_row_is_its_own(self):
        codes = group_codes(crashes([2, 2], [0, 0]), schema("crash"))
        assert len(set(codes.tolist())) == 4


class TestRefusals:
    def test_time_without_a_date_column(self):
        with pytest.raises(
            ConfigError, match=r"no column of kind date; set problems.crashes.split.kind: group"
        ):
            split_rows(crashes([1], [0]), schema("date"), Split(kind="time"))

    def test_missing_dates(self):
        table = crashes([1, 1], [0, 0])
        table.loc[0, "date"] = pd.NaT
        with pytest.raises(DataError, match="1 rows have no 'date'"):
            split_rows(table, schema(), Split(kind="time"))

    def test_missing_group(self):
        table = crashes([1, 1], [0, 0], text=True)
        table.loc[0, "crash"] = None
        with pytest.raises(DataError, match="1 rows have no 'crash'"):
            split_rows(table, schema(), Split(kind="group"))

    def test_given_without_a_part_column(self):
        with pytest.raises(
            DataError, match=r"brings no split of its own; set problems.crashes.split.kind: time"
        ):
            split_rows(crashes([1], [0]), schema("part"), Split(kind="given"))

    def test_given_with_an_unknown_part(self):
        table = crashes([1, 1], [0, 0]).assign(part=["train", "tset"])
        with pytest.raises(
            DataError, match=r"unknown part in column 'part' 'tset' \(did you mean 'test'\?\)"
        ):
            split_rows(table, schema(), Split(kind="given"))

    def test_given_with_missing_parts(self):
        table = crashes([1, 1], [0, 0]).assign(part=["train", None])
        with pytest.raises(DataError, match="1 rows have no 'part'"):
            split_rows(table, schema(), Split(kind="given"))

    def test_given_with_a_group_in_both_parts(self):
        table = crashes([2, 1], [0, 0]).assign(part=["train", "test", "train"])
        with pytest.raises(DataError, match="1 groups have rows in both parts"):
            split_rows(table, schema(), Split(kind="given"))


def houses(counts: dict[str, int], seed: int = 0, members: int = 1) -> pd.DataFrame:
    """Rows of classes in random order, ``members`` of one class a group."""
    label = np.repeat(list(counts), list(counts.values()))
    label = np.repeat(np.random.default_rng(seed).permutation(label), members)
    return pd.DataFrame({"hurt": label, "crash": np.arange(len(label)) // members, "age": 1.0})


class TestClasses:
    @settings(max_examples=30, deadline=None)
    @given(
        st.lists(st.integers(8, 300), min_size=3, max_size=10), st.integers(0, 5), st.integers(1, 3)
    )
    def test_a_split_by_group_gives_every_part_its_share_of_every_class(self, sizes, seed, members):
        counts = {f"class {number}": count for number, count in enumerate(sizes)}
        table = houses(counts, seed, members)
        parts = split_rows(table, schema("date", "part"), Split(kind="group", seed=seed))
        for name, count in counts.items():
            found = parts[table["hurt"] == name].value_counts() / members
            for part, share in (("train", 0.64), ("stop", 0.08), ("choose", 0.08), ("test", 0.2)):
                assert found.get(part, 0) == pytest.approx(share * count, abs=1), (name, part)

    @given(st.integers(1, 4), st.integers(0, 20))
    @settings(max_examples=20, deadline=None)
    def test_a_class_of_few_rows_is_learned_before_all_else(self, rows, seed):
        table = houses({"often": 300, "now and then": 40, "once": rows}, seed)
        parts = split_rows(table, schema("date", "part"), Split(kind="group", seed=seed))
        assert (parts[table["hurt"] == "once"] == "train").any()

    @given(st.lists(st.integers(1, 4), min_size=13, max_size=20), st.integers(0, 20))
    @settings(max_examples=20, deadline=None)
    def test_classes_of_few_groups_leave_no_part_empty(self, sizes, seed):
        """Each class alone has none in stop or choose, of which each is 8 % of the rows."""
        table = houses({f"class {n:02}": count for n, count in enumerate(sizes)}, seed, members=7)
        parts = split_rows(table, schema("date", "part"), Split(kind="group", seed=seed))
        assert set(parts) == {"train", "stop", "choose", "test"}
        assert (parts.groupby(table["crash"]).nunique() == 1).all()
        mixed_up = table.sample(frac=1, random_state=seed)
        again = split_rows(mixed_up, schema("date", "part"), Split(kind="group", seed=seed))
        assert (again.loc[table.index] == parts).all()

    @given(st.lists(st.integers(4, 12), min_size=2, max_size=5), st.integers(0, 20), st.data())
    @settings(max_examples=20, deadline=None)
    def test_groups_of_one_class_give_each_part_two_classes(self, sizes, seed, data):
        """As schools of one state each: of four schools, a cut of 8 % of the rows has none."""
        members = [data.draw(st.integers(5, 60)) for _ in range(sum(sizes))]
        state = np.repeat(np.repeat(range(len(sizes)), sizes), members).astype(str)
        school = np.repeat(range(sum(sizes)), members)
        table = pd.DataFrame({"hurt": state, "crash": school, "age": 1.0})
        parts = split_rows(table, schema("date", "part"), Split(kind="group", seed=seed))
        for part in ("train", "stop", "choose", "test"):
            assert table["hurt"][parts == part].nunique() >= 2
        assert set(table["hurt"][parts == "train"]) == set(state)

    def test_one_per_cent_of_positives_is_in_every_part(self):
        table = houses({"no": 1980, "yes": 20})
        parts = split_rows(table, schema("date", "part"), Split(kind="group"))
        assert parts[table["hurt"] == "yes"].value_counts().to_dict() == {
            "train": 13, "stop": 1, "choose": 2, "test": 4
        }  # fmt: skip

    def test_the_order_of_rows_says_nothing(self):
        table = houses({"a": 50, "b": 50, "c": 7})
        parts = split_rows(table, schema("date", "part"), Split(kind="group"))
        mixed_up = table.sample(frac=1, random_state=0)
        again = split_rows(mixed_up, schema("date", "part"), Split(kind="group"))
        assert (again.loc[table.index] == parts).all()


class TestAlike:
    """``alike: together`` keeps rows of the same features, and their groups, in one part."""

    @settings(max_examples=40, deadline=None)
    @given(tables(), st.integers(0, 3), st.integers(2, 200))
    def test_no_pattern_and_no_group_stands_in_two_parts(self, table, seed, patterns):
        table["age"] = np.arange(len(table)) * 7919 % patterns / 2
        keep = Split(kind="group", seed=seed, alike="together")
        for known in (schema(), schema("crash")):
            parts = split_rows(table, known, keep)
            assert parts.groupby(table["age"]).nunique().max() == 1
            if known.group:
                assert parts.groupby(table["crash"]).nunique().max() == 1

    def test_the_default_lets_alike_rows_apart(self):
        table = crashes([1] * 200, [0] * 200)
        assert split_rows(table, schema(), Split(kind="group")).nunique() == 4
        together = split_rows(table, schema(), Split(kind="group", alike="together"))
        assert together.nunique() == 1

    def test_the_order_of_rows_says_nothing(self):
        table = crashes([1] * 300, [0] * 300)
        table["age"] = np.arange(300) % 90
        keep = Split(kind="group", alike="together")
        parts = split_rows(table, schema("crash"), keep)
        turned = split_rows(table[::-1], schema("crash"), keep)
        assert parts.sort_index().tolist() == turned.sort_index().tolist()


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_a_file_of_test_rows_alone_leaves_the_other_parts_empty(task):
    """Whoever takes a part then says that it has no rows."""
    table = crashes([2, 3, 1], [1, 2, 3]).assign(part="test", hurt=[0, 1, 0, 1, 0, 1])
    given = schema().model_copy(update={"task": task})
    parts = split_rows(table, given, Split(kind="given"))
    assert set(parts) == {"test"}


def test_two_classes_of_few_groups_are_in_each_part_of_a_given_split():
    """Cut as they come, some part of these training rows would hold one class."""
    for seed in range(40):
        sizes = [3] * 24
        table = crashes(sizes, list(range(24)))
        number = np.repeat(np.arange(24), 3)
        table = table.assign(hurt=(number < 5).astype(int), part="train")
        table.loc[number == 23, "part"] = "test"
        parts = split_rows(table, schema(), Split(kind="given", seed=seed))
        for part in ("train", "stop", "choose"):
            assert table["hurt"][parts == part].nunique() == 2, (seed, part)
