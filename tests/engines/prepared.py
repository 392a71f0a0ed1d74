"""A small problem prepared on one machine and on Spark, for tests that compare the two."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from lockstep.config.layout import SPARK, ProblemLayout
from lockstep.config.params import Params, Problem, Sample, Training, load_params
from lockstep.data.preprocess import missing_values, tidy
from lockstep.engines.partitions import TrainingRows
from lockstep.engines.preparing import learn_encoder, read_rows, write_matrices, write_tidy
from lockstep.features.encoder import encoder_of
from lockstep.features.matrices import classes_of, encode_parts
from lockstep.features.split import split_rows
from lockstep.models.matrices import matrix_of
from lockstep.models.model_type import Recipe
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
class Prepared:
    """A problem's data of one machine and of Spark."""

    schema: Schema
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
        decision = settings(self.schema.name).decision
        return TrainingInput(own, decision, self.schema, self.encoder, parts)

    def recipe(self, model_type: str, **params: Any) -> Recipe:
        """Return what the same training's estimator is built from."""
        return replace(self.job(model_type, **params).recipe, n_jobs=1)


def params() -> Params:
    return load_params(PROJECT)


def settings(problem: str) -> Problem:
    return params().problem(problem)


def training(model_type: str, problem: str) -> Training:
    return params().training(problem, model_type)


def prepare(spark: Any, problem: str, root: Path, partitions: int = 2) -> Prepared:
    """Prepare a small sample of a problem both ways."""
    schema, section = load_schema(problem), settings(problem)
    layout = ProblemLayout(root, problem, SPARK)
    sample = import_module(f"lockstep.problems.{problem}.sample")
    sample.write_sample(SAMPLES[problem], layout.raw)
    table, quality = tidy(layout.raw, "sample", schema, section.preprocess)
    parts, classes = split_rows(table, schema, section.split), classes_of(table, schema)
    encoder = encoder_of(schema, section.features)
    matrices = encode_parts(table, parts, schema, classes, encoder)
    layout.tidy.mkdir(parents=True)
    theirs = write_tidy(
        spark, layout.raw, "sample", schema, section.preprocess, layout.tidy, CHUNK_ROWS
    )
    own = encoder_of(schema, section.features)
    rows = read_rows(layout.tidy, schema, section)
    (root / "known").mkdir()
    learned, chunks = learn_encoder(spark, own, rows, schema, layout.tidy, root / "known")
    write_matrices(spark, learned, chunks, schema, partitions, layout.features)
    assert missing_values(table) == quality["missing"]
    return Prepared(schema, table, quality, matrices, encoder, layout, theirs, own)
