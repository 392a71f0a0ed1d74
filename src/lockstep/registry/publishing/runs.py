"""MLflow runs from plain records: what is logged, apart from where it comes from."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import DatasetInput, Metric, Param, RunTag
from mlflow.models import Model
from mlflow.tracking.context.registry import resolve_tags

from lockstep.registry.artifact.packaging import Package
from lockstep.registry.publishing.registration import Decision
from lockstep.registry.publishing.spans import Span
from lockstep.registry.store import owners
from lockstep.registry.store.connection import Client, request_limits, retry_conflicts
from lockstep.registry.store.names import (
    BYTES_TAG,
    NAME_TAG,
    PARENT_TAG,
    PROCESS_TAG,
    REGISTRATION_TAG,
    SUMS_TAG,
)
from lockstep.registry.store.queries import Logged

_UNNAMEABLE = re.compile(r"[^\w.\- :]")
"""Signs that MLflow allows in no parameter's name, or only in some places."""
_LONGEST_PARAM = 240
"""MLflow takes 250 characters."""


@dataclass(frozen=True)
class Record:
    """Everything one run logs; ``metrics`` by the data part they were measured on ("" for none)."""

    name: str
    tags: dict[str, str]
    model_tags: dict[str, str] = field(default_factory=dict)
    """What the logged model has besides ``tags``."""
    params: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)
    series: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    parts: dict[str, DatasetInput] = field(default_factory=dict)
    span: Span | None = None
    """When that happened which it is about; None: while it is logged."""


def log_run(
    client: Client,
    experiment_id: str,
    record: Record,
    folder: Path | None,
    packed: Package | None,
    then: Callable[[str], None] | None = None,
) -> Logged:
    """Log one run with its files and its model; after an error the run is marked FAILED.

    ``then`` is called with the run's id before it counts as finished; runs that it logs become
    children of this one. Needs ``connection.fluent``.
    """
    with (
        ExitStack() as patience,
        _started(client, experiment_id, record) as run,
        _hurried_on_failure(patience),
    ):
        run_id: str = run.info.run_id
        if parts := list(record.parts.values()):  # rows that other trainings of a problem share
            retry_conflicts(partial(client.log_inputs, run_id, datasets=parts), rows=len(parts))
        _log_params(client, run_id, record.params)
        if folder is not None:
            mlflow.log_artifacts(str(folder))
        model_id = _log_model(record, packed) if packed else None
        _log_metrics(client, run_id, model_id, record)
        if then is not None:
            then(run_id)
    if record.span is not None:
        client.set_terminated(run_id, "FINISHED", record.span.end)
    return Logged(run_id, model_id)


def _started(client: Client, experiment_id: str, record: Record) -> mlflow.ActiveRun:
    """Start a run and make it the active one; only MLflow's client can give it another start."""
    known = {**record.tags, PROCESS_TAG: owners.to_tag()}
    if record.span is None:
        return mlflow.start_run(
            experiment_id=experiment_id, run_name=record.name, tags=known, nested=True
        )
    above = mlflow.active_run()
    parent = {PARENT_TAG: above.info.run_id} if above else {}
    tags = resolve_tags({**known, **parent, NAME_TAG: record.name})
    made = client.create_run(experiment_id, record.span.start, tags, record.name)
    return mlflow.start_run(run_id=made.info.run_id, nested=True)


@contextmanager
def _hurried_on_failure(patience: ExitStack) -> Iterator[None]:
    """After an error, mark the run FAILED only if that is quick: ``find_run`` marks it else."""
    try:
        yield
    except BaseException:
        patience.enter_context(request_limits(timeout=2))
        raise


def note_decision(client: Client, run_id: str, decision: Decision) -> None:
    """Note on a model's run whether it got a version, and the figures that were compared."""
    if not decision.detail:
        return
    outcome = "refused" if decision.refused else "registered"
    now = int(time.time() * 1000)
    client.log_batch(
        run_id,
        metrics=[Metric(key, value, now, 0) for key, value in decision.figures.items()],
        tags=[RunTag(REGISTRATION_TAG, f"{outcome}: {decision.detail}")],
    )


def flattened(content: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of nested dictionaries under joined names, as MLflow's params need."""
    for key, value in content.items():
        if isinstance(value, dict):
            yield from flattened(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _log_params(client: Client, run_id: str, params: dict[str, Any]) -> None:
    named = param_names(params)
    client.log_batch(run_id, params=[Param(named[key], str(params[key])) for key in params])


def param_names(keys: Iterable[str]) -> dict[str, str]:
    """Return MLflow's name of each parameter: labels in them may hold signs that it refuses."""
    named: dict[str, str] = {}
    for key in keys:
        name = _UNNAMEABLE.sub("_", key)[:_LONGEST_PARAM]
        # Two labels may differ in these signs only.
        named[key] = name if name not in named.values() else f"{name}-{len(named)}"
    return named


def _log_model(record: Record, packed: Package) -> str:
    """Log the model folder against the active run; return the logged model's id."""
    info = Model.log(
        artifact_path=None,
        name="model",
        flavor=packed,
        tags=record.model_tags | record.tags | {BYTES_TAG: str(len(packed.content))},
        model_type=packed.card["type"],
        serialization_format="skops",
        # The example is a golden row, and so was predicted already.
        validate_serving_input=False,
    )
    # The sums are known only now: MLmodel, one of the files, holds the model's id.
    mlflow.set_logged_model_tags(info.model_id, {SUMS_TAG: packed.sums_digest})
    return str(info.model_id)


def _log_metrics(client: Client, run_id: str, model_id: str | None, record: Record) -> None:
    now = int(time.time() * 1000)
    logged = []
    for label, values in record.metrics.items():
        data = record.parts[label].dataset if label in record.parts else None
        belongs = {"dataset_name": data.name, "dataset_digest": data.digest} if data else {}
        logged += [
            Metric(key, value, now, 0, model_id=model_id, run_id=run_id, **belongs)
            for key, value in values.items()
        ]
    for key, points in record.series.items():
        logged += [Metric(key, value, now, step, run_id=run_id) for step, value in points]
    client.log_batch(run_id, metrics=logged)
