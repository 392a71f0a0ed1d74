"""What names a row or a thing is found by what it does, and told with its numbers."""

import csv

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep.data.tables import read_any
from lockstep.drafting.draft import draft
from lockstep.errors import DataError

ROWS = 600


def random(seed=0):
    return np.random.Generator(np.random.PCG64(seed))


def drafted(folder, columns, target="y"):
    path = folder / "t.csv"
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return draft(read_any(path), "toy", target)


def kinds(found):
    return {c.source: c.keys["kind"] for c in found.columns}


def panel(seed=0, things=60, each=10):
    """Rows of things in mixed order: a trait and a level of their own, and noise."""
    generator = random(seed)
    thing = generator.permutation(np.repeat(np.arange(things), each))
    level = generator.normal(0, 3, things)[thing]
    return {
        "thing": generator.permutation(things)[thing] * 13 + 100,
        "trait": generator.integers(20, 80, things)[thing],
        "x": generator.normal(size=len(thing)).round(3),
        "y": (level + generator.normal(0, 0.5, len(thing))).round(3),
    }


class TestRowNumbers:
    @pytest.mark.parametrize(
        "name", ["Unnamed: 0", "__index_level_0__", "", "index", "rownames", "№", "N°"]
    )
    @pytest.mark.parametrize("start", [0, 1, 5000])
    def test_a_name_of_row_numbers_is_left_out_however_it_counts(self, tmp_path, name, start):
        x = random().normal(size=ROWS).round(3)
        base = {"x": x, "y": (x + random(1).normal(size=ROWS)).round(3)}
        ways = {
            "throughout": np.arange(ROWS) + start,
            "over and over": np.arange(ROWS) % 40 + start,
            "with gaps": np.sort(random(2).permutation(2 * ROWS)[:ROWS]) + start,
            "mixed": random(3).permutation(ROWS) + start,
        }
        for way, values in ways.items():
            if way == "over and over" and start == 5000:
                continue
            found = drafted(tmp_path, {name: values, **base})
            assert list(kinds(found)) == ["x"], way

    def test_the_rows_order_is_no_feature_under_any_name(self, tmp_path):
        found = drafted(tmp_path, {"amount": np.arange(ROWS), **panel()})
        assert found.left_out["amount"] == "numbers the rows 0 to 599 in the file's order"

    def test_a_unique_number_named_as_an_id_is_the_id(self, tmp_path):
        assert kinds(drafted(tmp_path, {"customer_id": np.arange(ROWS), **panel()}))[
            "customer_id"
        ] == "id"  # fmt: skip

    def test_a_count_that_may_be_days_is_asked(self, tmp_path):
        found = drafted(tmp_path, {"days": np.arange(ROWS) % 20, **panel()})
        assert kinds(found)["days"] == "numeric"
        assert any(
            "The column counts from 0 in the file's order, 30 times, up to 19." in w
            for w in found.decide
        )

    @pytest.mark.parametrize(
        "values", [np.arange(ROWS) * 2, 1700 + np.arange(ROWS), np.arange(ROWS) // 2]
    )
    def test_what_does_not_count_rows_stays(self, tmp_path, values):
        assert "amount" in kinds(drafted(tmp_path, {"amount": values, **panel()}))


class TestUnits:
    @pytest.mark.parametrize("name", ["subject#", "PatientNo", "auctionid", "Chick", "code", "ref"])
    def test_a_thing_of_many_rows_is_the_group(self, tmp_path, name):
        columns = {name if n == "thing" else n: values for n, values in panel().items()}
        found = drafted(tmp_path, columns)
        assert kinds(found)[name] == "group"
        (told,) = [
            w for w in found.decide if w.startswith(f"{name}: The column seems to name what")
        ]
        assert "It has 60 values with 10 rows each on average." in told
        assert "agree in 'trait' (100.0% of the pairs)" in told

    def test_a_thing_that_tells_the_target_is_a_group_and_no_leak(self, tmp_path):
        columns = panel()
        price = random(5).uniform(1, 900, 60).round(2)
        code = np.unique(columns["thing"], return_inverse=True)[1]
        opened = random(6).uniform(1, 50, 60).round(2)
        columns |= {"y": price[code], "opened": opened[code]}
        found = drafted(tmp_path, columns)
        assert kinds(found) == {
            "thing": "group",
            "trait": "numeric",
            "x": "numeric",
            "opened": "numeric",
        }
        assert found.left_out == {}

    def test_texts_name_things_too(self, tmp_path):
        columns = panel()
        columns["thing"] = [f"firm {v}" for v in columns["thing"]]
        assert kinds(drafted(tmp_path, columns))["thing"] == "group"

    def test_classes_are_nearly_constant_within_a_thing(self, tmp_path):
        columns = panel()
        columns["y"] = np.where(columns["y"] > 0, "ill", "well")
        assert kinds(drafted(tmp_path, columns))["thing"] == "group"

    def test_repeated_measures_by_design_show_the_unit(self, tmp_path):
        order = random(7).permutation(20 * 30)
        columns = {"subject": order // 30, "step": order % 30 * 3}
        columns |= {
            "x": random(8).normal(size=ROWS).round(3),
            "y": random(9).normal(size=ROWS).round(3),
        }
        found = drafted(tmp_path, columns)
        assert kinds(found)["subject"] == "group"
        assert any("about equally many rows of every 'step'" in w for w in found.decide)

    def test_a_few_large_groups_are_asked_and_stay_a_feature(self, tmp_path):
        columns = panel(things=6, each=100)
        columns = {"subject" if n == "thing" else n: values for n, values in columns.items()}
        found = drafted(tmp_path, columns)
        assert "group" not in kinds(found).values()
        assert any(
            w.startswith("subject: The column may name what a row belongs to. It has 6 values")
            for w in found.decide
        )

    @settings(max_examples=15, deadline=None)
    @given(seed=st.integers(0, 999), levels=st.integers(5, 100))
    def test_columns_without_bearing_are_no_groups(self, seed, levels, tmp_path_factory):
        generator = random(seed)
        columns = {
            "customer_id": generator.integers(0, levels, ROWS),
            "part": [f"kind {v}" for v in generator.integers(0, levels, ROWS)],
            "x": generator.normal(size=ROWS).round(3),
            "y": generator.normal(size=ROWS).round(3),
        }
        found = drafted(tmp_path_factory.mktemp("t"), columns)
        assert "group" not in kinds(found).values()

    def test_a_number_that_explains_the_target_smoothly_stays_a_feature(self, tmp_path):
        age = random(1).integers(18, 90, ROWS)
        columns = {
            "age": age,
            "band": age // 10,
            "y": (age * 2.0 + random(2).normal(size=ROWS)).round(2),
        }
        assert "group" not in kinds(drafted(tmp_path, columns)).values()

    @pytest.mark.parametrize("name", ["customer_id", "patient", "MachineNo", "SubjectID"])
    def test_a_name_of_things_without_evidence_is_asked(self, tmp_path, name):
        columns = {
            name: random(1).integers(1000, 1060, ROWS),
            "x": random(2).normal(size=ROWS).round(3),
            "y": random(3).normal(size=ROWS).round(3),
        }
        found = drafted(tmp_path, columns)
        assert "group" not in kinds(found).values()
        assert any(f"{name}: The column is named as an id is, and has 60 values" in w
                   for w in found.decide)  # fmt: skip

    @pytest.mark.parametrize("name", ["num_accounts", "number of cases", "state", "amount"])
    def test_counts_and_places_are_no_ids(self, tmp_path, name):
        columns = {name: random(1).integers(0, 60, ROWS), "y": random(3).normal(size=ROWS)}
        assert not any("named as an id" in w for w in drafted(tmp_path, columns).decide)

    def test_a_thing_that_some_rows_lack_is_asked(self, tmp_path):
        columns = panel()
        columns["thing"] = ["" if i % 40 == 3 else v for i, v in enumerate(columns["thing"])]
        found = drafted(tmp_path, columns)
        (told,) = [w for w in found.decide if w.startswith("thing: The column may name")]
        assert "needs a value in every row; 15 rows have none" in told

    def test_rows_that_both_lack_a_value_do_not_agree(self, tmp_path):
        columns = {"shop" if n == "thing" else n: values for n, values in panel().items()}
        del columns["trait"]
        columns["note"] = ["ab"[i // 10] if i < 20 and i % 5 == 0 else "" for i in range(ROWS)]
        columns["y"] = random(6).normal(size=ROWS).round(3)
        assert kinds(drafted(tmp_path, columns))["shop"] != "group"

    def test_a_text_of_many_values_that_tells_the_target_is_a_group(self, tmp_path):
        columns = panel(things=100, each=6)
        thing = np.unique(columns.pop("thing"), return_inverse=True)[1]
        del columns["trait"]
        columns["sha"] = [f"{v * 7919:08x}" for v in thing]
        columns["y"] = np.where(random(9).random(100) < 0.4, "a", "b")[thing]
        found = drafted(tmp_path, columns)
        assert kinds(found)["sha"] == "group"
        assert found.left_out == {}


def test_a_column_is_not_called_a_feature_and_left_out(tmp_path):
    columns = panel()
    columns |= {"ID": np.r_[np.arange(350), np.arange(250)], "shop": np.arange(ROWS) % 8}
    columns["y"] = np.where(np.isin(columns["shop"], [1, 2]), "ill", "well")
    found = drafted(tmp_path, columns)
    assert {"ID", "shop"} <= found.left_out.keys()
    for name in found.left_out:
        assert not any("stays a feature" in w for w in found.decide if w.startswith(f"{name}:"))


class TestTimeAndGroups:
    def test_things_that_span_time_stay_together_and_the_overlap_is_told(self, tmp_path):
        day = np.datetime64("2020-01-01") + random(3).integers(0, 700, ROWS)
        found = drafted(tmp_path, {"day": day, **panel()})
        assert found.split == "group"
        assert "of the training rows would be later than the first test row" in found.why_split
        assert "newest rows" not in found.why_split

    def test_things_of_a_day_are_parted_by_time(self, tmp_path):
        columns = panel()
        day = np.datetime64("2020-01-01") + (columns["thing"] - 100) // 13 * 5
        found = drafted(tmp_path, {"day": day, **columns})
        assert found.split == "time"
        assert "the newest 'thing' by 'day' are the test; 0.0% of the training" in found.why_split


def test_things_in_both_given_parts_are_told_and_left_out(tmp_path):
    part = np.where(random(4).random(ROWS) < 0.2, "test", "train")
    found = drafted(tmp_path, {"part": part, **panel()})
    assert found.split == "given"
    assert "group" not in kinds(found).values()
    assert "thing" in found.left_out
    assert any(
        "values of 'thing' have rows in both parts of 'part'" in what for what in found.decide
    )


class TestCopies:
    def test_people_apart_by_a_name_are_no_copies(self, tmp_path):
        age = random(1).integers(20, 26, ROWS)
        columns = {
            "name": [f"N {i}" for i in range(ROWS)],
            "age": age,
            "fare": age % 3,
            "y": age % 2,
        }
        found = drafted(tmp_path, columns | {"y": random(2).integers(0, 2, ROWS)})
        assert found.found.copies == 0
        assert found.duplicates == "keep"
        assert not any("in every column" in w for w in found.decide)

    def test_a_copied_row_is_dropped_where_chance_is_out(self, tmp_path):
        columns = {n: random(i).normal(size=ROWS).round(4) for i, n in enumerate("abcy")}
        copied = {n: [*values, *values[:15]] for n, values in columns.items()}
        found = drafted(tmp_path, copied)
        assert (found.duplicates, found.alike) == ("drop", False)
        said = "15 rows equal an earlier row in every column. Such copies are dropped."
        assert said in found.decide[-1]

    def test_a_column_in_another_unit_does_not_rule_chance_out(self, tmp_path):
        pay = random(1).integers(20, 140, ROWS) * 500
        table = {"town": ["Rome", "Oslo", "Bern"] * 200, "pay": pay, "in_cents": pay * 100}
        found = drafted(tmp_path, table | {"y": random(2).integers(0, 2, ROWS)})
        assert found.duplicates == "keep"
        said = "of 4 columns, 1 column holds numbers of many values that no other column gives"
        assert any(said in line for line in found.decide)

    def test_one_copied_row_is_told_as_one(self, tmp_path):
        columns = {n: random(i).normal(size=ROWS).round(4) for i, n in enumerate("abcy")}
        found = drafted(tmp_path, {n: [*values, values[0]] for n, values in columns.items()})
        said = "1 row equals an earlier row in every column. Such copies are dropped."
        assert said in found.decide[-1]
        few = {"town": ["Rome", "Oslo"] * 60, "size": [*range(118), 0, 1]}
        kept = drafted(tmp_path, few | {"y": [*[0, 1] * 59, 0, 0]}).decide
        said = "1 row equals an earlier row in every column. Such rows are kept, as"
        assert any(said in line for line in kept)

    def test_alike_rows_stay_together_and_their_share_is_told(self, tmp_path):
        kind = random(1).integers(0, 200, ROWS)
        columns = {
            "id": [f"A{i}" for i in range(ROWS)],
            "a": kind * 17 % 200 / 4,
            "b": kind * 3 % 50,
        }
        found = drafted(tmp_path, columns | {"y": np.where(kind % 7 < 2, "bad", "good")})
        alike = int((np.bincount(kind)[kind] > 1).sum())
        assert found.alike
        told = f"{alike} of 600 rows ({alike / 600:.1%}) equal another row in every feature"
        assert any(
            told in w and "; 0 (0.0%) equal a row with another label" in w for w in found.decide
        )

    def test_too_few_kinds_of_rows_are_told_and_not_joined(self, tmp_path):
        found = drafted(
            tmp_path, {"a": [i % 7 * 3 for i in range(ROWS)], "y": random().normal(size=ROWS)}
        )
        assert not found.alike
        assert any(
            "600 of 600 rows (100.0%)" in w and "the rows form 7 sets" in w for w in found.decide
        )


def test_a_series_without_other_columns_says_what_is_missing(tmp_path):
    day = np.datetime64("2020-01-01") + np.arange(ROWS)
    with pytest.raises(DataError, match=r"'day' is the date; add columns .* of earlier dates"):
        drafted(tmp_path, {"day": day, "y": random().normal(size=ROWS).round(2)})


def test_a_target_known_for_one_value_only_has_no_neighbours(tmp_path):
    columns = panel()
    week = random(5).integers(1, 6, ROWS)
    known = np.where(random(6).random(ROWS) < 0.5, "yes", "no")
    columns |= {"week": week, "y": np.where(week == 5, known, "")}
    assert kinds(drafted(tmp_path, columns))["week"]


def test_things_of_one_class_each_part_the_rows_only_where_each_class_has_enough(tmp_path):
    """Of 39 schools in one state and 2 in the other, a part would hold one state only."""
    for others, expected in ((2, None), (12, "group")):
        columns = panel(things=41, each=15)
        school = (columns["thing"] - 100) // 13
        columns = {"school": columns["thing"], "trait": columns["trait"], "x": columns["x"]}
        found = drafted(tmp_path, columns | {"y": np.where(school < others, "north", "south")})
        assert kinds(found).get("school") == expected


def test_whether_things_part_the_rows_does_not_depend_on_the_order_of_rows(tmp_path):
    columns = panel(things=41, each=15)
    school = (columns["thing"] - 100) // 13
    for others in range(3, 9):
        columns |= {"y": np.where(school < others, "north", "south")}
        mixed = np.random.default_rng(others).permutation(len(school))
        found = [
            kinds(drafted(tmp_path, {name: np.asarray(v)[rows] for name, v in columns.items()}))
            for rows in (np.arange(len(school)), mixed)
        ]
        assert found[0].get("thing") == found[1].get("thing"), others


def test_another_spelling_of_a_class_divides_no_groups(tmp_path):
    """Two schools hold every "yes", so some part would have none; "No" is no third class."""
    columns = panel(things=40, each=13)
    school = columns.pop("thing")
    first, second = np.unique(school)[:2]
    target = np.where(np.isin(school, [first, second]), "yes", "no").astype(object)
    for one in np.unique(school):
        rows = np.flatnonzero(school == one)
        target[rows[0]] = "No"
    found = drafted(tmp_path, {"school": school, **columns, "y": target})
    assert kinds(found).get("school") != "group"
