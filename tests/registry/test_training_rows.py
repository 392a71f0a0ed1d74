"""Rows seen are known by what they are, in any order and workspace, and read without a pickle."""

import io
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep.config.layout import ProblemLayout
from lockstep.dvc.graph import dvc_sum
from lockstep.dvc.lineage import Lineage
from lockstep.errors import DataError
from lockstep.io import read_parquet, write_parquet
from lockstep.problems.schema import load_schema
from lockstep.registry.artifact.files import ROWS_FILE
from lockstep.registry.artifact.training_rows import (
    TrainingRows,
    from_bytes,
    read_training_rows,
    row_keys,
    rows_of_training,
    to_bytes,
)

HOUSING, ACCIDENTS = load_schema("california_housing"), load_schema("accidents")


def houses(rows: int, seed: int = 0, levels: int = 1000) -> pd.DataFrame:
    """Rows of a problem without groups; few levels make many copies."""
    rng = np.random.default_rng(seed)
    table = {name: rng.integers(0, levels, rows) / 8 for name in HOUSING.columns}
    return pd.DataFrame(table | {"true_value": np.nan})


def people(rows: int, numbered: bool) -> pd.DataFrame:
    """Rows of a problem with groups: accidents of two people, or row numbers if a file had none."""
    rng = np.random.default_rng(1)
    table = pd.DataFrame(
        {c.name: rng.integers(0, 50, rows).astype(float) for c in ACCIDENTS.columns.values()}
    )
    group = np.arange(rows) if numbered else 202_100_000_000 + np.arange(rows) // 2
    return table.assign(accident_id=group, person_id=np.arange(rows), part="train")


@settings(max_examples=30, deadline=None)
@given(rows=st.integers(1, 60), levels=st.integers(1, 4), seed=st.integers(0, 1000))
def test_content_is_the_same_in_any_order(rows: int, levels: int, seed: int) -> None:
    table = houses(rows, seed, levels)
    found = row_keys(table, HOUSING)
    shuffled = row_keys(table.sample(frac=1, random_state=seed), HOUSING)
    assert found.identity == shuffled.identity
    assert sorted(found.keys) == sorted(shuffled.keys)
    assert len(set(found.keys.tolist())) == rows


def test_content_is_the_same_in_another_workspace(tmp_path: Path) -> None:
    table = houses(200)
    write_parquet(tmp_path / "tidy.parquet", table[list(reversed(table.columns))])
    again = row_keys(read_parquet(tmp_path / "tidy.parquet").assign(true_value=1.0), HOUSING)
    assert (again.keys == row_keys(table, HOUSING).keys).all()


def test_of_many_copies_only_as_many_are_seen_as_were() -> None:
    table = pd.concat([houses(1)] * 10, ignore_index=True)
    before = row_keys(table.iloc[:8], HOUSING)
    assert np.isin(row_keys(table, HOUSING).keys, before.keys).sum() == 8


def test_a_changed_value_makes_another_row() -> None:
    table = houses(20)
    other = table.assign(MedInc=table["MedInc"] + 1)
    assert not np.isin(row_keys(other, HOUSING).keys, row_keys(table, HOUSING).keys).any()


def test_a_group_is_known_by_its_name_wherever_its_rows_stand() -> None:
    table = people(60, numbered=False)
    found = row_keys(table, ACCIDENTS)
    assert found.identity == "group accident_id (number)"
    assert len(set(found.keys.tolist())) == 30
    later = row_keys(table.iloc[::-1].assign(hour=3.0, part="test"), ACCIDENTS)
    assert (later.keys == found.keys[::-1]).all()
    text = row_keys(table.assign(accident_id=table["accident_id"].astype(str)), ACCIDENTS)
    assert text.identity == "group accident_id (text)"


def test_the_number_of_a_row_is_no_identity() -> None:
    table = people(60, numbered=True)
    found = row_keys(table, ACCIDENTS)
    assert found.identity.startswith("content of date, grav, place")
    moved = (
        table.iloc[10:]
        .reset_index(drop=True)
        .assign(accident_id=np.arange(50), person_id=np.arange(50))
    )
    assert (row_keys(moved, ACCIDENTS).keys == found.keys[10:]).all()


@settings(max_examples=30, deadline=None)
@given(
    keys=st.sets(st.integers(0, 2**40 - 1)),
    identity=st.text(st.characters(exclude_characters="\0"), max_size=20),
)
def test_a_set_survives_its_file(keys: set[int], identity: str) -> None:
    told = TrainingRows(np.array(sorted(keys), dtype=np.uint64), identity)
    read = from_bytes(to_bytes(told))
    assert (read.keys.tolist(), read.identity, read.digest) == (sorted(keys), identity, told.digest)
    assert to_bytes(read) == to_bytes(told)


def test_a_set_is_compact() -> None:
    keys = np.unique(row_keys(houses(20_000, levels=10**6), HOUSING).keys)
    assert len(to_bytes(TrainingRows(keys, "content"))) < 5 * len(keys)


