"""The second form of a version: a model of spark.ml beside it, in its run."""

from __future__ import annotations

from importlib.metadata import version as distribution
from pathlib import Path
from typing import Any

import mlflow.spark

from lockstep.registry.store.connection import Client
from lockstep.registry.store.names import SPARK_MODEL_TAG
from lockstep.registry.store.versions import Version

PLACE = "spark_model"


def log_spark_model(client: Client, version: Version, pipeline: Any, folder: Path) -> str:
    """Save a pipeline of spark.ml in a version's run and tag the version with its address.

    ``folder`` is new, and Spark's nodes reach it. The files have random names, so a run that has
    such a folder already, as of a command that was stopped, gets another one.
    """
    pins = [f"{name}=={distribution(name)}" for name in ("pyspark", "mlflow")]
    mlflow.spark.save_model(
        pipeline, str(folder / "model"), dfs_tmpdir=str(folder / "tmp"), pip_requirements=pins
    )
    run_id = str(version.run_id)
    taken = {file.path for file in client.list_artifacts(run_id)}
    names = [PLACE, *(f"{PLACE}_{number}" for number in range(2, len(taken) + 3))]
    place = next(name for name in names if name not in taken)
    client.log_artifacts(run_id, str(folder / "model"), place)
    address = f"runs:/{run_id}/{place}"
    client.set_model_version_tag(version.name, str(version.version), SPARK_MODEL_TAG, address)
    return address
