"""The work of log_spark_model: a version's model → spark.ml → the version's run."""

from __future__ import annotations

import tempfile
from pathlib import Path

from lockstep.engines.session import spark_session
from lockstep.engines.spark_ml import check_predictions, spark_pipeline
from lockstep.registry.artifact.loading import open_version
from lockstep.registry.artifact.model_cache import Located
from lockstep.registry.publishing.spark_model import log_spark_model
from lockstep.registry.store.connection import Client


def log(client: Client, located: Located, root: Path, master: str | None) -> str:
    """Log a version's model as one of spark.ml; return its address."""
    model = open_version(located)
    with (
        tempfile.TemporaryDirectory(prefix=".spark-model-", dir=root) as folder,
        spark_session(master, app="log_spark_model") as spark,
    ):
        pipeline = spark_pipeline(spark, model, Path(folder) / "trees")
        check_predictions(spark, model, pipeline)
        return log_spark_model(client, located.version, pipeline, Path(folder))
