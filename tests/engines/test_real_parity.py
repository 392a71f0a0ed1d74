"""Parity on the real files beside the project: of each table the first rows.

All of them: PARITY_ROWS=0 python -m pytest tests/engines/test_real_parity.py
"""

import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.engines.prepared import Given, prepare_given, same_cells, settings

from lockstep.config.params import Problem, Split, parse_params
from lockstep.data.preprocess import tidy
from lockstep.engines.preparing import write_tidy
from lockstep.errors import DataError
from lockstep.problems.schema import PROBLEMS, load_schema

REAL = Path(__file__).parents[2].parent / "shared" / "data"
ROWS = int(os.environ.get("PARITY_ROWS", "1000"))
"""Rows of each file of a table; 0: all."""
TABLES = {
    "accidents/onisr_2021_prepared": "accidents",
    "accidents/user_sample_2005_2021": "accidents_2005_2021",
    "credit/credit_risk_dataset.csv": "credit_risk_dataset",
    "credit/lendingclub_loan_data.csv": "credit_lendingclub",
    "housing/cal_housing.data": "california_housing",
    "housing/california_housing_sklearn.csv": "california_housing",
    "housing/housing.csv": "california_housing",
}
RAW_FILES = ("raw_2023_native_30", "raw_2019_2022_sample100")
LACKING = ("raw_2013", "raw_2021_resaved")
"""Folders without all four tables of a year."""

pytestmark = [
    pytest.mark.long,
    pytest.mark.real_data,
    pytest.mark.skipif(not REAL.is_dir(), reason="the real files are not beside the project"),
]


@cache
def section_of(problem: str) -> Problem:
    """Return a problem's section, of the project or as the problem suggests it."""
    path = PROBLEMS / problem / "params.yaml"
    if not path.is_file():
        return settings(problem)
    return parse_params(yaml.safe_load(path.read_text())).problem(problem)


def first_rows(source: Path, folder: Path) -> Path:
    """Copy the first rows of a table's files, line ends as they are."""
    folder.mkdir()
    for path in source.iterdir() if source.is_dir() else [source]:
        lines = path.read_bytes().splitlines(keepends=True)
        (folder / path.name).write_bytes(b"".join(lines[: ROWS + 1 if ROWS else None]))
    return folder


@pytest.mark.parametrize("name", TABLES)
def test_a_prepared_table_becomes_the_same_cells(spark: Any, name: str, tmp_path: Path) -> None:
    schema, section = load_schema(TABLES[name]), section_of(TABLES[name])
    given = Given(schema, section, first_rows(REAL / name, tmp_path / "raw"), "table")
    found = prepare_given(spark, given, tmp_path, chunk_rows=ROWS // 2 or 7000)
    same_cells(found)
    assert len(found.table) >= 900


@pytest.mark.parametrize("name", RAW_FILES)
def test_raw_files_become_the_same_cells(spark: Any, name: str, tmp_path: Path) -> None:
    # So few accidents have both classes in every part only if each part gets its share of them.
    split = Split(kind="group", test=0.3, validation=0.4)
    section = settings("accidents").model_copy(update={"split": split})
    given = Given(load_schema("accidents"), section, REAL / "accidents" / name, "files")
    found = prepare_given(spark, given, tmp_path, chunk_rows=40)
    same_cells(found)
    assert len(found.table) > 50


@pytest.mark.parametrize("name", LACKING)
def test_files_without_a_table_are_refused_with_the_same_line(
    spark: Any, name: str, tmp_path: Path
) -> None:
    source = REAL / "accidents" / name, "files", load_schema("accidents")
    rules = settings("accidents").preprocess
    with pytest.raises(DataError, match=r"no \w+ file beside") as here:
        tidy(*source, rules)
    with pytest.raises(DataError) as there:
        write_tidy(spark, *source, rules, tmp_path)
    assert str(there.value) == str(here.value)
    assert not list(tmp_path.iterdir())