def damaged(kind: str) -> bytes:
    content = to_bytes(TrainingRows(np.arange(1000, dtype=np.uint64) ** 2, "content"))
    written = io.BytesIO()
    if kind == "cut off":
        return content[: len(content) // 2]
    if kind == "a flipped byte":
        middle = len(content) // 3
        return content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :]
    if kind == "a pickle":
        return pickle.dumps({"gaps": [1]})
    if kind == "objects":
        np.savez(written, gaps=np.array([{}], dtype=object), identity=np.array("content"))
    if kind == "floats":
        np.savez(written, gaps=np.arange(3.0), identity=np.array("content"))
    if kind == "other names":
        np.savez(written, a=np.arange(3))
    if kind == "a single array":
        np.save(written, np.arange(3, dtype=np.uint64))
    return written.getvalue()


KINDS = (
    "cut off",
    "a flipped byte",
    "a pickle",
    "objects",
    "floats",
    "other names",
    "a single array",
    "empty",
)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_set_is_refused(kind: str) -> None:
    with pytest.raises(DataError, match=f"its {ROWS_FILE} (is damaged|holds something else)"):
        from_bytes(damaged(kind))


def test_any_changed_byte_is_refused_or_changes_nothing() -> None:
    told = TrainingRows(np.arange(100, dtype=np.uint64) ** 2, "content")
    content, rng = to_bytes(told), np.random.default_rng(0)
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= int(rng.integers(1, 256))
        found = digest_or_refusal(bytes(changed))
        assert found == told.digest or found.startswith(f"its {ROWS_FILE} ")


def digest_or_refusal(content: bytes) -> str:
    try:
        return from_bytes(content).digest
    except DataError as error:
        return str(error)


def test_another_models_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"its {ROWS_FILE} is missing"):
        read_training_rows(tmp_path, "0")
    (tmp_path / ROWS_FILE).write_bytes(
        to_bytes(TrainingRows(np.arange(3, dtype=np.uint64), "content"))
    )
    with pytest.raises(DataError, match="is not the one it was registered with"):
        read_training_rows(tmp_path, TrainingRows(np.arange(4, dtype=np.uint64), "content").digest)


@pytest.fixture
def layout(tmp_path: Path) -> ProblemLayout:
    """A workspace's tidy table, and matrices of which each holds a tenth of its rows."""
    found = ProblemLayout(tmp_path, "california_housing")
    write_parquet(found.tidy, houses(100))
    for number, part in enumerate(("train", "stop", "choose", "test")):
        write_parquet(found.matrix(part), pd.DataFrame({"__row__": np.arange(10) * 10 + number}))
    return found


def lineage(layout: ProblemLayout, tidy: str) -> Lineage:
    deps = {"data/california_housing/tidy.parquet": tidy} if tidy else {}
    stages = {"features@california_housing": {"deps": deps, "params": {}, "outs": {}}}
    training = {"deps": {"data/california_housing/features": "a sum"}, "params": {}}
    return Lineage({"training": training, "stages": stages}, "commit", ())


@pytest.mark.parametrize("told", ["", "the table's own"])
def test_a_training_saw_all_but_the_test_part(layout: ProblemLayout, told: str) -> None:
    origin = lineage(layout, dvc_sum(layout.tidy) if told else "")
    found = rows_of_training(layout.root, layout.problem, origin)
    keys = row_keys(houses(100), HOUSING).keys
    rows = [10 * n + part for n in range(10) for part in range(3)]
    assert found.keys.tolist() == sorted(keys[rows].tolist())


def test_what_a_training_saw_is_kept_and_made_anew_when_damaged(layout: ProblemLayout) -> None:
    origin = lineage(layout, dvc_sum(layout.tidy))
    first = rows_of_training(layout.root, layout.problem, origin)
    (kept,) = layout.root.glob(".lockstep/cache/seen/*.npz")
    layout.matrix("train").unlink()
    assert rows_of_training(layout.root, layout.problem, origin).digest == first.digest
    kept.write_bytes(kept.read_bytes()[:50])
    assert rows_of_training(layout.root, layout.problem, origin) is None
    write_parquet(layout.matrix("train"), pd.DataFrame({"__row__": np.arange(10) * 10}))
    assert rows_of_training(layout.root, layout.problem, origin).digest == first.digest


def test_a_table_that_the_matrices_were_not_made_of_says_nothing(layout: ProblemLayout) -> None:
    origin = lineage(layout, dvc_sum(layout.tidy))
    write_parquet(layout.tidy, houses(100, seed=1))
    assert rows_of_training(layout.root, layout.problem, origin) is None
    write_parquet(layout.tidy, houses(20))
    assert rows_of_training(layout.root, layout.problem, lineage(layout, "")) is None
    layout.tidy.unlink()
    assert rows_of_training(layout.root, layout.problem, origin) is None
