"""The encoder learned from chunks of rows is the encoder fitted on all of them, to the bit."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import TargetEncoder

from lockstep.engines import learning
from lockstep.engines.chunks import FOLD, PART, chunks_of, write_chunks, write_known
from lockstep.engines.learning import learn, shrunk
from lockstep.errors import DataError
from lockstep.features.columns_v1 import ColumnEncoder
from lockstep.features.matrix_columns import GROUP, TARGET
from lockstep.joblib_files import write_joblib

COLUMNS = [
    {"name": "town", "kind": "categorical", "codes": [], "text": True},
    {"name": "road", "kind": "categorical", "codes": [1, 2, 3], "text": False},
    {"name": "grade", "kind": "ordered", "codes": [], "text": False},
    {"name": "size", "kind": "numeric", "codes": [], "text": False},
    {"name": "lat", "kind": "numeric", "codes": [], "text": False, "encode": False},
    {"name": "long", "kind": "numeric", "codes": [], "text": False, "encode": False},
    {"name": "day", "kind": "date", "codes": [], "text": False},
]
DERIVED = [
    {"name": "place", "kind": "cross", "of": ["town", "road"]},
    {"name": "towns", "kind": "frequency", "of": ["town"]},
    {"name": "rate", "kind": "target_encoded", "of": ["place"]},
    {"name": "flat", "kind": "target_encoded", "of": ["road"], "options": {"smooth": 5.0}},
    {"name": "step", "kind": "bin", "of": ["size"], "options": {"quantiles": 3}},
    {"name": "steps", "kind": "frequency", "of": ["step", "road"]},
    {"name": "cut", "kind": "bin", "of": ["rate"], "options": {"edges": [0.2, 0.5]}},
    {"name": "curve", "kind": "spline", "of": ["size"], "options": {"knots": 4}},
    {"name": "near", "kind": "neighbour_rate", "of": ["lat", "long"], "options": {"neighbours": 4}},
    {
        "name": "far",
        "kind": "neighbour_rate",
        "of": ["lat", "long"],
        "options": {"neighbours": 3, "value": "distance"},
    },
    {"name": "weekday", "kind": "weekday", "of": ["day"]},
    {"name": "ratio", "kind": "ratio", "of": ["size", "lat"]},
    {"name": "wave", "kind": "cyclic", "of": ["size"]},
]


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let tasks run here, one after the other: what they return is the same on Spark."""
    monkeypatch.setattr(learning, "run_tasks", lambda _, work, items: [work(one) for one in items])


