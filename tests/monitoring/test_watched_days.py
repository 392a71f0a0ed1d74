"""A table that is given to `monitor` is read as it is: nothing of it is judged as training data."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lockstep.commands.watched_days import check_input, labels_of, read_input
from lockstep.config.params import Preprocess, Problem
from lockstep.errors import DataError, UsageError
from lockstep.models.golden_rows import golden_rows
from lockstep.problems.schema import Column, load_schema

SCHEMA = load_schema("accidents")
SECTION = Problem(model_types=["any"])


@pytest.fixture
def table():
    """Rows of which half have no label, the others one class, and a third a new code."""
    rows = golden_rows(SCHEMA, 300).head(300)
    lum = np.where(np.arange(300) % 3 == 0, 77.0, rows["lum"])
    return rows.assign(lum=lum, grav=np.where(np.arange(300) % 2, np.nan, 1.0))


@pytest.mark.parametrize("name", ["rows.csv", "X_test.csv", ".hidden.csv", "train_test.csv"])
def test_every_row_of_one_file_is_read_whatever_its_name(tmp_path, table, name):
    table.to_csv(tmp_path / name, index=False)
    check_input(tmp_path / name)
    found = read_input(tmp_path / name, SCHEMA, SECTION)
    assert len(found) == len(table)
    assert found["lum"].tolist()[:1] == [77.0]
    known = found["grav"].notna()
    assert known.sum() == 150
    assert labels_of(found["grav"], SCHEMA.columns["grav"], [0, 1]).tolist()[:4] == [1, -1, 1, -1]


def test_copies_are_dropped_where_the_problem_says_so(tmp_path, table):
    doubled = pd.concat([table, table]).reset_index(drop=True)
    doubled.to_csv(tmp_path / "rows.csv", index=False)
    assert len(read_input(tmp_path / "rows.csv", SCHEMA, SECTION)) == 600
    drops = SECTION.model_copy(update={"preprocess": Preprocess(duplicates="drop")})
    assert len(read_input(tmp_path / "rows.csv", SCHEMA, drops)) == 300


def test_a_file_without_a_column_is_named_as_it_was_given(tmp_path, table):
    table.drop(columns="grav").to_csv(tmp_path / "X_test.csv", index=False)
    with pytest.raises(DataError, match=r"^input X_test\.csv lacks .*'grav'"):
        read_input(tmp_path / "X_test.csv", SCHEMA, SECTION)


def test_a_number_that_is_no_label_is_an_unknown_one():
    target = Column(name="y", kind="target", low=0)
    found = labels_of(pd.Series([1.5, np.nan, np.inf, -1.0]), target, [])
    assert np.isnan(found).tolist() == [False, True, True, True]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("nosuch.csv", "nosuch.csv is not there; give a table, or a folder of raw files"),
        ("-", "- is not there"),
        ("rows.csv.gz", "rows.csv.gz: a name that ends in .csv, .tsv, .txt, .data, .parquet is"),
        ("rows.json", "rows.json: a name that ends in"),
    ],
)
def test_what_is_no_table_is_one_line_that_names_it(tmp_path, monkeypatch, name, told):
    monkeypatch.chdir(tmp_path)
    for made in ("rows.csv.gz", "rows.json"):
        (tmp_path / made).write_text("{}")
    with pytest.raises(UsageError, match=f"^--input {told}"):
        check_input(Path(name))
    check_input(tmp_path)
