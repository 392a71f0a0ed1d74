"""Accident rows and models of them, some really better, for tests that compare versions."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from lockstep.config.layout import ProblemLayout
from lockstep.config.params import Features
from lockstep.config.settings import CONFIG_FILE
from lockstep.features.encoder import encoder_of
from lockstep.features.matrix_columns import GROUP, ROW, TARGET
from lockstep.io import write_json, write_parquet
from lockstep.models.golden_rows import golden_rows
from lockstep.models.matrices import Matrix, columns_of
from lockstep.models.model_type import Recipe
from lockstep.models.training import fit, pipeline_of
from lockstep.problems.schema import load_schema
from lockstep.registry.artifact.files import ROWS_FILE
from lockstep.registry.artifact.training_rows import TrainingRows, row_keys, to_bytes

ROWS = 5000
SHARES = {"train": 0.4, "stop": 0.05, "choose": 0.05, "test": 0.5}
NIGHT = 5
STRONG, WEAK, TWIN, NIGHT_BLIND = "strong", "weak", "twin", "night-blind"
SEEDS = {TWIN: 3}


@cache
def tidy() -> pd.DataFrame:
    """Return rows, two an accident; agglomeration, hour and vehicle say much about the target."""
    rows = golden_rows(load_schema("accidents"), ROWS, 7).head(ROWS).reset_index(drop=True)
    rng = np.random.default_rng(0)
    rows["lum"] = np.where(rng.random(ROWS) < 0.12, float(NIGHT), 1.0)
    rows["catu"], rows["sexe"] = rng.integers(1, 4, ROWS) + 0.0, rng.integers(1, 3, ROWS) + 0.0
    rows["catv"], rows["agg_"] = rng.integers(1, 5, ROWS) + 0.0, rng.integers(1, 3, ROWS) + 0.0
    rows["hour"] = rng.integers(0, 24, ROWS) + 0.0
    margin = 2.5 * (rows["agg_"] == 1) + rows["hour"] / 6 - 4 + 1.5 * (rows["catv"] == 1)
    target = (rng.random(ROWS) < 1 / (1 + np.exp(-margin))).astype(np.int64)
    ids = pd.Series([f"a{number // 2}" for number in range(ROWS)])
    return rows.assign(accident_id=ids, grav=target)


def parts(table: pd.DataFrame) -> pd.Series:
    """Return each row's part, accidents whole, in the order of the table."""
    edges = np.cumsum([0, *SHARES.values()]) * len(table)
    return pd.cut(pd.Series(range(len(table))), edges, right=False, labels=list(SHARES))


def write_data(root: Path) -> None:
    """Write the tidy table and what the matrices say of its rows."""
    table, layout = tidy(), ProblemLayout(root, "accidents")
    write_parquet(layout.tidy, table)
    write_json(layout.label_encoder, {"classes": [0, 1]})
    told = parts(table)
    for part in SHARES:
        rows = np.flatnonzero(told == part)
        frame = {ROW: rows, TARGET: table["grav"].to_numpy()[rows], GROUP: rows // 2}
        write_parquet(layout.matrix(part), pd.DataFrame(frame))


@cache
def model(kind: str) -> Pipeline:
    """Fit one of the models on the training rows."""
    table = tidy()
    rows = table[(parts(table) == "train").to_numpy()]
    names = load_schema("accidents").feature_names
    target = rows["grav"].to_numpy()
    if kind == NIGHT_BLIND:
        target = np.where(rows["lum"] == NIGHT, 1 - target, target)
    used = {WEAK: ["hour"]}.get(kind, ["agg_", "hour", "catv", "lum"])
    schema = load_schema("accidents")
    # An encoder reads every declared column; one that never varies tells a model nothing.
    fixed = {name: rows[name].iloc[0] for name in names if name not in used}
    encoder = encoder_of(schema, Features())
    encoded, row = encoder.fit_transform(rows[names].assign(**fixed), target), np.arange(len(rows))
    part = Matrix(encoded, target, row, row)
    name = "xgboost"
    params = {
        "n_estimators": 60,
        "learning_rate": 0.1,
        "max_depth": 3,
        "min_child_weight": 10,
        "subsample": 0.8,
    }
    if kind == WEAK:
        name, params = "logistic_regression", {}
    recipe = Recipe("binary", columns_of(encoder, schema), params, SEEDS.get(kind, 0))
    return pipeline_of(encoder, fit(name, recipe, part, part).estimator)


def enter(home: Any, name: str, kind: str, seen: str = "train", **tags: Any) -> int:
    """Register a model in a workspace's registry, with the rows of the parts it has seen."""
    table = tidy()
    rows = table[parts(table).isin(seen.split()).to_numpy()]
    keys = row_keys(rows, load_schema("accidents"))
    held = TrainingRows(np.unique(keys.keys), keys.identity)
    told = {"seen_digest": held.digest, "test_roc_auc": 0.8, **tags}
    number = int(home.register(name, model(kind), **told))
    (home.artifact(name, number) / ROWS_FILE).write_bytes(to_bytes(held))
    return number


def configure(root: Path, gates: str = "", policy: str = "always") -> None:
    """Write the workspace's model_config.yaml: the policy, and gates as a flow mapping."""
    path = root / CONFIG_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    section = f"{{registration_policy: {policy}, gates: {{{gates}}}}}"
    path.write_text(f"mlflow: {{model_registry: {section}}}\n")
