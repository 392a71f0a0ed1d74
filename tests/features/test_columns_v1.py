"""The transformer: every kind of the vocabulary, its laws, and its state."""

from __future__ import annotations

import ast
import io
import math
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import skops.io
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from lockstep.features import columns_v1
from lockstep.features.columns_v1 import ColumnEncoder, rounded

NAN = float("nan")
COLUMNS = [
    {"name": "sex", "kind": "categorical", "codes": [2, 1], "text": False},
    {"name": "town", "kind": "categorical", "codes": [], "text": True},
    {"name": "dep", "kind": "categorical", "codes": [], "text": False},
    {"name": "size", "kind": "ordered", "codes": ["small", "large"], "text": True},
    {"name": "age", "kind": "numeric"},
    {"name": "year", "kind": "numeric"},
    {"name": "month", "kind": "numeric"},
    {"name": "day", "kind": "numeric"},
    {"name": "hour", "kind": "numeric"},
    {"name": "lat", "kind": "numeric"},
    {"name": "long", "kind": "numeric"},
]
DERIVED = [
    {"name": "sex_dep", "kind": "cross", "of": ["sex", "dep"]},
    {"name": "per_hour", "kind": "ratio", "of": ["age", "hour"]},
    {"name": "gap", "kind": "difference", "of": ["age", "hour"]},
    {"name": "age_90", "kind": "clip", "of": ["age"], "options": {"high": 90}},
    {"name": "age_part", "kind": "bin", "of": ["age"], "options": {"quantiles": 3}},
    {"name": "weekday", "kind": "weekday", "of": ["year", "month", "day"]},
    {"name": "daytime", "kind": "part_of_day", "of": ["hour"]},
    {"name": "clock", "kind": "cyclic", "of": ["hour"]},
    {"name": "town_count", "kind": "frequency", "of": ["town"]},
    {"name": "turned", "kind": "rotate", "of": ["lat", "long"], "options": {"degrees": [30, 60]}},
    {"name": "age_spline", "kind": "spline", "of": ["age"], "options": {"knots": 4}},
    {"name": "town_rate", "kind": "target_encoded", "of": ["town"]},
    {"name": "pair_rate", "kind": "target_encoded", "of": ["sex", "daytime"]},
    {"name": "near_rate", "kind": "neighbour_rate", "of": ["lat", "long"],
     "options": {"neighbours": 4, "metric": "sphere"}},
    {"name": "near_km", "kind": "neighbour_rate", "of": ["lat", "long"],
     "options": {"neighbours": 3, "metric": "sphere", "value": "distance"}},
    {"name": "age_near", "kind": "neighbour_rate", "of": ["age"], "options": {"neighbours": 5}},
]  # fmt: skip


