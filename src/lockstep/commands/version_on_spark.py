"""The work of log_spark_model: a version's model → spark.ml → the version's run."""

from __future__ import annotations

from pathlib import Path

from lockstep.engines.scratch import scratch_folder
from lockstep.engines.session import spark_session
from lockstep.engines.spark_ml import check_predictions, forest_of, spark_pipeline
from lockstep.registry.artifact.loading import open_version
from lockstep.registry.artifact.model_cache import Located
from lockstep.registry.publishing.spark_model import log_spark_model
from lockstep.registry.store.connection import Client


def log(client: Client, located: Located, root: Path, master: str | None) -> str:
    """Log a version's model as one of spark.ml; return its address."""
    model = open_version(located)
    forest_of(model)  # refuses before Java starts
    with (
        scratch_folder(root, "spark-model") as folder,
        spark_session(master, app="log_spark_model") as spark,
    ):
        pipeline = spark_pipeline(spark, model, folder / "trees")
        check_predictions(spark, model, pipeline)
        return log_spark_model(client, located.version, pipeline, folder)