def table_of(rows: int, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Return a table with missing values and ties, and a group of each row."""
    draw = np.random.default_rng(seed)
    size = draw.normal(size=rows).round(1)
    size[draw.random(rows) < 0.1] = np.nan
    lat = draw.integers(0, 9, rows) / 4 + 1
    lat[draw.random(rows) < 0.1] = np.nan
    table = pd.DataFrame(
        {
            "town": pd.Series(draw.choice(["Aix", "Brest", "Caen", None], rows), dtype="str"),
            "road": draw.choice([1.0, 2.0, 3.0, np.nan], rows),
            "grade": draw.choice([10.0, 20.0, np.nan], rows),
            "size": size,
            "lat": lat,
            "long": draw.integers(0, 9, rows) / 4,
            "day": pd.Timestamp("2021-01-01") + pd.to_timedelta(draw.integers(0, 30, rows), "D"),
        }
    )
    group = draw.integers(0, max(4, rows // 3), rows).astype(np.uint64) * np.uint64(2**57 + 1)
    return table, group


def target_of(task: str, rows: int, seed: int) -> np.ndarray:
    draw = np.random.default_rng(seed + 1)
    if task == "regression":
        return draw.normal(size=rows) * 100
    return draw.permutation(np.arange(rows) % (2 if task == "binary" else 3)).astype(np.int64)


def learned_from_chunks(
    folder: Path, encoder: ColumnEncoder, table: pd.DataFrame, target: Any, group: Any, rows: int
) -> learning.Learned:
    """Learn from a table as the Spark stage does, ``rows`` rows a chunk."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "known").mkdir(exist_ok=True)
    training = encoder._training(range(len(table)), target, group)  # type: ignore[arg-type]
    known = pd.DataFrame({PART: 0, FOLD: training.fold, TARGET: target, GROUP: group})
    write_chunks(folder / "rows.parquet", table, rows)
    chunks = chunks_of([folder / "rows.parquet"], folder / "known")
    write_known(chunks, known)
    learned = learn(None, encoder, chunks, training)  # type: ignore[arg-type]
    learned.folds = training.fold  # type: ignore[attr-defined]
    return learned


def bytes_of(encoder: ColumnEncoder) -> bytes:
    stream = io.BytesIO()
    write_joblib(stream, encoder)
    return stream.getvalue()


@pytest.mark.long
@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("rows", [1000, 37])
def test_every_kind_is_learned_from_chunks_as_from_the_whole(
    task: str, rows: int, tmp_path: Path
) -> None:
    table, group = table_of(300, 7)
    target = target_of(task, 300, 7)
    # Of several classes a rate is several columns, which have other names.
    derived = [one for one in DERIVED if task != "multiclass" or one["name"] != "cut"]
    whole = ColumnEncoder(COLUMNS, derived, folds=4, seed=3, task=task)
    expected = whole.fit_transform(table, target, group)
    parted = ColumnEncoder(COLUMNS, derived, folds=4, seed=3, task=task)
    learned = learned_from_chunks(tmp_path, parted, table, target, group, rows)
    pd.testing.assert_frame_equal(
        learned.encode_training(table, learned.folds),  # type: ignore[attr-defined]
        expected,
        check_exact=True,
    )
    pd.testing.assert_frame_equal(parted.transform(table), whole.transform(table), check_exact=True)
    if task != "regression":  # sums of numbers differ in their last bits, before they are rounded
        assert bytes_of(parted) == bytes_of(whole)


@pytest.mark.usefixtures("in_this_process")
@settings(max_examples=12, deadline=None)
@given(rows=st.integers(30, 120), seed=st.integers(0, 99), chunk=st.integers(5, 60))
def test_the_size_of_a_chunk_changes_no_bit(
    rows: int, seed: int, chunk: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    table, group = table_of(rows, seed)
    target = target_of("binary", rows, seed)
    found = [
        learned_from_chunks(
            tmp_path_factory.mktemp("chunks"),
            ColumnEncoder(COLUMNS, DERIVED, folds=3, seed=seed, task="binary"),
            table,
            target,
            group,
            size,
        )
        for size in (chunk, rows)
    ]
    assert bytes_of(found[0].encoder) == bytes_of(found[1].encoder)


@pytest.mark.usefixtures("in_this_process")
def test_positions_in_one_fold_only_are_refused(tmp_path: Path) -> None:
    table, _ = table_of(40, 1)
    group = np.zeros(40, dtype=np.uint64)
    group[20:] = 1
    table.loc[20:, "lat"] = np.nan
    table["long"] = 1.0
    encoder = ColumnEncoder(COLUMNS, DERIVED, folds=2, seed=0, task="binary")
    with pytest.raises(DataError, match="of one fold; more groups are needed"):
        learned_from_chunks(tmp_path, encoder, table, target_of("binary", 40, 1), group, 9)


@given(
    keys=st.lists(st.integers(0, 4), min_size=4, max_size=60),
    seed=st.integers(0, 999),
    smooth=st.one_of(st.just("auto"), st.floats(0.5, 50)),
)
@settings(deadline=None)
def test_rates_are_those_of_scikit_learn(keys: list[int], seed: int, smooth: Any) -> None:
    place, target = np.array(keys), np.random.default_rng(seed).normal(size=len(keys))
    _, place = np.unique(place, return_inverse=True)
    rows = np.bincount(place)
    sums = np.bincount(place, weights=target)
    squares = np.bincount(place, weights=(target - (sums / rows)[place]) ** 2)
    found = shrunk(rows, sums, squares, target.mean(), target.var(), smooth)
    theirs = TargetEncoder(target_type="continuous", smooth=smooth)
    theirs.fit(place[:, None].astype(float), target)
    np.testing.assert_allclose(found, theirs.encodings_[0], rtol=1e-9, atol=1e-12)