def people(rows: int = 240, seed: int = 1) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """A table with every kind of column and missing values, its target, and groups of two rows."""
    rng = np.random.Generator(np.random.PCG64(seed))
    group = np.arange(rows) // 2
    at = rng.normal(size=(rows // 2 + 1, 2))[group] * [1.0, 2.0] + [46.0, 2.0]
    table = pd.DataFrame({
        "sex": rng.choice([1.0, 2.0, NAN], rows), "dep": rng.choice([1.0, 75.0, 201.0], rows),
        "town": pd.Series(
            rng.choice(np.array(["a", "b", "c", None], dtype=object), rows), dtype="str"
        ),
        "size": pd.Series(
            rng.choice(np.array(["small", "large", None], dtype=object), rows), dtype="str"
        ),
        "age": np.where(rng.random(rows) < 0.1, NAN, rng.integers(0, 100, rows)),
        "year": 2021.0,
        "month": rng.integers(1, 13, rows) * 1.0, "day": rng.integers(1, 29, rows) * 1.0,
        "hour": np.where(rng.random(rows) < 0.1, NAN, rng.integers(0, 24, rows)),
        "lat": at[:, 0], "long": at[:, 1],
    })  # fmt: skip
    table.loc[rng.random(rows) < 0.05, "lat"] = NAN
    target = (rng.random(rows) < np.where(table["age"].fillna(50) > 60, 0.7, 0.2)).astype(np.int8)
    return table, target, group


def encoder(
    derived: list[dict] | None = None, columns: list[dict] = COLUMNS, **settings: object
) -> ColumnEncoder:
    return ColumnEncoder(columns, DERIVED if derived is None else derived, **settings)


@pytest.fixture(scope="module")
def fitted() -> ColumnEncoder:
    return encoder().fit(*people())


def one(kind: str, of: dict[str, list], y: object = None, groups: object = None, **options: object):
    """Fit one derived column on the given numbers; return encoder and its out-of-fold columns."""
    table = pd.DataFrame({name: np.array(values, dtype=float) for name, values in of.items()})
    made = ColumnEncoder(
        [{"name": name, "kind": "numeric", "encode": False} for name in of],
        [{"name": "x", "kind": kind, "of": list(of), "options": options}],
        folds=2,
    )
    target = np.arange(len(table)) % 2 if y is None else np.array(y)
    return made, made.fit_transform(table, target, groups)


class TestCodes:
    def test_declared_codes_keep_their_order(self, fitted):
        rows = people()[0].iloc[[0, 0, 0, 0]].reset_index(drop=True)
        rows["sex"] = [2.0, 1.0, 3.0, NAN]
        assert fitted.transform(rows)["sex"].tolist() == [2, 3, 1, 0]
        assert fitted.levels_["sex"] == [2, 1]

    def test_learned_levels_are_those_of_the_training_rows(self, fitted):
        rows = people()[0].iloc[[0, 0, 0]].reset_index(drop=True)
        rows["town"], rows["dep"] = pd.Series(["c", "Z", None], dtype="str"), [201.0, 5.0, NAN]
        out = fitted.transform(rows)
        assert fitted.levels_["town"] == ["a", "b", "c"]
        assert fitted.levels_["dep"] == [1, 75, 201]
        assert out["town"].tolist() == [4, 1, 0]
        assert out["dep"].tolist() == [4, 1, 0]

    def test_ordered_is_a_rank_and_nan_for_what_is_not_known(self, fitted):
        rows = people()[0].iloc[[0, 0, 0, 0]].reset_index(drop=True)
        rows["size"] = pd.Series(["small", "large", "huge", None], dtype="str")
        assert fitted.transform(rows)["size"].tolist()[:2] == [0, 1]
        assert fitted.transform(rows)["size"].isna().tolist() == [False, False, True, True]

    def test_missing_numbers_stay_missing(self, fitted):
        table = people()[0]
        assert (fitted.transform(table)["age"].isna() == table["age"].isna()).all()

    def test_none_in_an_object_column_is_a_missing_number(self, fitted):
        table = people()[0]
        ages = pd.Series([None if age != age else age for age in table["age"]], dtype=object)
        assert_frame_equal(fitted.transform(table.assign(age=ages)), fitted.transform(table))

    def test_text_in_a_number_is_refused(self, fitted):
        table = people()[0].astype({"age": object})
        table.loc[0, "age"] = "old"
        with pytest.raises(ValueError, match="column 'age' must hold numbers"):
            fitted.transform(table)


class TestKinds:
    def test_cross_codes_the_combinations_of_the_training_rows(self):
        made, out = one("cross", {"a": [1, 1, 2, NAN], "b": [5, 6, 5, NAN]})
        assert out["x"].tolist() == [3, 4, 5, 0]
        assert made.levels_["x"] == ["missing × missing", "1 × 5", "1 × 6", "2 × 5"]
        new = made.transform(pd.DataFrame({"a": [2.0, 1.0, 9.0], "b": [6.0, NAN, 5.0]}))
        assert new["x"].tolist() == [1, 1, 1]

    def test_ratio_of_zero_is_missing(self):
        _, out = one("ratio", {"a": [6, 1, NAN, 0], "b": [3, 0, 2, 4]})
        np.testing.assert_array_equal(out["x"], [2, NAN, NAN, 0])

    def test_difference(self):
        _, out = one("difference", {"a": [6, 1, NAN], "b": [3, 2, 2]})
        np.testing.assert_array_equal(out["x"], [3, -1, NAN])

    def test_clip(self):
        _, out = one("clip", {"a": [-5, 3, 50, NAN]}, low=0, high=10)
        np.testing.assert_array_equal(out["x"], [0, 3, 10, NAN])

    def test_bin_by_edges_counts_edges_at_or_below(self):
        _, out = one("bin", {"a": [9, 10, 19.5, 20, NAN]}, edges=[20, 10])
        np.testing.assert_array_equal(out["x"], [0, 1, 1, 2, NAN])

    def test_bin_by_quantiles_learns_them_from_the_training_rows(self):
        made, out = one("bin", {"a": list(range(100))}, quantiles=4)
        assert np.bincount(out["x"].astype(int)).tolist() == [25, 25, 25, 25]
        assert made.transform(pd.DataFrame({"a": [-1e9, 1e9]}))["x"].tolist() == [0, 3]

    def test_weekday_of_year_month_day(self):
        _, out = one(
            "weekday", {"y": [2021, 2024, 1969, NAN], "m": [1, 2, 12, 1], "d": [1, 29, 31, 1]}
        )
        assert (out["x"] - 2).tolist() == [4, 3, 2, -2]  # Friday, Thursday, Wednesday, missing

    def test_weekday_of_a_date_column(self):
        dates = pd.DataFrame({"date": pd.to_datetime(["2021-01-01", None, "1969-12-31"])})
        made = ColumnEncoder(
            [{"name": "date", "kind": "date"}], [{"name": "x", "kind": "weekday", "of": ["date"]}]
        )
        assert made.fit_transform(dates, [0, 1, 0])["x"].tolist() == [6, 0, 4]

    def test_part_of_day_wraps_round_midnight(self):
        _, out = one("part_of_day", {"h": [0, 5.9, 6, 10, 16, 22, 23, NAN]})
        assert (out["x"] - 2).tolist() == [0, 0, 1, 2, 3, 0, 0, -2]

    def test_cyclic_joins_the_ends(self):
        _, out = one("cyclic", {"h": [0, 6, 24, NAN]})
        np.testing.assert_array_equal(out["x_sin"], [0, 1, 0, NAN])
        np.testing.assert_array_equal(out["x_cos"], [1, 0, 1, NAN])

    def test_rotate_keeps_distances(self):
        _, out = one("rotate", {"a": [3, 0], "b": [4, 0]}, degrees=[30, 90])
        np.testing.assert_allclose(np.hypot(out["x_30_x"], out["x_30_y"]), [5, 0])
        np.testing.assert_allclose(out[["x_90_x", "x_90_y"]], [[4, -3], [0, 0]], atol=1e-12)

    def test_spline_is_a_partition_of_one_and_constant_outside(self):
        made, out = one("spline", {"a": [*range(50), NAN]})
        assert out.shape == (51, 7)
        np.testing.assert_allclose(out.iloc[:50].sum(axis=1), 1)
        assert out.iloc[50].isna().all()
        ends = made.transform(pd.DataFrame({"a": [-100.0, 0.0, 49.0, 100.0]}))
        np.testing.assert_array_equal(ends.iloc[0], ends.iloc[1])
        np.testing.assert_array_equal(ends.iloc[2], ends.iloc[3])

    def test_spline_of_a_constant_column(self):
        _, out = one("spline", {"a": [3, 3, 3]})
        np.testing.assert_allclose(out.sum(axis=1), 1)

    def test_frequency_counts_groups_and_of_a_training_row_the_others(self):
        made, out = one("frequency", {"a": [7, 7, 7, 8, NAN]}, groups=[1, 1, 2, 3, 4])
        np.testing.assert_array_equal(out["x"], [1, 1, 1, 0, NAN])
        new = made.transform(pd.DataFrame({"a": [7.0, 8.0, 9.0, NAN]}))
        np.testing.assert_array_equal(new["x"], [2, 1, 0, NAN])


class TestTargetEncoded:
    def test_new_rows_get_the_rate_and_unknown_ones_the_mean(self):
        made, _ = one(
            "target_encoded", {"a": [1, 1, 1, 1, 2, 2, 2, 2]}, y=[1, 1, 1, 0, 0, 0, 0, 1], smooth=0
        )
        new = made.transform(pd.DataFrame({"a": [1.0, 2.0, 3.0]}))
        assert new["x"].tolist() == [0.75, 0.25, 0.5]

    def test_a_training_row_does_not_see_its_own_group(self):
        table, target, group = people()
        derived = [d for d in DERIVED if d["name"] in ("town_rate", "near_rate", "age_near")]
        other = target.copy()
        other[group == 7] = 1 - other[group == 7]
        first = encoder(derived).fit_transform(table, target, group)[group == 7]
        second = encoder(derived).fit_transform(table, other, group)[group == 7]
        names = ["town_rate", "near_rate", "age_near"]
        assert first[names].notna().all().all()
        pd.testing.assert_frame_equal(first[names], second[names])

    def test_one_column_a_class(self):
        table, _, group = people()
        three = np.arange(len(table)) % 3
        derived = [
            {
                **d,
                "options": {
                    **d.get("options", {}),
                    **({"smooth": 5} if d["name"] == "town_rate" else {}),
                },
            }
            for d in DERIVED
            if d["name"] in ("town_rate", "near_rate")
        ]
        out = encoder(derived, task="multiclass").fit_transform(table, three, group)
        for name in ("town_rate", "near_rate"):
            rates = out[[f"{name}_0", f"{name}_1", f"{name}_2"]]
            np.testing.assert_allclose(rates.sum(axis=1), 1, atol=1e-6)

    def test_regression_means(self):
        made = ColumnEncoder(
            [{"name": "a", "kind": "numeric"}],
            [{"name": "x", "kind": "target_encoded", "of": ["a"], "options": {"smooth": 0}},
             {"name": "n", "kind": "neighbour_rate", "of": ["a"], "options": {"neighbours": 2}}],
            folds=2, task="regression",
        )  # fmt: skip
        made.fit(pd.DataFrame({"a": [1.0, 1.0, 5.0, 5.0]}), [1.5, 2.5, 10.0, 20.0])
        new = made.transform(pd.DataFrame({"a": [1.0, 5.0, 9.0]}))
        assert new["x"].tolist() == [2.0, 15.0, 8.5]
        assert new["n"].tolist() == [2.0, 15.0, 15.0]


class TestNeighbours:
    def test_rate_of_the_nearest_points(self):
        made, _ = one(
            "neighbour_rate", {"a": [0, 1, 2, 10, 11, 12]}, y=[1, 1, 0, 0, 0, 0], neighbours=3
        )
        new = made.transform(pd.DataFrame({"a": [0.4, 11.2, NAN]}))
        np.testing.assert_allclose(new["x"], [2 / 3, 0, 1 / 3], atol=1e-8)

    def test_a_group_at_one_place_is_one_neighbour(self):
        made, _ = one(
            "neighbour_rate",
            {"a": [0, 0, 0, 1, 50, 51]},
            y=[1, 1, 1, 0, 0, 0],
            groups=[0, 0, 0, 1, 2, 3],
            neighbours=2,
        )
        assert made.transform(pd.DataFrame({"a": [0.0]}))["x"].tolist() == [0.75]

    def test_distance_of_a_training_row_is_to_the_others(self):
        made, out = one("neighbour_rate", {"a": [0, 1, 3, 7]}, neighbours=1, value="distance")
        assert out["x"].tolist() == [1, 1, 2, 4]
        assert made.transform(pd.DataFrame({"a": [3.0, 20.0]}))["x"].tolist() == [0, 13]

    def test_sphere_measures_kilometres_also_over_the_date_line(self):
        degree = 6371.0088 * math.pi / 180
        made, _ = one(
            "neighbour_rate",
            {"lat": [60, 0, 0], "long": [0, 0, 180]},
            neighbours=1,
            metric="sphere",
            value="distance",
        )
        new = made.transform(pd.DataFrame({"lat": [60.0, 1.0, 0.0], "long": [1.0, 0.0, -179.0]}))
        np.testing.assert_allclose(new["x"], [degree / 2, degree, degree], rtol=1e-4)

    def test_fewer_points_than_neighbours(self):
        made, _ = one("neighbour_rate", {"a": [0, 1, 2]}, y=[1, 0, 0], neighbours=50)
        np.testing.assert_allclose(
            made.transform(pd.DataFrame({"a": [0.0]}))["x"], 1 / 3, atol=1e-8
        )

    def test_no_position_at_all_is_refused(self):
        with pytest.raises(ValueError, match="no training row has a position"):
            one("neighbour_rate", {"a": [NAN, NAN]})


class TestLaws:
    @settings(max_examples=25, deadline=None)
    @given(st.permutations(range(40)), st.integers(1, 39))
    def test_rows_are_encoded_alone(self, fitted, order, cut):
        rows = people(40, seed=9)[0]
        whole = fitted.transform(rows)
        shuffled = rows.iloc[order]
        assert_frame_equal(fitted.transform(shuffled), whole.iloc[order], check_exact=True)
        pieces = pd.concat([fitted.transform(rows.iloc[:cut]), fitted.transform(rows.iloc[cut:])])
        assert_frame_equal(pieces, whole, check_exact=True)

    def test_row_by_row_equals_the_batch(self, fitted):
        rows = people(60, seed=4)[0]
        singly = pd.concat([fitted.transform(rows.iloc[[i]]) for i in range(len(rows))])
        assert_frame_equal(singly, fitted.transform(rows), check_exact=True)

    def test_row_by_row_equals_the_batch_for_numbers_as_target(self):
        table, _, group = people(400, seed=2)
        target = np.random.Generator(np.random.PCG64(5)).normal(size=400)
        made = encoder(task="regression").fit(table, target, group)
        rows = people(60, seed=4)[0]
        singly = pd.concat([made.transform(rows.iloc[[i]]) for i in range(len(rows))])
        assert_frame_equal(singly, made.transform(rows), check_exact=True)

    def test_order_of_columns_does_not_matter(self, fitted):
        rows = people(30, seed=5)[0]
        assert_frame_equal(
            fitted.transform(rows[rows.columns[::-1]]), fitted.transform(rows), check_exact=True
        )

    def test_names_kinds_and_values_agree(self, fitted):
        out = fitted.transform(people(30, seed=6)[0])
        assert (
            list(out.columns) == list(fitted.get_feature_names_out()) == list(fitted.feature_kinds_)
        )
        assert set(out.dtypes) == {np.dtype("float64")}
        assert set(fitted.levels_) == {
            n for n, kind in fitted.feature_kinds_.items() if kind == "categorical"
        }
        for name, levels in fitted.levels_.items():
            assert out[name].between(0, len(levels) + 1).all()

    @settings(max_examples=200, deadline=None)
    @given(st.floats(-1e300, 1e300))
    def test_rounding_keeps_eight_digits_and_is_settled(self, value):
        once = float(rounded(value))
        assert once == pytest.approx(value, rel=1e-8, abs=1e-310)
        assert float(rounded(once)) == once

    def test_unencoded_columns_are_for_derived_ones_only(self):
        _, out = one("difference", {"a": [1, 2], "b": [0, 0]})
        assert list(out.columns) == ["x"]
        hidden = [
            {**DERIVED[0], "options": {"encode": False}},
            {"name": "r", "kind": "frequency", "of": ["sex_dep"]},
        ]
        table, target, group = people()
        assert "sex_dep" not in encoder(hidden).fit_transform(table, target, group)

    def test_folds_deal_groups_evenly_and_by_seed(self):
        first, again, other = (encoder(seed=seed)._deal(100) for seed in (1, 1, 2))
        assert np.bincount(first).tolist() == [20] * 5
        assert (first == again).all()
        assert (first != other).any()


class TestState:
    def test_same_bytes_for_the_same_rows_also_after_use(self):
        made = [encoder().fit(*people()) for _ in range(2)]
        made[1].transform(people(20)[0])
        assert dumped(made[0]) == dumped(made[1])

    def test_joblib_and_skops_round_trips_encode_alike(self, fitted):
        rows = people(50, seed=8)[0]
        loaded = joblib.load(io.BytesIO(dumped(fitted)))
        assert_frame_equal(loaded.transform(rows), fitted.transform(rows), check_exact=True)
        content = skops.io.dumps(fitted)
        untrusted = skops.io.get_untrusted_types(data=content)
        assert untrusted == ["lockstep.features.columns_v1.ColumnEncoder"]
        assert_frame_equal(
            skops.io.loads(content, trusted=untrusted).transform(rows),
            fitted.transform(rows),
            check_exact=True,
        )

    def test_a_second_fit_forgets_the_first(self):
        twice = encoder().fit(*people(seed=1)).fit(*people(seed=2))
        assert dumped(twice) == dumped(encoder().fit(*people(seed=2)))

    def test_the_module_imports_nothing_of_the_package(self):
        tree = ast.parse(Path(columns_v1.__file__).read_text(encoding="utf-8"))
        imported = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
        imported |= {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
        assert not {name for name in imported if name and name.startswith("lockstep")}


def dumped(made: ColumnEncoder) -> bytes:
    stream = io.BytesIO()
    joblib.dump(made, stream, compress=0, protocol=5)
    return stream.getvalue()


class TestRefusals:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda t: t.rename(columns={"lat": "la"}),
             "missing 'lat' \\(near 'la'\\); unexpected 'la' \\(near"),
            (lambda t: t.drop(columns="town"), "missing 'town'"),
            (lambda t: t.assign(extra=1), "unexpected 'extra'"),
            (lambda t: pd.concat([t, t[["age"]]], axis=1), "unexpected 'age \\(twice\\)'"),
            (lambda t: t.to_numpy(),
             "a pandas DataFrame with named columns is needed, got ndarray"),
        ],
    )  # fmt: skip
    def test_other_columns(self, fitted, change, message):
        with pytest.raises(ValueError, match=message):
            fitted.transform(change(people(10)[0]))

    @pytest.mark.parametrize(
        ("derived", "message"),
        [
            ({"kind": "ratios", "of": ["age"]},
             "unknown kind 'ratios' \\(did you mean 'ratio'\\?\\)"),
            ({"kind": "ratio", "of": ["age"]}, "ratio takes 2 columns, got 1"),
            ({"kind": "clip", "of": ["age"], "options": {"hihg": 3}},
             "unknown option 'hihg' \\(did you mean 'high'"),
        ],
    )  # fmt: skip
    def test_wrong_declarations(self, derived, message):
        with pytest.raises(ValueError, match=message):
            encoder([{"name": "x", **derived}]).fit(*people())

    def test_one_group_only(self):
        table, target, _ = people(10)
        with pytest.raises(ValueError, match="at least two"):
            encoder().fit(table, target, np.zeros(10))

    def test_targets_of_another_length(self):
        table, target, _ = people(10)
        with pytest.raises(ValueError, match="10 rows, but 9 targets"):
            encoder().fit(table, target[:9])
