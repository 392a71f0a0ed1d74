"""Models are compared on rows that none of them has seen, or not at all."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.registry.loaded import load_version

from lockstep.config.layout import ProblemLayout
from lockstep.errors import RegistryError
from lockstep.io import write_parquet
from lockstep.models.golden_rows import golden_rows
from lockstep.problems.schema import load_schema
from lockstep.promotion.holdout import (
    NEW_MODEL,
    Holdout,
    all_rows,
    holdout,
    scored,
    seen_by,
    unseen,
)
from lockstep.registry.artifact.files import ROWS_FILE
from lockstep.registry.artifact.training_rows import TrainingRows, row_keys, to_bytes
from lockstep.registry.record.registered_models import get_model

SCHEMA = load_schema("accidents")
NAME, OTHER = "Accident_Prediction_XGBoost", "Accident_Prediction_Random_Forest"
FIRST = 202_100_000_000


def write_tidy(root: Path, rows: int = 200, order: np.ndarray | None = None) -> pd.DataFrame:
    """Write a tidy table of accidents of two people each."""
    features = golden_rows(SCHEMA, rows, seed=5).head(rows).reset_index(drop=True)
    own = {"accident_id": FIRST + np.arange(rows) // 2, "person_id": np.arange(rows)}
    table = features.assign(grav=(features["vma"].fillna(0) > 300).astype("int64"), **own)
    table = table if order is None else table.iloc[order].reset_index(drop=True)
    write_parquet(ProblemLayout(root, "accidents").tidy, table)
    return table


def seen_of(accidents) -> TrainingRows:
    keys = row_keys(
        pd.DataFrame({"accident_id": FIRST + np.asarray(accidents, dtype=np.int64)}), SCHEMA
    )
    return TrainingRows(np.unique(keys.keys), keys.identity)


def register(home, name, pipeline, accidents=None, **tags):
    """Register a version fitted on the accidents at some places; None: it doesn't say which."""
    if accidents is None:
        number = home.register(name, pipeline, **tags)
        return get_model(home.client, name).version(number)
    seen = seen_of(accidents)
    number = home.register(name, pipeline, seen_digest=seen.digest, **tags)
    (home.artifact(name, number) / ROWS_FILE).write_bytes(to_bytes(seen))
    return get_model(home.client, name).version(number)


def rows_for(home, *versions) -> Holdout:
    return holdout(home.client, home.root, "accidents", versions)


def test_rows_are_those_that_neither_side_has_seen(home, pipeline, other_pipeline):
    table = write_tidy(home.root)
    versions = [
        register(home, NAME, pipeline, range(60)),
        register(home, OTHER, other_pipeline, range(40, 80)),
    ]
    found = rows_for(home, *versions)
    assert found.table["accident_id"].tolist() == table["accident_id"].tolist()[160:]
    assert found.target.tolist() == table["grav"].tolist()[160:]
    assert len(found.groups) == 40
    assert len(set(found.groups.tolist())) == 20
    assert found.classes == [0, 1]


def test_a_model_that_is_no_version_yet_counts_too(home, pipeline):
    write_tidy(home.root)
    version = register(home, NAME, pipeline, range(60))
    named = [(version.title, seen_by(home.client, version, home.root))]
    found = unseen(home.root, "accidents", [*named, (NEW_MODEL, seen_of(range(60, 99)))])
    assert found.table["accident_id"].unique().tolist() == [FIRST + 99]


def test_the_order_of_the_table_does_not_matter(home, pipeline):
    write_tidy(home.root)
    version = register(home, NAME, pipeline, range(30))
    one = rows_for(home, version)
    write_tidy(home.root, order=np.random.default_rng(0).permutation(200))
    other = rows_for(home, version)
    assert sorted(one.table["person_id"]) == sorted(other.table["person_id"])
    assert one.digest != other.digest


def test_no_rows_left_says_how_to_get_some(home, pipeline):
    write_tidy(home.root)
    version = register(home, NAME, pipeline, range(100))
    with pytest.raises(
        RegistryError, match=r"fitted or tuned on every row of accidents .* `make add-data"
    ):
        rows_for(home, version)


