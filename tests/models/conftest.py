"""A small synthetic problem: encoded categories, missing values and a numeric target side."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lockstep.models.matrices import Columns, Matrix

KINDS = {"age": "numeric", "road": "categorical", "speed": "numeric", "light": "ordered"}


def make_matrix(seed: int, rows: int = 600) -> Matrix:
    rng = np.random.default_rng(seed)
    age, speed = rng.uniform(0, 90, rows), rng.choice([30.0, 50, 80, 110], rows)
    road, light = rng.integers(0, 8, rows).astype(float), rng.integers(1, 5, rows).astype(float)
    margin = 0.03 * (speed - 60) + 0.5 * np.sin(road) + 0.02 * (age - 40) + 0.2 * light - 0.5
    truth = 1 / (1 + np.exp(-margin))
    target = (rng.random(rows) < truth).astype(np.int8)
    age[rng.random(rows) < 0.05] = np.nan
    frame = pd.DataFrame({"age": age, "road": road, "speed": speed, "light": light})
    return Matrix(frame, target, np.arange(rows) // 2, np.arange(rows), truth)


@pytest.fixture(scope="session")
def columns() -> Columns:
    return Columns(KINDS)


@pytest.fixture(scope="session")
def train() -> Matrix:
    return make_matrix(1, 1500)


@pytest.fixture(scope="session")
def stop() -> Matrix:
    return make_matrix(2)


@pytest.fixture(scope="session")
def choose() -> Matrix:
    return make_matrix(3)


PARAMS = """
problems:
  accidents:
    model_types: [logistic_regression, random_forest, xgboost, lightgbm]
    compare: {resamples: 100}
train:
  accidents-logistic_regression: \
{problem: accidents, type: logistic_regression, params: {C: 0.1, bins: 6}}
  accidents-random_forest:
    {problem: accidents, type: random_forest, calibration: isotonic, \
params: {n_estimators: 12, min_samples_leaf: 5}}
  accidents-xgboost:
    problem: accidents
    type: xgboost
    calibration: sigmoid
    early_stopping_rounds: 5
    cv_folds: 2
    params: {n_estimators: 60, learning_rate: 0.2, max_depth: 3}
  accidents-lightgbm:
    problem: accidents
    type: lightgbm
    early_stopping_rounds: 5
    params: {n_estimators: 60, learning_rate: 0.2, num_leaves: 7}
"""
DERIVED = ({"name": "com_accidents", "kind": "frequency", "of": ["com"]},)


def make_rows(rows: int, seed: int) -> pd.DataFrame:
    """Rows of the accident problem's 28 features, none of them real."""
    from lockstep.models.golden_rows import golden_rows
    from lockstep.problems.schema import load_schema

    return golden_rows(load_schema("accidents"), rows, seed).head(rows)


def make_workspace(root: Path) -> None:
    """Write params.yaml, encoder and encoded matrices of a small accident problem in ``root``."""
    import joblib

    from lockstep.config.layout import PARTS, ProblemLayout
    from lockstep.features.columns_v1 import ColumnEncoder
    from lockstep.io import write_json, write_parquet
    from lockstep.problems.schema import load_schema

    layout = ProblemLayout(root, "accidents")
    (root / "params.yaml").write_text(PARAMS)
    (root / "dvc.yaml").write_text("stages: {}\n")
    declared = [
        {"name": c.name, "kind": c.kind, "codes": list(c.codes), "encode": c.encode}
        for c in load_schema("accidents").features
    ]
    encoder = ColumnEncoder(declared, DERIVED)
    for number, part in enumerate(PARTS):
        raw = make_rows(600 if part == "train" else 300, seed=number)
        rng = np.random.default_rng(number)
        margin = (raw["agg_"] == 1) * 1.5 + raw["hour"].fillna(12) / 12 - 2 + (raw["catv"] == 1)
        truth = 1 / (1 + np.exp(-margin.to_numpy()))
        target = (rng.random(len(raw)) < truth).astype(np.int8)
        encoded = encoder.fit_transform(raw, target) if part == "train" else encoder.transform(raw)
        row = np.arange(len(raw)) + 1000 * number
        extra = {"__target__": target, "__group__": row // 2, "__row__": row, "__truth__": truth}
        write_parquet(layout.matrix(part), encoded.reset_index(drop=True).assign(**extra))
    joblib.dump(encoder, layout.encoder, protocol=5)
    write_json(layout.label_encoder, {"classes": [0, 1]})


@pytest.fixture(scope="session")
def trained_workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace where every declared type was trained and compared."""
    from lockstep.models import compare_models, train_multi_model

    root = tmp_path_factory.mktemp("workspace")
    make_workspace(root)
    for name in ("logistic_regression", "random_forest", "xgboost", "lightgbm"):
        train_multi_model.run(root, "accidents", name)
    compare_models.run(root, "accidents")
    return root


@pytest.fixture(scope="session")
def raw_rows() -> Callable[[int, int], pd.DataFrame]:
    """Rows of the accident problem's features by number and seed."""
    return make_rows


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A workspace in which nothing was trained."""
    make_workspace(tmp_path)
    return tmp_path
