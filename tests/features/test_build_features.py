"""The stage: files in, files out, the same bytes everywhere."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import yaml

from lockstep.config.layout import PARTS, ProblemLayout
from lockstep.config.params import Features
from lockstep.errors import ConfigError, DataError
from lockstep.features.build_features import report, run
from lockstep.features.encoder import encoder_of, input_columns
from lockstep.features.matrices import _dates, classes_of, encode_parts, encoded_target
from lockstep.io import read_json, read_parquet, write_parquet
from lockstep.problems.schema import Schema, load_schema, problem_names

PROJECT = Path(__file__).parents[2]
KNOWN = ["__target__", "__group__", "__row__"]


def accidents(count: int = 400, seed: int = 3) -> pd.DataFrame:
    """A tidy table of two people an accident that fits the accidents' schema."""
    schema = load_schema("accidents")
    rng = np.random.Generator(np.random.PCG64(seed))
    rows, number = 2 * count, np.arange(2 * count) // 2
    table = pd.DataFrame(index=range(rows))
    for column in schema.columns.values():
        if column.codes:
            table[column.name] = rng.choice(np.array(list(column.codes), dtype=float), rows)
        elif column.is_feature:
            low = 1 if column.low is None else column.low
            high = max(low + 1, min(column.high or 90, 90))
            table[column.name] = rng.integers(low, high, rows).astype(float)
    table["lat"], table["long"] = (
        rng.normal(46, 1, count)[number],
        rng.normal(2, 1, count)[number],
    )
    table.loc[rng.random(rows) < 0.05, ["lat", "victim_age", "com"]] = np.nan
    table["accident_id"], table["person_id"] = number + 202100000001, np.arange(rows)
    table["date"] = pd.Timestamp("2021-01-01") + pd.to_timedelta(number * 365 // count, unit="D")
    table["part"], table["true_probability"] = pd.Series([None] * rows, dtype="str"), 0.25
    table["grav"] = (rng.random(rows) < 0.3).astype("int64")
    return table[list(schema.columns)]


def workspace(folder: Path, table: pd.DataFrame, **split: object) -> ProblemLayout:
    """A project's folder that holds a tidy table."""
    params = yaml.safe_load((PROJECT / "params.yaml").read_text(encoding="utf-8"))
    params["problems"]["accidents"]["split"] |= split
    (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    (folder / "dvc.yaml").write_text("stages: {}\n", encoding="utf-8")
    layout = ProblemLayout(folder, "accidents")
    write_parquet(layout.tidy, table)
    return layout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> ProblemLayout:
    layout = workspace(tmp_path_factory.mktemp("built"), accidents())
    run(layout.root, "accidents")
    return layout


class TestStage:
    def test_matrices_hold_every_row_once(self, built):
        matrices = [read_parquet(built.matrix(part)) for part in PARTS]
        rows = np.concatenate([matrix["__row__"] for matrix in matrices])
        assert sorted(rows) == list(range(800))
        table = read_parquet(built.tidy)
        for matrix in matrices:
            assert matrix["__target__"].tolist() == table["grav"].iloc[matrix["__row__"]].tolist()
            assert (matrix["__truth__"] == 0.25).all()
        groups = [set(matrix["__group__"]) for matrix in matrices]
        assert sum(map(len, groups)) == len(set.union(*groups)) == 400

    def test_columns_and_dtypes(self, built):
        encoder = joblib.load(built.encoder)
        for part in PARTS:
            matrix = read_parquet(built.matrix(part))
            assert list(matrix.columns) == [*encoder.get_feature_names_out(), *KNOWN, "__truth__"]
            assert set(matrix[encoder.get_feature_names_out()].dtypes) == {np.dtype("float64")}
            assert [str(matrix[name].dtype) for name in KNOWN] == ["int8", "uint64", "int64"]

    def test_encoder_encodes_the_test_part_as_written(self, built):
        encoder, matrix = joblib.load(built.encoder), read_parquet(built.matrix("test"))
        rows = read_parquet(built.tidy).iloc[matrix["__row__"]][
            load_schema("accidents").feature_names
        ]
        encoded = encoder.transform(rows.reset_index(drop=True))
        pd.testing.assert_frame_equal(encoded, matrix[encoded.columns], check_exact=True)

    def test_training_part_is_encoded_out_of_fold(self, built):
        encoder, matrix = joblib.load(built.encoder), read_parquet(built.matrix("train"))
        rows = read_parquet(built.tidy).iloc[matrix["__row__"]][
            load_schema("accidents").feature_names
        ]
        seen = encoder.transform(rows.reset_index(drop=True))
        rates = ["com_rate", "crash_rate", "near_10_rate"]
        assert (seen[rates] != matrix[rates]).any().all()
        raw = [column.name for column in load_schema("accidents").features if column.encode]
        pd.testing.assert_frame_equal(seen[raw], matrix[raw], check_exact=True)

    def test_classes_and_summary(self, built):
        assert read_json(built.label_encoder) == {"column": "grav", "classes": [0, 1]}
        summary = read_json(built.features_summary)
        assert summary["encoded_columns"] == 36
        assert sum(summary[part]["rows"] for part in PARTS) == 800
        assert summary["train"]["from"] == "2021-01-01"
        assert summary["train"]["to"] <= summary["stop"]["from"]
        assert "36 encoded columns; rows: train" in report(summary)

    def test_same_bytes_in_other_processes(self, built, tmp_path):
        """Hash seed, threads, BLAS kernel, time zone and language change nothing."""
        layout = workspace(tmp_path, accidents())
        environment = {
            **os.environ, "PYTHONHASHSEED": "77", "OMP_NUM_THREADS": "1",
            "OPENBLAS_CORETYPE": "Haswell", "TZ": "Asia/Tokyo", "LANG": "tr_TR.UTF-8",
        }  # fmt: skip
        command = [
            sys.executable,
            "-m",
            "lockstep.features.build_features",
            "--problem",
            "accidents",
        ]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "36 encoded columns" in done.stdout
        assert digests(layout) == digests(built)


def digests(layout: ProblemLayout) -> dict[str, str]:
    files = [
        layout.encoder,
        layout.label_encoder,
        layout.features_summary,
        *map(layout.matrix, PARTS),
    ]
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


class TestRefusals:
    def test_no_tidy_table(self, tmp_path):
        layout = workspace(tmp_path, accidents(20))
        layout.tidy.unlink()
        with pytest.raises(DataError, match=r"tidy.parquet is missing; run `dvc repro`"):
            run(tmp_path, "accidents")

    def test_an_empty_part(self, tmp_path):
        workspace(tmp_path, accidents(20), validation=0.01)
        with pytest.raises(
            DataError,
            match=r"part 'stop' of accidents has no rows; change problems.accidents.split",
        ):
            run(tmp_path, "accidents")
        assert not ProblemLayout(tmp_path, "accidents").features.exists()

    def test_a_part_of_one_class(self, tmp_path):
        table = accidents()
        table.loc[table["date"] > "2021-09-01", "grav"] = 0
        workspace(tmp_path, table)
        with pytest.raises(
            DataError,
            match=r"part '\w+' of accidents holds one class of 'grav' only; change problems",
        ):
            run(tmp_path, "accidents")

    def test_an_unknown_target(self, tmp_path):
        table = accidents(40)
        table.loc[5, "grav"] = 4
        workspace(tmp_path, table)
        with pytest.raises(DataError, match="1 rows have no valid target 'grav'"):
            run(tmp_path, "accidents")

    def test_positions_missing_everywhere(self, tmp_path):
        workspace(tmp_path, accidents().assign(lat=np.nan))
        with pytest.raises(
            DataError, match="columns of accidents can't be encoded: no training row has a position"
        ):
            run(tmp_path, "accidents")

    def test_an_unknown_problem_on_the_command_line(self, tmp_path):
        workspace(tmp_path, accidents(20))
        command = [
            sys.executable,
            "-m",
            "lockstep.features.build_features",
            "--problem",
            "accident",
        ]
        done = subprocess.run(
            command,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2
        assert (
            done.stderr.strip()
            == "✗ unknown problem 'accident' (did you mean 'accidents'?); known: "
            + ", ".join(problem_names())
        )


def small(task: str, target: dict) -> Schema:
    return Schema.model_validate(
        {"name": "small", "title": "", "task": task, "unit": "row",
         "registered_name": "S", "experiment": "s",
         "columns": {"y": {"kind": "target", **target}, "day": {"kind": "date"},
                     "a": {"kind": "numeric"}},
         "derived": [{"name": "weekday", "kind": "weekday", "of": ["day"]}]}
    )  # fmt: skip


class TestTarget:
    def test_classes_are_the_declared_ones_in_order(self):
        schema = small("multiclass", {"codes": {"low": "", "never": "", "high": "", "none": ""}})
        table = pd.DataFrame({"y": pd.Series(["none", "low", "high", "low"], dtype="str")})
        assert classes_of(table, schema) == ["low", "high", "none"]
        assert encoded_target(table, schema, ["low", "high", "none"]).tolist() == [2, 0, 1, 0]

    def test_two_classes_are_no_multiclass_target(self):
        table = pd.DataFrame({"y": pd.Series(["none", "low"], dtype="str")})
        with pytest.raises(DataError, match=r"two classes \(low, none\); set task: binary"):
            classes_of(table, small("multiclass", {"codes": {"low": "", "high": "", "none": ""}}))

    def test_a_class_without_training_rows_is_refused_with_its_rows_and_the_fix(self):
        schema = small("multiclass", {"codes": {"à neuf": "", "bon état": "", "en ruine": ""}})
        table = pd.DataFrame({"y": ["à neuf", "bon état"] * 20 + ["en ruine"] * 3, "a": 1.0})
        table["day"] = pd.Timestamp("2021-01-01")
        parts = pd.Series(
            (["train"] * 4 + ["stop"] * 2 + ["choose"] * 2 + ["test"] * 2) * 4 + ["test"] * 3
        )
        with pytest.raises(
            DataError, match=r"the class 'en ruine' of 'y' has no training row \(test 3\).*merge"
        ):
            encode_parts(
                table, parts, schema, classes_of(table, schema), encoder_of(schema, Features())
            )

    def test_the_labels_of_several_classes_travel_in_the_encoder(self):
        schema = small("multiclass", {"codes": {3: "", 1: "", 2: ""}})
        table = pd.DataFrame(
            {"y": [1.0, 2.0, 3.0] * 40, "a": 1.0, "day": pd.Timestamp("2021-01-01")}
        )
        encoder = encoder_of(schema, Features())
        parts = pd.Series(["train", "stop", "choose", "test"] * 30)
        encode_parts(table, parts, schema, classes_of(table, schema), encoder)
        assert encoder.target_classes_ == [3, 1, 2]

    def test_classes_not_declared_are_sorted(self):
        assert classes_of(pd.DataFrame({"y": [3, 1, 3]}), small("binary", {})) == [1, 3]

    def test_binary_needs_two_classes(self):
        with pytest.raises(DataError, match="the target 'y' has 3 classes"):
            classes_of(pd.DataFrame({"y": [3, 1, 2]}), small("binary", {}))

    def test_regression_keeps_numbers(self):
        schema = small("regression", {})
        table = pd.DataFrame({"y": [1.5, 2.5]})
        assert classes_of(table, schema) == []
        assert encoded_target(table, schema, []).tolist() == [1.5, 2.5]
        with pytest.raises(DataError, match="1 rows have no valid target"):
            encoded_target(pd.DataFrame({"y": [1.5, np.nan]}), schema, [])


class TestEncoderOf:
    def test_a_date_is_an_input_where_a_derived_column_goes_by_it(self):
        from lockstep.config.params import Features

        schema = small("binary", {})
        assert input_columns(schema) == ["a", "day"]
        table = pd.DataFrame({"a": [1.0, 2.0], "day": pd.to_datetime(["2021-01-01", "2021-01-02"])})
        assert encoder_of(schema, Features()).fit_transform(table, [0, 1])["weekday"].tolist() == [
            6,
            7,
        ]

    def test_text_codes_are_compared_as_texts(self):
        from lockstep.config.params import Features

        schema = load_schema("accidents")
        columns = {c["name"]: c for c in encoder_of(schema, Features()).columns}
        assert list(columns) == schema.feature_names
        assert not any(column["text"] for column in columns.values())
        assert columns["com"] == {
            "name": "com",
            "kind": "categorical",
            "codes": [],
            "text": False,
            "encode": False,
        }


def test_a_position_in_time_is_summed_up_as_it_is():
    columns = {
        "row": {"kind": "date", "integer": True},
        "x": {"kind": "numeric"},
        "y": {"kind": "target"},
    }
    names = dict.fromkeys(("name", "title", "unit", "registered_name", "experiment"), "toy")
    schema = Schema.model_validate({**names, "task": "binary", "columns": columns})
    assert _dates(pd.DataFrame({"row": [7, 3, 5]}), schema) == {"from": 3, "to": 7}


TOY = {
    "name": "toy", "title": "Toy", "task": "binary", "unit": "row", "registered_name": "Toy",
    "experiment": "toy", "columns": {name: {"kind": "numeric"} for name in "abc"},
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "of", "options"),
    [
        ("neighbour_rate", "ab", {"metric": "Euclidean"}),
        ("neighbour_rate", "ab", {"value": "distances"}),
        ("neighbour_rate", "ab", {"neighbours": 0}),
        ("cyclic", "a", {"period": 0}),
        ("rotate", "ab", {"degrees": 30}),
        ("spline", "a", {"knots": "5"}),
        ("bin", "a", {"quantiles": 1}),
        ("clip", "a", {"low": float("nan")}),
        ("clip", "a", {"encode": "no"}),
    ],
)
def test_an_option_that_means_nothing_is_one_line(kind: str, of: str, options: dict) -> None:
    derived = {"name": "made", "kind": kind, "of": list(of), "options": options}
    schema = Schema.model_validate({**TOY, "derived": [derived]})
    (name,) = options
    fault = rf"schema\.yaml of toy: derived column 'made': option {name} is .*: [a-z]"
    with pytest.raises(ConfigError, match=fault):
        encoder_of(schema, Features())


def test_a_wrong_number_of_columns_is_one_line() -> None:
    derived = {"name": "made", "kind": "ratio", "of": ["a"]}
    schema = Schema.model_validate({**TOY, "derived": [derived]})
    with pytest.raises(ConfigError, match="ratio takes 2 columns, got 1"):
        encoder_of(schema, Features())


@pytest.mark.parametrize("problem", problem_names())
def test_the_options_of_shipped_problems_pass(problem: str) -> None:
    encoder_of(load_schema(problem), Features())
