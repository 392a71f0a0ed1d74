"""The accidents' derived columns on the real table of 2021: worth what they claim, and no leak."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lockstep.config.params import Features
from lockstep.features.encoder import encoder_of
from lockstep.problems.schema import load_schema

REAL = Path(__file__).parents[2].parent / "shared" / "data" / "accidents" / "onisr_2021_prepared"
RATES = ["com_rate", "com_road_rate", "crash_rate", "near_10_rate", "near_50_rate", "near_150_rate"]

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(
        not REAL.is_dir(), reason="the prepared table of 2021 is not beside the project"
    ),
]


@pytest.fixture(scope="module")
def encoded() -> dict[str, tuple[pd.DataFrame, np.ndarray]]:
    schema = load_schema("accidents")
    encoder = encoder_of(schema, Features())
    parts = {}
    for part in ("train", "test"):
        table = pd.read_csv(REAL / f"X_{part}.csv").astype(float)[schema.feature_names]
        target = pd.read_csv(REAL / f"y_{part}.csv")["grav"].to_numpy()
        parts[part] = (
            encoder.fit_transform(table, target) if part == "train" else encoder.transform(table),
            target,
        )
    return parts


def auc(parts: dict[str, tuple[pd.DataFrame, np.ndarray]], part: str, name: str) -> float:
    from sklearn.metrics import roc_auc_score

    table, target = parts[part]
    return float(roc_auc_score(target, table[name]))


@pytest.mark.parametrize("name", RATES)
def test_a_rate_tells_as_much_of_training_rows_as_of_new_ones(encoded, name):
    """A leak would look better on rows it was learned from; out of fold it sees 80 % of them."""
    on_training, on_test = auc(encoded, "train", name), auc(encoded, "test", name)
    assert on_test > 0.65
    assert abs(on_training - on_test) < 0.02


def test_density_tells_town_from_country(encoded):
    assert auc(encoded, "test", "near_50_km") > 0.65
    train, test = (encoded[part][0]["near_50_km"].median() for part in ("train", "test"))
    assert test == pytest.approx(train, rel=0.1)


def test_every_code_of_the_real_table_is_known(encoded):
    table = encoded["train"][0]
    coded = [
        column.name
        for column in load_schema("accidents").features
        if column.codes and column.encode
    ]
    assert len(coded) == 16
    assert not (table[coded] == 1).any().any()
