"""A small problem prepared on one machine and on Spark, for tests that compare the two."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lockstep.config.layout import PARTS, SPARK, ProblemLayout
from lockstep.config.params import Params, Problem, Sample, Split, Training, load_params
from lockstep.data.preprocess import missing_values, tidy
from lockstep.engines import forest
from lockstep.engines.fitting import fit_on_spark
from lockstep.engines.partitions import TrainingRows
from lockstep.engines.preparing import learn_encoder, read_rows, write_matrices, write_tidy
from lockstep.features.encoder import encoder_of
from lockstep.features.matrices import classes_of, encode_parts
from lockstep.features.matrix_columns import ROW
from lockstep.features.split import split_rows
from lockstep.io import read_parquet
from lockstep.joblib_files import write_joblib
from lockstep.models.artifact import model_digest
from lockstep.models.matrices import matrix_of
from lockstep.models.model_type import Recipe
from lockstep.models.training import pipeline_of
from lockstep.models.training_run import TrainingInput
from lockstep.problems.schema import Schema, load_schema

PROJECT = Path(__file__).parents[2]
SAMPLES = {
    "accidents": Sample(units=900, seed=3, years=[2019, 2021]),
    "california_housing": Sample(units=1500, seed=4),
    "credit_risk": Sample(units=2500, seed=5),
}
CHUNK_ROWS = 700


@dataclass(frozen=True)
class Given:
    """A problem's declaration and raw files."""

    schema: Schema
    section: Problem
    raw: Path
    kind: str = "sample"


@dataclass(frozen=True)
class Prepared:
    """A problem's data of one machine and of Spark."""

    schema: Schema
    section: Problem
    table: Any
    quality: dict[str, Any]
    matrices: dict[str, Any]
    encoder: Any
    layout: ProblemLayout
    spark_quality: dict[str, Any]
    spark_encoder: Any

    @property
    def rows(self) -> TrainingRows:
        """The training rows on Spark."""
        return TrainingRows.of(self.layout)

    def job(self, model_type: str, **params: Any) -> TrainingInput:
        """Return a training of one machine with some other hyperparameters."""
        own = training(model_type, self.schema.name)
        own = own.model_copy(update={"params": {**own.params, **params}, "cv_folds": 0})
        parts = {part: matrix_of(matrix) for part, matrix in self.matrices.items()}
        return TrainingInput(own, self.section.decision, self.schema, self.encoder, parts)

    def recipe(self, model_type: str, **params: Any) -> Recipe:
        """Return what the same training's estimator is built from."""
        return replace(self.job(model_type, **params).recipe, n_jobs=1)


def params() -> Params:
    return load_params(PROJECT)


def settings(problem: str) -> Problem:
    return params().problem(problem)


def training(model_type: str, problem: str) -> Training:
    """Return a training of params.yaml, or a bare one for a problem that it doesn't hold."""
    if problem in params().problems:
        return params().training(problem, model_type)
    return Training(problem=problem, type=model_type)


def prepare(spark: Any, problem: str, root: Path, partitions: int = 2) -> Prepared:
    """Prepare a small sample of a problem both ways."""
    given = Given(load_schema(problem), settings(problem), root / "sample")
    sample = import_module(f"lockstep.problems.{problem}.sample")
    sample.write_sample(SAMPLES[problem], given.raw)
    return prepare_given(spark, given, root, partitions)


def prepare_given(
    spark: Any, given: Given, root: Path, partitions: int = 2, chunk_rows: int = CHUNK_ROWS
) -> Prepared:
    """Prepare what is given both ways."""
    schema, section = given.schema, given.section
    layout, source = ProblemLayout(root, schema.name, SPARK), (given.raw, given.kind, schema)
    table, quality = tidy(*source, section.preprocess)
    parts, classes = split_rows(table, schema, section.split), classes_of(table, schema)
    encoder = encoder_of(schema, section.features)
    matrices = encode_parts(table, parts, schema, classes, encoder)
    layout.tidy.mkdir(parents=True)
    theirs = write_tidy(spark, *source, section.preprocess, layout.tidy, chunk_rows)
    own = encoder_of(schema, section.features)
    rows = read_rows(spark, layout.tidy, schema, section)
    (root / "known").mkdir()
    learned, chunks = learn_encoder(spark, own, rows, schema, layout.tidy, root / "known")
    write_matrices(spark, learned, chunks, schema, partitions, layout.features)
    assert missing_values(table) == quality["missing"]
    return Prepared(schema, section, table, quality, matrices, encoder, layout, theirs, own)


