"""A run for each analysis of a served model, linked to the version that it watched."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from mlflow.entities import Metric, RunTag

from lockstep.registry.store import owners
from lockstep.registry.store.connection import (
    Client,
    experiment_id,
    request_limits,
    store_errors,
    translating_mlflow_errors,
)
from lockstep.registry.store.names import MONITORED_TAG, MONITORING_SUFFIX, PROCESS_TAG
from lockstep.registry.store.queries import end_abandoned
from lockstep.registry.store.versions import Version

_OPEN = "attributes.status = 'RUNNING'"


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
    found = [
        Metric(metric, value, time_ms, step)
        for step, figures in enumerate(months.values())
        for metric, value in figures.items()
    ]
    with translating_mlflow_errors():
        number = experiment_id(client, root, experiment + MONITORING_SUFFIX)
        end_abandoned(client, client.search_runs([number], _OPEN))
        link = {MONITORED_TAG: f"{version.name}/{version.version}", PROCESS_TAG: owners.to_tag()}
        run = client.create_run(number, time_ms, {**tags, **link}, name)
        run_id = str(run.info.run_id)
        try:
            if found:
                client.log_batch(run_id, metrics=found, tags=[RunTag("months", ",".join(months))])
            client.log_artifacts(run_id, str(folder))
        except BaseException:
            # If the store fails again, the next analysis marks the run.
            with suppress(*store_errors()), request_limits(timeout=2):
                client.set_terminated(run_id, "FAILED")
            raise
        client.set_terminated(run_id)
    return run_id