def test_no_table_says_how_to_get_it(home, pipeline):
    version = register(home, NAME, pipeline, range(100))
    with pytest.raises(
        RegistryError, match=r"has no data/accidents/tidy.parquet .* `dvc repro preprocess@acc"
    ):
        rows_for(home, version)


@pytest.mark.parametrize(
    "tags", [{}, {"data_digest": "another"}, {"data_digest": "x", "type": "no_such"}]
)
def test_a_version_that_does_not_say_what_it_saw_is_not_compared(home, pipeline, tags):
    write_tidy(home.root)
    version = register(home, NAME, pipeline, **tags)
    with pytest.raises(
        RegistryError, match=f"{NAME} version 1 does not say which rows it was fitted on"
    ):
        rows_for(home, version)


@pytest.mark.parametrize("kind", ["gone", "cut off", "another version's", "a pickle"])
def test_damaged_groups_are_refused_in_one_line(home, pipeline, kind):
    write_tidy(home.root)
    version = register(home, NAME, pipeline, range(60))
    file = home.artifact(NAME, 1) / ROWS_FILE
    if kind == "gone":
        file.unlink()
    elif kind == "cut off":
        file.write_bytes(file.read_bytes()[:-40])
    else:
        other = to_bytes(seen_of(range(3))) if kind.startswith("another") else pickle.dumps(print)
        file.write_bytes(other)
    with pytest.raises(
        RegistryError, match=f"^{NAME} version 1: its {ROWS_FILE} .*; register it again with `dvc"
    ):
        rows_for(home, version)


def test_the_same_model_registered_again_with_other_groups(home, pipeline):
    """Both versions have one digest, and so one place in the cache of downloads."""
    write_tidy(home.root)
    first, second = (register(home, NAME, pipeline, range(count)) for count in (60, 80))
    assert len(rows_for(home, first).target) == 80
    assert len(rows_for(home, second).target) == 40
    assert len(rows_for(home, first).target) == 80


def test_groups_of_another_making_are_not_compared(home, pipeline):
    table = write_tidy(home.root)
    version = register(home, NAME, pipeline, range(60))
    tidy = ProblemLayout(home.root, "accidents").tidy
    write_parquet(tidy, table.assign(accident_id=table["accident_id"].astype(str)))
    with pytest.raises(
        RegistryError, match=r"by the group accident_id \(number\), .* train a new version"
    ):
        rows_for(home, version)


@pytest.fixture
def model(home, pipeline):
    """A model out of the registry, which was fitted on nothing of the workspace's table."""
    write_tidy(home.root)
    register(home, NAME, pipeline, [])
    return load_version(home.client, home.root, NAME, version=1)


def unable(model):
    """The same model without the means to score."""
    return replace(model, pipeline=None)


def test_scores_are_kept_by_model_and_rows(home, model):
    rows = all_rows(home.root, "accidents")
    first = scored(model, "m", rows, home.root)
    assert (first.target == rows.target).all()
    assert (first.score == model.score(rows.table[SCHEMA.feature_names])).all()
    assert first.threshold == 0.4
    assert (scored(unable(model), "m", rows, home.root).score == first.score).all()
    half = rows.take(np.arange(len(rows.target)) % 2 == 0)
    assert len(scored(model, "m", half, home.root).score) == 100
    for digest, of in (("another", rows), ("m", rows.take(rows.target == 1))):
        with pytest.raises(AttributeError):
            scored(unable(model), digest, of, home.root)


@pytest.mark.parametrize("content", [b"", b"no zip", None])
def test_damaged_scores_are_made_anew(home, model, content):
    rows = all_rows(home.root, "accidents")
    first = scored(model, "m", rows, home.root)
    (kept,) = (home.root / ".lockstep/cache/scores").iterdir()
    good = kept.read_bytes()
    kept.write_bytes(good[:-200] if content is None else content)
    assert (scored(model, "m", rows, home.root).score == first.score).all()
    assert kept.read_bytes() == good


def test_a_table_that_lacks_a_column_is_told(home, model):
    rows = all_rows(home.root, "accidents")
    short = replace(rows, table=rows.table.drop(columns=["vma", "lum"]))
    with pytest.raises(
        RegistryError, match=f"{NAME} 1 needs vma, lum, which this workspace's table lacks"
    ):
        scored(model, "m", short, home.root)