def houses(rows: int = 1200) -> pd.DataFrame:
    """Return houses whose state size, heating and place tell; one in forty is a ruin."""
    draw = np.random.default_rng(0)
    size, heating = draw.lognormal(4.3, 0.4, rows).round(1), draw.choice(["gas", "wood"], rows)
    place = draw.integers(0, 12, (rows, 2)) / 4
    margin = [0.03 * size + (heating == "gas"), place.sum(axis=1) + 1, np.full(rows, 1.8)]
    state = (2 * np.column_stack(margin) + draw.gumbel(size=(rows, 3))).argmax(axis=1)
    size[draw.random(rows) < 0.1] = np.nan
    size[:200] = 50.0  # some of them are alike in every feature
    table = {"state": np.array(["à neuf", "bon état", "en ruine"])[state], "size": size}
    return pd.DataFrame({**table, "heating": heating, "lat": place[:, 0], "long": place[:, 1]})


HOUSES = {
    "name": "credit_lendingclub",
    "title": "",
    "task": "multiclass",
    "unit": "house",
    "registered_name": "Houses",
    "experiment": "houses",
    "columns": {
        "state": {"kind": "target", "codes": {"bon état": "", "en ruine": "", "à neuf": ""}},
        "size": {"kind": "numeric", "missing": True},
        "heating": {"kind": "categorical", "codes": {"gas": "", "wood": ""}},
        "lat": {"kind": "numeric"},
        "long": {"kind": "numeric"},
    },
    "derived": [
        {"name": "block", "kind": "target_encoded", "of": ["heating", "lat"]},
        {"name": "near", "kind": "neighbour_rate", "of": ["lat", "long"]},
        {"name": "curve", "kind": "spline", "of": ["size"]},
    ],
}
"""A problem of three classes, under a name that has a folder, no loader and no trainings."""


def prepare_houses(spark: Any, root: Path, partitions: int = 2) -> Prepared:
    """Prepare the problem of three classes both ways."""
    section = Problem(split=Split(kind="group", alike="together"), model_types=["lightgbm"])
    given = Given(Schema.model_validate(HOUSES), section, root / "sample", "table")
    given.raw.mkdir(parents=True)
    houses().to_csv(given.raw / "houses.csv", index=False)
    return prepare_given(spark, given, root, partitions)


def same_cells(found: Prepared) -> None:
    """Assert that tidy rows, their quality, matrices and encoder are those of one machine."""
    pd.testing.assert_frame_equal(read_parquet(found.layout.tidy), found.table, check_exact=True)
    assert found.spark_quality == found.quality
    for part in PARTS:
        there = read_parquet(found.layout.matrix(part)).sort_values(ROW, ignore_index=True)
        pd.testing.assert_frame_equal(there, found.matrices[part], check_exact=True)
    streams = [io.BytesIO(), io.BytesIO()]
    for stream, encoder in zip(streams, (found.encoder, found.spark_encoder), strict=True):
        write_joblib(stream, encoder)
    assert streams[0].getvalue() == streams[1].getvalue()


def digest(found: Prepared, estimator: Any) -> str:
    """Return the digest of a model with the problem's encoder."""
    return model_digest(pipeline_of(found.encoder, estimator))


def check_conversion(
    spark: Any,
    found: Prepared,
    params: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> Any:
    """Fit a forest twice; assert one digest, and the predictions of spark.ml's own model.

    Return it.
    """
    models, build = [], forest._estimator

    def kept(recipe: Any) -> Any:
        estimator = build(recipe)
        monkeypatch.setattr(
            estimator,
            "fit",
            lambda table: models.append((e := type(estimator).fit(estimator, table), table)) or e,
        )
        return estimator

    monkeypatch.setattr(forest, "_estimator", kept)
    recipe = replace(found.recipe("random_forest"), params=params)
    fits = [fit_on_spark(spark, "spark_random_forest", recipe, found.rows) for _ in range(2)]
    assert digest(found, fits[0].estimator) == digest(found, fits[1].estimator)
    model, table = models[0]
    column = "prediction" if recipe.task == "regression" else "probability"
    theirs = np.array([row[0] for row in model.transform(table).select(column).collect()])
    features = pd.concat([found.rows.read_partition(number).features for number in range(2)])
    own = fits[0].estimator
    ask = own.predict if recipe.task == "regression" else own.predict_proba
    np.testing.assert_allclose(ask(features), theirs, rtol=0, atol=1e-9)
    assert len(next(iter(fits[0].history.values()))) == params["n_estimators"]
    return own
