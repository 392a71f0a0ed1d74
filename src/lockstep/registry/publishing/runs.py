"""MLflow runs from plain records: what is logged, apart from where it comes from."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param
from mlflow.models import Model

from lockstep.io import sha256_json
from lockstep.registry.artifact.packaging import Flavor, Package

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput

    from lockstep.registry.store.connection import Client

ARTIFACT_BYTES = "lockstep.artifact_bytes"
"""The tag of a logged model that says how long its model.skops is: a listing then shows where it was cut off."""
SUMS_DIGEST = "lockstep.sums_digest"
"""The tag of a logged model and its versions with the digest of the list of its files' sums."""
BATCH = 1000
PARAMS_BATCH = 100
_TIMEOUT, _RETRIES = "MLFLOW_HTTP_REQUEST_TIMEOUT", "MLFLOW_HTTP_REQUEST_MAX_RETRIES"


@dataclass(frozen=True)
class DataPart:
    """One part of a problem's data, as MLflow's data set."""

    name: str
    context: str
    digest: str
    source: dict[str, Any]
    profile: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Record:
    """Everything one run logs. ``metrics`` are by the data part they were measured on ("" for none)."""

    name: str
    tags: dict[str, str]
    params: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)
    series: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    parts: dict[str, DataPart] = field(default_factory=dict)


@dataclass(frozen=True)
class Logged:
    """The ids of a run and of the model in it."""

    run_id: str
    model_id: str | None


def log_run(
    client: Client,
    experiment_id: str,
    record: Record,
    folder: Path | None,
    packed: Package | None,
    then: Callable[[str], None] | None = None,
) -> Logged:
    """Log one run with its files and its model; a failure inside leaves the run marked FAILED.

    ``then`` is called with the run's id before it counts as finished; a run that it logs lies below this one.
    Needs MLflow's global functions pointed at the client's store (``store.fluent``).
    """
    with (
        ExitStack() as patience,
        mlflow.start_run(
            experiment_id=experiment_id, run_name=record.name, tags=record.tags, nested=True
        ) as run,
        _hurried_on_failure(patience),
    ):
        run_id: str = run.info.run_id
        if record.parts:
            client.log_inputs(run_id, datasets=[_input(part) for part in record.parts.values()])
        _log_params(client, run_id, record.params)
        if folder is not None:
            mlflow.log_artifacts(str(folder))
        model_id = _log_model(record, packed) if packed else None
        _log_metrics(client, run_id, model_id, record)
        if then is not None:
            then(run_id)
    return Logged(run_id, model_id)


@contextmanager
def asked(timeout: int | None = None, retries: int = 0) -> Iterator[None]:
    """Bound how long and how often MLflow asks a server within the block: it reads both at every request."""
    bounds = {_RETRIES: str(retries), **({_TIMEOUT: str(timeout)} if timeout else {})}
    before = {name: os.environ.get(name) for name in bounds}
    os.environ.update(bounds)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _hurried_on_failure(patience: ExitStack) -> Iterator[None]:
    """After a failure leave only a moment for marking the run FAILED: a server that hangs was waited for already.

    A run that stays open is marked by ``find_run`` at the next publishing.
    """
    try:
        yield
    except BaseException:
        patience.enter_context(asked(timeout=2))
        raise


def find_run(client: Client, experiment_id: str, tags: dict[str, str | None]) -> Logged | None:
    """Return the finished run with these tags (None: without that tag), and its model.

    Runs that a crash left open are marked FAILED on the way.
    """
    condition = " and ".join(
        f"tags.`{key}` = '{value}'" for key, value in tags.items() if value is not None
    )
    found = client.search_runs([experiment_id], condition, order_by=["attributes.start_time DESC"])
    mine = [
        run for run in found if all(run.data.tags.get(key) == value for key, value in tags.items())
    ]
    for run in mine:
        if run.info.status == "RUNNING":
            client.set_terminated(run.info.run_id, "FAILED")
    finished = next((run.info.run_id for run in mine if run.info.status == "FINISHED"), None)
    if finished is None:
        return None
    outputs = client.get_run(finished).outputs
    models = outputs.model_outputs if outputs else []
    return Logged(finished, models[0].model_id if models else None)


def flattened(content: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of nested dictionaries under joined names, as MLflow's params want them."""
    for key, value in content.items():
        if isinstance(value, dict):
            yield from flattened(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _log_params(client: Client, run_id: str, params: dict[str, Any]) -> None:
    listed = [Param(key, str(value)) for key, value in params.items()]
    for start in range(0, len(listed), PARAMS_BATCH):
        client.log_batch(run_id, params=listed[start : start + PARAMS_BATCH])


def _log_model(record: Record, packed: Package) -> str:
    """Log the model folder against the active run; return the logged model's id."""
    flavor = Flavor(packed)
    info = Model.log(
        artifact_path=None,
        name="model",
        flavor=flavor,
        tags=record.tags | {ARTIFACT_BYTES: str(len(packed.content))},
        model_type=packed.card["type"],
        serialization_format="skops",
        # Its example was predicted already, as one of the golden rows.
        validate_serving_input=False,
    )
    # Known only now: MLmodel, one of the files, names the model's id.
    mlflow.set_logged_model_tags(info.model_id, {SUMS_DIGEST: flavor.sums_digest})
    return str(info.model_id)


def _log_metrics(client: Client, run_id: str, model_id: str | None, record: Record) -> None:
    """Log metrics against the model and the data they were measured on, and series step by step."""
    now = int(time.time() * 1000)
    logged = []
    for label, values in record.metrics.items():
        part = record.parts.get(label)
        belongs = {"dataset_name": part.name, "dataset_digest": part.digest} if part else {}
        logged += [
            Metric(key, value, now, 0, model_id=model_id, run_id=run_id, **belongs)
            for key, value in values.items()
        ]
    for key, points in record.series.items():
        logged += [Metric(key, value, now, step, run_id=run_id) for step, value in points]
    for start in range(0, len(logged), BATCH):
        client.log_batch(run_id, metrics=logged[start : start + BATCH])


def _input(part: DataPart) -> DatasetInput:
    content = {
        "source": json.dumps(part.source, sort_keys=True),
        "profile": json.dumps(part.profile),
    }
    data = Dataset(name=part.name, digest=part.digest, source_type="code", **content)
    return DatasetInput(data, tags=[InputTag("mlflow.data.context", part.context)])


def part_digest(data_digest: str, part: str) -> str:
    """Return the digest of one part of a data set, in the 32 characters that MLflow has room for."""
    return sha256_json([data_digest, part])[:32]
