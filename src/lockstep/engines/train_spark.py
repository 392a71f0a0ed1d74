"""Stage train_spark: fit one model type on Spark; calibrate, evaluate, write and log it as ever."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyspark.sql import SparkSession

from lockstep.config.layout import PARTS, SPARK, ProblemLayout, stage_root
from lockstep.config.params import load_params
from lockstep.console import warn
from lockstep.engines.fitting import fit_on_spark
from lockstep.engines.partitions import TrainingRows
from lockstep.engines.session import spark_session
from lockstep.engines.slots import slots_of
from lockstep.engines.tasks import run_tasks
from lockstep.errors import run_command
from lockstep.features.matrix_columns import GROUP, ROW, TARGET
from lockstep.io import read_parquet
from lockstep.models import types
from lockstep.models.artifact import import_skops
from lockstep.models.matrices import Matrix, matrix_of
from lockstep.models.model_type import Fitted
from lockstep.models.train_multi_model import (
    read_encoder,
    stage_arguments,
    summary,
    unstopped,
    write_outputs,
)
from lockstep.models.training import scores
from lockstep.models.training_run import (
    Trained,
    TrainingInput,
    check_decision,
    evaluated,
    metrics_of,
)
from lockstep.problems.schema import load_schema
from lockstep.registry.train_stage import importing_ahead, publish_training

CODE_MODULES = (
    "lockstep.features.columns_v1",
    "lz4",
    "lockstep.models.types.{type}",
    "lockstep.models.types.spark_{type}",
)
"""What is imported by name: the encoder's and the model file's needs, and the type."""
CODE_LEFT_OUT = ("lockstep.registry",)
"""Where and how a run is logged changes no result."""


def run(root: Path, problem: str, model_type: str) -> None:
    """Train one type on Spark from a workspace's files into its outputs."""
    layout = ProblemLayout.of(root, problem, model_type)
    rows = TrainingRows.of(layout)
    job = read_job(layout, model_type, rows)
    check_decision(job)
    slots = slots_of(model_type, len(rows.partitions))
    with spark_session(app=f"train_spark {problem} {model_type}", slots=slots) as spark:
        rounds = job.training.early_stopping_rounds
        fitted = fit_on_spark(spark, model_type, job.recipe, rows, rounds)
        trained = evaluate_on_spark(spark, job, fitted, rows)
    metrics = metrics_of(job, trained)
    write_outputs(layout, job, trained, metrics)
    print(f"{problem} {model_type}: {summary(metrics)}")
    if said := unstopped(job, trained):
        warn(f"{problem} {model_type}: {said}")


def read_job(layout: ProblemLayout, model_type: str, rows: TrainingRows) -> TrainingInput:
    """Read what a training is made from, but the features of the training rows stay on Spark."""
    params = load_params(layout.root)
    types.model_type(model_type)
    return TrainingInput(
        training=params.training(layout.problem, model_type),
        decision=params.problem(layout.problem).decision,
        schema=load_schema(layout.problem),
        encoder=(encoder := read_encoder(layout.encoder)),
        parts={
            "train": _known_of_training(rows, list(encoder.get_feature_names_out())),
            **{part: matrix_of(read_parquet(layout.matrix(part))) for part in PARTS[1:]},
        },
    )


def _known_of_training(rows: TrainingRows, names: list[str]) -> Matrix:
    """Return target, group and number of the training rows, with the names of their features."""
    known = rows.columns([TARGET, GROUP, ROW])
    columns = (known[name].to_numpy() for name in (TARGET, GROUP, ROW))
    return Matrix(pd.DataFrame(columns=names, dtype=np.float64), *columns)


def evaluate_on_spark(
    spark: SparkSession, job: TrainingInput, fitted: Fitted, rows: TrainingRows
) -> Trained:
    """Calibrate, score and decide what was fitted; training rows are scored where they are."""
    task, kind = job.schema.task, job.kind

    def score(model: Any, part: str) -> NDArray[Any]:
        if part != "train":
            return scores(model, job.parts[part].features, task, kind)
        work = partial(_scored, model, rows, task, job.training.type)
        return np.concatenate(run_tasks(spark, work, range(len(rows.partitions))))

    return evaluated(job, fitted, score)


def _scored(model: Any, rows: TrainingRows, task: str, name: str, number: int) -> NDArray[Any]:
    features = rows.read_partition(number).features
    return scores(model, features, task, types.model_type(name))


def main() -> None:
    """Parse the command line that DVC gives, train, and let the registry know."""
    script = "`python src/models/train_spark.py --problem {problem} --models {type}`"
    arguments = stage_arguments("lockstep.engines.train_spark", __doc__, script)
    root, name = stage_root(), f"{SPARK}_{arguments.type}"
    import_skops()
    with importing_ahead(root):
        run(root, arguments.problem, name)
    publish_training(root, arguments.problem, name)


if __name__ == "__main__":
    run_command(main)
