"""Matrices are taken apart by their own columns, and a wrong file says so."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lockstep.config.layout import ProblemLayout
from lockstep.errors import DataError
from lockstep.io import write_parquet
from lockstep.models.matrices import Columns, columns_of, matrix_of, read_matrix
from lockstep.problems.schema import Column, Schema

TABLE = pd.DataFrame(
    {"x": [1.0, 2.0], "__target__": [0, 1], "__group__": [7, 8], "__row__": [3, 4]}
)


def test_what_is_not_a_feature_is_kept_apart() -> None:
    matrix = matrix_of(TABLE.assign(__truth__=[0.1, 0.9]))
    assert list(matrix.features) == ["x"]
    assert (matrix.target.tolist(), matrix.group.tolist(), matrix.row.tolist()) == (
        [0, 1],
        [7, 8],
        [3, 4],
    )
    assert matrix.truth is not None
    assert matrix.take(np.array([False, True])).truth.tolist() == [0.9]


def test_a_truth_with_gaps_is_no_truth() -> None:
    assert matrix_of(TABLE).truth is None
    assert matrix_of(TABLE.assign(__truth__=[0.1, np.nan])).truth is None


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            TABLE.drop(columns="__group__"),
            "has no column __group__; run `dvc repro features@accidents`",
        ),
        (TABLE.head(0), r"has no rows; change problems\.accidents\.split"),
    ],
)
def test_a_wrong_file_names_the_fix(table: pd.DataFrame, message: str, tmp_path: Path) -> None:
    layout = ProblemLayout(tmp_path, "accidents")
    write_parquet(layout.matrix("train"), table)
    with pytest.raises(DataError, match=message):
        read_matrix(layout, "train")


def test_directions_hold_for_encoded_numbers_only() -> None:
    class Encoder:
        feature_kinds_ = {"score": "numeric", "code": "categorical"}  # noqa: RUF012

        def get_feature_names_out(self) -> list[str]:
            return list(self.feature_kinds_)

    declared = {
        n: Column(name=n, kind="numeric", monotone=-1) for n in ("score", "code", "left_out")
    }
    schema = Schema(
        name="p",
        title="p",
        task="binary",
        unit="row",
        registered_name="P",
        experiment="p",
        columns=declared,
    )
    columns = columns_of(Encoder(), schema)
    assert columns == Columns({"score": "numeric", "code": "categorical"}, {"score": -1})
    assert columns.directions == [-1, 0]
    assert (columns.categorical, columns.numeric) == (["code"], ["score"])
