"""Score every row of a credit table out of fold by every type, with and without monotone columns.

    python benchmarks/out_of_fold.py credit_lendingclub FILE

Five folds by a fixed seed. The encoder is fitted on each fold's own training rows, an eighth of
which stops boosting. The hyperparameters are those of the problem's own params.yaml. The interval
comes from 2,000 paired resamples of the rows.
"""

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from lockstep.config.params import Problem, Training
from lockstep.data.preprocess import tidy
from lockstep.evaluation.bootstrap import interval, resampled
from lockstep.evaluation.metrics import Scored, evaluate
from lockstep.features.encoder import encoder_of, input_columns
from lockstep.models.matrices import Matrix, columns_of
from lockstep.models.model_type import Recipe
from lockstep.models.training import cores, fit, scores
from lockstep.problems.schema import PROBLEMS, Schema, load_schema

FOLDS, SEED, RESAMPLES = 5, 0, 2000


def table_of(schema: Schema, file: Path, settings: Problem) -> pd.DataFrame:
    """Return the tidy table of a file."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(file, folder)
        return tidy(Path(folder), "table", schema, settings.preprocess)[0]


def without_directions(schema: Schema) -> Schema:
    """Return the schema with no monotone column."""
    content = schema.model_dump()
    for column in content["columns"].values():
        column["monotone"] = 0
    return Schema.model_validate(content)


def out_of_fold(
    table: pd.DataFrame, schema: Schema, settings: Problem, training: Training
) -> np.ndarray:
    """Return each row's score by a model fitted without its fold; uncalibrated: it keeps order."""
    draw = np.random.default_rng(SEED)
    ids, stops = draw.permutation(len(table)) % FOLDS, draw.random(len(table)) < 1 / 8
    target = table[schema.target].to_numpy().astype(np.int8)
    found = np.empty(len(table))
    for fold in range(FOLDS):
        train, stop, held = (ids != fold) & ~stops, (ids != fold) & stops, ids == fold
        encoder = encoder_of(schema, settings.features)
        inputs = table[input_columns(schema)]
        fitted = encoder.fit_transform(
            inputs[train].reset_index(drop=True), target[train], np.flatnonzero(train)
        )
        parts = [
            matrix(fitted, target[train]),
            matrix(encoder.transform(inputs[stop].reset_index(drop=True)), target[stop]),
        ]
        columns = columns_of(encoder, schema)
        recipe = Recipe("binary", columns, training.params, training.seed, cores())
        model = fit(training.type, recipe, *parts, training.early_stopping_rounds).estimator
        found[held] = scores(
            model, encoder.transform(inputs[held].reset_index(drop=True)), "binary"
        )
    return found


def matrix(features: pd.DataFrame, target: np.ndarray) -> Matrix:
    """Return rows whose groups don't matter here."""
    return Matrix(features, target, np.arange(len(target)), np.arange(len(target)))


def compare(target: np.ndarray, one: np.ndarray, other: np.ndarray) -> str:
    """Return the paired difference of two scores' AUC with its interval."""
    rows = {"one": Scored(target, one, 0.5), "other": Scored(target, other, 0.5)}
    drawn = resampled(rows, np.arange(len(target)), RESAMPLES)
    low, high = interval(drawn["one"]["roc_auc"] - drawn["other"]["roc_auc"])
    apart = evaluate(rows["one"])["roc_auc"] - evaluate(rows["other"])["roc_auc"]
    return f"{apart:+.4f} [{low:+.4f}, {high:+.4f}]"


def main(problem: str, file: str) -> None:
    """Print a line a type."""
    schema = load_schema(problem)
    content: dict[str, Any] = yaml.safe_load((PROBLEMS / problem / "params.yaml").read_text())
    settings = Problem.model_validate(content["problems"][problem])
    table = table_of(schema, Path(file), settings)
    target = table[schema.target].to_numpy()
    free = without_directions(schema)
    print(f"{problem}: {len(table):,} rows, {FOLDS} folds, seed {SEED}")
    for kind in settings.model_types:
        training = Training.model_validate(content["train"][f"{problem}-{kind}"])
        one = out_of_fold(table, schema, settings, training)
        line = f"{kind:20s} roc_auc {evaluate(Scored(target, one, 0.5))['roc_auc']:.4f}"
        if any(column.monotone for column in schema.features):
            other = out_of_fold(table, free, settings, training)
            line += f"  the constraint's effect {compare(target, one, other)}"
        print(line, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
