"""Where the page's positions come from: a version's reference, else the workspace's training rows.

Nothing of a row is in it, only counts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.serving.conftest import LOCAL, NAME, Running, Trained, client_of

from lockstep.config.layout import ProblemLayout
from lockstep.data.values import fit_check
from lockstep.io import read_json, read_parquet
from lockstep.models.golden_rows import golden_rows
from lockstep.models.typical_record import typical_of_training
from lockstep.monitoring.bins import Bins, bins_of, counted_by
from lockstep.monitoring.feature_counts import FeatureCounts, counts_of_training
from lockstep.monitoring.reference import MONTHS, Feature, Reference
from lockstep.problems.schema import load_schema
from lockstep.registry.artifact.files import GOLDEN, REFERENCE
from lockstep.registry.lifecycle.moves import promote
from lockstep.serving import strongest_features
from lockstep.serving.model_source import ModelSource
from lockstep.serving.openapi import example
from lockstep.serving.request_parsing import RecordReader
from lockstep.serving.strongest_features import by_effect

ACCIDENTS = load_schema("accidents")


def facts_of(page: bytes) -> dict[str, Any]:
    found = re.search(r'id="facts">(.*?)</script>', page.decode())
    assert found is not None
    return dict(json.loads(found[1]))


def test_a_files_page_counts_the_training_rows_of_its_workspace(
    credit: Trained, credit_server: Running
):
    page = credit_server.get("/").body
    layout = ProblemLayout(credit.root, credit.problem)
    rows = read_parquet(layout.matrix("train"), ["__row__"])["__row__"]
    train = read_parquet(layout.tidy).iloc[rows]
    assert f"among the {len(train):,} rows that the model was trained on." in page.decode()
    columns = facts_of(page)["columns"]
    housing, income = columns["housing"]["counts"], columns["income"]["counts"]
    found = dict(zip(housing["values"], housing["rows"], strict=False))
    assert {k: n for k, n in found.items() if n} == train["housing"].value_counts().to_dict()
    below = np.searchsorted(np.sort(train["income"]), income["edges"], side="left")
    assert np.cumsum(income["rows"])[:-1].tolist() == below.tolist()
    years = train["employment_years"]
    assert columns["employment_years"]["counts"]["missing"] == years.isna().sum()


def test_counts_are_those_of_the_model_or_none(credit: Trained):
    layout = ProblemLayout(credit.root, credit.problem)
    card = read_json(layout.model_card(credit.type))
    found = counts_of_training(layout, credit.schema, card)
    assert found is not None
    assert found.rows == card["rows"]["train"]
    assert {counts.sum() for _, counts in found.features.values()} == {found.rows}
    other = {"rows": {"train": card["rows"]["train"] + 1}}
    assert counts_of_training(layout, credit.schema, other) is None
    assert counts_of_training(ProblemLayout(credit.root, "accidents"), ACCIDENTS, card) is None


def reference(rows: int) -> Reference:
    """Return a reference of golden rows; a third of them has no date, the others are of May."""
    table = golden_rows(ACCIDENTS, rows, 1)
    months = np.where(np.arange(rows) % 3, 5, 0)
    features = {}
    for column in ACCIDENTS.features:
        bins = bins_of(column, table[column.name], np.arange(rows))
        counts = counted_by(months, MONTHS, bins.places(table[column.name]), bins.size)
        features[column.name] = Feature(column.name, bins, counts)
    many = {"features": rows, "feature_groups": rows, "scored": 0, "scored_groups": 0}
    scores = np.zeros((2, 2, 2), dtype=np.int64)
    return Reference("accidents", "binary", features, Bins((), (0.5,)), scores, 0.5, {}, many)


@pytest.fixture
def shipped(root: Path) -> Callable[[str], None]:
    """Put a text into the place of the versions' references; version 1 is in Production."""
    promote(client_of(root), NAME, 1)
    folders = [file.parent for file in root.glob(f"mlruns/**/{GOLDEN}")]
    assert len(folders) == 2

    def write(content: str) -> None:
        for folder in folders:
            (folder / REFERENCE).write_text(content)

    return write


def test_a_versions_page_counts_what_its_reference_counts(
    root: Path, shipped: Callable[[str], None], source_of: Callable[..., ModelSource]
):
    shipped(json.dumps(reference(900).content))
    served = source_of(root, **LOCAL).served
    assert served is not None
    page = served.page.begun().result(30)
    assert "among the 900 rows of the model’s data: training, validation".encode() in page
    counts = facts_of(page)["columns"]["lum"]["counts"]
    assert sum(counts["rows"]) + counts["missing"] == 900


@pytest.mark.parametrize("content", ["{", '{"format": 1}', '{"format": 99}', None])
def test_a_version_without_a_sound_reference_is_served_and_the_page_says_so(
    root: Path,
    shipped: Callable[[str], None],
    source_of: Callable[..., ModelSource],
    content: str | None,
):
    if content is not None:
        shipped(content)
    source = source_of(root, **LOCAL)
    assert source.served is not None
    assert not source.degraded
    assert b"is not known here" in source.served.page.begun().result(30)


def test_the_features_that_move_the_score_most_come_first(credit: Trained):
    model, reader = credit.model, RecordReader(credit.schema)
    layout = ProblemLayout(credit.root, credit.problem)
    card = read_json(layout.model_card(credit.type))
    counts = counts_of_training(layout, credit.schema, card)
    record = example(credit.schema, typical_of_training(layout, credit.schema, card))
    order = by_effect(model.scorer, reader, record, counts)
    assert sorted(order) == sorted(credit.schema.feature_names)

    def effect(name: str) -> float:
        values = tried(counts, name)
        fitting = [v for v in values if fit_check(credit.schema.columns[name])(v)]
        body = json.dumps([record | {name: value} for value in fitting] + [record]).encode()
        read = reader.read(body, 1000)
        return float(np.ptp(model.scorer.score(read.columns, read.rows)))

    effects = [effect(name) for name in order]
    assert effects[0] == max(effects)
    assert effects[0] > 3 * effects[-1]


def test_only_the_first_features_of_a_wide_table_are_tried(
    credit: Trained, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(strongest_features, "MOST_FEATURES", 3)
    names, rows = credit.schema.feature_names, []
    reader = RecordReader(credit.schema)
    read = reader.read
    monkeypatch.setattr(reader, "read", lambda body, most: rows.append(most) or read(body, most))
    order = by_effect(credit.model.scorer, reader, example(credit.schema))
    assert sorted(order[:3]) == sorted(names[:3])
    assert order[3:] == names[3:]
    assert rows[0] <= 3 * strongest_features.TRIED + 1


def tried(counts: FeatureCounts | None, name: str) -> list[Any]:
    """Return all that the rows are known to hold: each listed value, or each bin's mean."""
    assert counts is not None
    bins, _ = counts.features[name]
    values = list(bins.centers) if bins.values is None else list(bins.values)
    return [round(v) if name == "credit_score" else v for v in values]
