"""What is prepared piece by piece, where nothing of a piece is left or nothing can be learned."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.engines.prepared import settings

from lockstep.config.params import Sample
from lockstep.data.preprocess import tidy
from lockstep.engines import preparing
from lockstep.engines.chunks import FOLD, chunks_of
from lockstep.engines.preparing import Rows, learn_encoder, write_tidy
from lockstep.errors import DataError
from lockstep.features.encoder import encoder_of
from lockstep.io import read_parquet
from lockstep.problems.accidents import sample
from lockstep.problems.schema import load_schema

SCHEMA = load_schema("accidents")
SECTION = settings("accidents")
RULES = SECTION.preprocess.model_copy(update={"max_dropped": 1.0})
YEARS = [2019, 2020, 2021]


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write three years of raw files; tasks run here, one after the other."""
    monkeypatch.setattr(preparing, "run_tasks", lambda _, work, items: [work(one) for one in items])
    (tmp_path / "tidy").mkdir()
    sample.write_sample(Sample(units=150, seed=3, years=YEARS), tmp_path / "raw")
    return tmp_path / "raw"


LOST = {"by the loader": {"grav": "-1"}, "by the checks": {"catu": "-1"}}
"""What a whole year's file of people holds, and where its rows are dropped."""


@pytest.mark.parametrize("year", YEARS)
@pytest.mark.parametrize("lost", LOST)
def test_a_year_of_which_nothing_is_left_is_counted(
    raw: Path, tmp_path: Path, lost: str, year: int
) -> None:
    (file,) = raw.glob(f"usagers*{year}*")
    people = pd.read_csv(file, sep=";", dtype=str).assign(**LOST[lost])
    people.to_csv(file, sep=";", index=False)
    table, quality = tidy(raw, "sample", SCHEMA, RULES)
    assert write_tidy(None, raw, "sample", SCHEMA, RULES, tmp_path / "tidy", 70) == quality
    pd.testing.assert_frame_equal(read_parquet(tmp_path / "tidy"), table, check_exact=True)
    assert str(year) not in quality["years"]
    chunks = chunks_of(sorted((tmp_path / "tidy").iterdir()), tmp_path)
    assert sum(chunk.rows for chunk in chunks) == len(table)
    assert all(chunk.rows for chunk in chunks)


@pytest.mark.parametrize("place", ["when folds are made", "when columns are learned"])
def test_columns_that_cannot_be_encoded_are_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("cross fewer columns")

    groups, said = np.zeros(6), "one group only"
    if place == "when columns are learned":
        groups, said = np.arange(6), "cross fewer columns"
        monkeypatch.setattr(preparing, "learn", refuse)
    rows = Rows(
        pd.DataFrame({"true_probability": [np.nan] * 6}),
        pd.Series(["train"] * 6),
        [0, 1],
        np.array([0, 1] * 3, dtype=np.int8),
        groups.astype(np.uint64),
    )
    encoder = encoder_of(SCHEMA, SECTION.features)
    with pytest.raises(DataError, match=f"the columns of accidents can't be encoded: {said}"):
        learn_encoder(None, encoder, rows, SCHEMA, tmp_path, tmp_path)


def test_hundreds_of_folds_keep_their_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 400
    table = pd.DataFrame({"true_probability": [np.nan] * count})
    (tmp_path / "known").mkdir()
    table.to_parquet(tmp_path / "rows-0000.parquet", index=False)
    monkeypatch.setattr(preparing, "learn", lambda *_: None)
    rows = Rows(
        table,
        pd.Series(["train"] * count),
        [0, 1],
        (np.arange(count) % 2).astype(np.int8),
        np.arange(count, dtype=np.uint64),
    )
    encoder = encoder_of(SCHEMA, SECTION.features.model_copy(update={"folds": 300}))
    _, chunks = learn_encoder(None, encoder, rows, SCHEMA, tmp_path, tmp_path / "known")
    assert set(chunks[0].read_known()[FOLD]) == set(range(300))


def test_a_source_of_which_nothing_is_left_is_refused(raw: Path, tmp_path: Path) -> None:
    for file in raw.glob("usagers*"):
        people = pd.read_csv(file, sep=";", dtype=str).assign(grav="-1")
        people.to_csv(file, sep=";", index=False)
    rules = SECTION.preprocess
    with pytest.raises(DataError, match=r"rows of accidents would be dropped \(.*severity_unknown"):
        write_tidy(None, raw, "sample", SCHEMA, rules, tmp_path / "tidy", 70)
