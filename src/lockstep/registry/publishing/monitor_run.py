"""A run for each analysis of a served model, linked to the version that it watched."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mlflow.entities import Metric, RunTag

from lockstep.registry.store.connection import (
    Client,
    experiment_id,
    translating_mlflow_errors,
)
from lockstep.registry.store.names import MONITORED_TAG, MONITORING_SUFFIX
from lockstep.registry.store.versions import Version


def log_analysis(
    client: Client,
    root: Path,
    experiment: str,
    version: Version,
    name: str,
    months: Mapping[str, Mapping[str, float]],
    tags: Mapping[str, str],
    folder: Path,
    time_ms: int,
) -> str:
    """Log a run with the metrics of each month, in order, and the files of a folder."""
    with translating_mlflow_errors():
        number = experiment_id(client, root, experiment + MONITORING_SUFFIX)
        link = {MONITORED_TAG: f"{version.name}/{version.version}"}
        run = client.create_run(number, time_ms, {**tags, **link}, name)
        run_id = str(run.info.run_id)
        found = [
            Metric(metric, value, time_ms, step)
            for step, figures in enumerate(months.values())
            for metric, value in figures.items()
        ]
        if found:
            client.log_batch(run_id, metrics=found, tags=[RunTag("months", ",".join(months))])
        client.log_artifacts(run_id, str(folder))
        client.set_terminated(run_id)
    return run_id
