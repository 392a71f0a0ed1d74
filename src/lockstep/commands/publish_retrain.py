"""A retrain in the registry: one run, each model a new version in Staging, the best released.

The models are those that DVC left in the workspace; nothing is trained here.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lockstep.commands.train_models import is_whole
from lockstep.config.gates import gates_of
from lockstep.config.layout import ProblemLayout
from lockstep.config.params import load_params
from lockstep.config.settings import load_settings
from lockstep.errors import ArtifactError, ConfigError, RegistryError
from lockstep.models.artifact import model_digest
from lockstep.models.golden_rows import check_golden
from lockstep.models.scoring.prediction import Model as Loaded
from lockstep.promotion.configured import check_sections
from lockstep.promotion.gates import Case, floors, golden
from lockstep.registry.artifact.loading import golden_of
from lockstep.registry.artifact.locating import locate
from lockstep.registry.artifact.released import Released, checked_pointer, release
from lockstep.registry.publishing.known import Published
from lockstep.registry.publishing.new_versions import publish_anew
from lockstep.registry.publishing.outputs import Outputs, read_outputs
from lockstep.registry.publishing.parent_runs import parent_record, write_comparison
from lockstep.registry.publishing.runs import Record, log_run
from lockstep.registry.record.registered_models import get_model
from lockstep.registry.store import connection
from lockstep.registry.store.connection import Client
from lockstep.registry.store.names import PROBLEM_TAG, RETRAIN_TAG
from lockstep.registry.store.queries import end_abandoned

STAGE = "Staging"
RELEASED = "lockstep.released"
"""The tag of a retrain's run with the digest of the model that it released."""


@dataclass
class Retrained:
    """A retrain's run, versions by type, and released model; ``unfit`` says why others aren't."""

    experiment: str
    run_id: str = ""
    versions: dict[str, Published] = field(default_factory=dict)
    released: Released | None = None
    released_type: str = ""
    unfit: dict[str, str] = field(default_factory=dict)


def check_ready(root: Path, problem: str) -> None:
    """Refuse a retrain that could not register or release, before anything is trained."""
    settings = load_settings(root)
    if not settings.publish:
        off = f"publishing is off ({settings.source_of('publish')})"
        raise ConfigError(f"{off}, and a retrain makes versions; turn it on")
    if not settings.log_model:
        raise ConfigError("mlflow.log_model is false, and a retrain makes versions; set it to true")
    check_sections(settings.gates)
    checked_pointer(ProblemLayout(root, problem))
    client = connection.connect(settings, root)
    with connection.translating_mlflow_errors():
        connection.experiment_id(client, root, experiment_of(problem))


def experiment_of(problem: str) -> str:
    """Return the name of the experiment that holds a problem's retrains."""
    return f"{problem.replace('_', '-')}-retrain"


@contextmanager
def _store_failures() -> Iterator[None]:
    """Raise a failure of the tracking store as one line."""
    try:
        yield
    except connection.store_errors() as error:
        connection.raise_interrupt(error)
        raise RegistryError(
            f"the tracking store failed: {connection.one_line(error)}; the trained models are "
            "kept, run the command again"
        ) from error


@_store_failures()
def publish_retrain(
    root: Path,
    problem: str,
    types: Sequence[str],
    best_first: Sequence[str],
    params: Mapping[str, Any],
) -> Retrained:
    """Log a retrain's run, make a version of each model, release the first fit of ``best_first``.

    ``params`` are the retrain's options. Where no model is fit, what is served stays.
    """
    settings = replace(load_settings(root), default_stage=STAGE, auto_transition_to_staging=False)
    outputs = {name: read_outputs(root, problem, name) for name in types}
    client = connection.connect(settings, root)
    done = Retrained(experiment_of(problem))
    experiment = connection.experiment_id(client, root, done.experiment)
    # An earlier retrain may have been killed.
    end_abandoned(client, client.search_runs([experiment], "attributes.status = 'RUNNING'"))
    metric = load_params(root).problem(problem).compare.metric
    whole = is_whole(load_params(root), problem, types)

    def make_versions(run_id: str) -> None:
        done.run_id = run_id
        for name, one in outputs.items():
            tags = {RETRAIN_TAG: run_id}
            done.versions[name] = publish_anew(client, settings, one, experiment, tags)
            print(done.versions[name].line, flush=True)
        made = ", ".join(f"{one.name} {one.version}" for one in done.versions.values())
        client.set_tag(run_id, "lockstep.versions", made)
        _release_best(client, root, outputs, best_first, done)
        if done.released is not None:
            client.set_tag(run_id, RELEASED, done.versions[done.released_type].digest)

    with connection.fluent(client.tracking_uri), tempfile.TemporaryDirectory() as made:
        if whole and settings.log_artifacts:  # the compare stage compares all types together
            write_comparison(ProblemLayout(root, problem), Path(made), metric)
        record = _record(problem, outputs, params, best_first[0], metric)
        log_run(client, experiment, record, Path(made), None, then=make_versions)
    return done


def _record(
    problem: str, outputs: dict[str, Outputs], params: Mapping[str, Any], champion: str, metric: str
) -> Record:
    """Return what a retrain's run logs: its options, all models' metrics, the champion."""
    found = list(outputs.values())
    commit = found[0].lineage
    source = {"mlflow.source.name": "retrain_model.py", "mlflow.source.type": "PROJECT"}
    known = {"mlflow.source.git.commit": commit.commit} if commit.known else {}
    tags = {PROBLEM_TAG: problem, **source, **known}
    return parent_record(f"retrain {problem}", found, tags, {**params, "metric": metric}, champion)


def _release_best(
    client: Client,
    root: Path,
    outputs: dict[str, Outputs],
    best_first: Sequence[str],
    done: Retrained,
) -> None:
    """Release the best model that passes its checks; note why the ones before it don't."""
    for name in best_first:
        try:
            done.released = release_version(client, root, outputs[name], done.versions[name])
        except ArtifactError as error:  # a store that is away says nothing of the model
            done.unfit[name] = str(error)
        else:
            done.released_type = name
            return


def release_version(client: Client, root: Path, outputs: Outputs, published: Published) -> Released:
    """Let `production.pkl` name a copy of the workspace's model, which this version has registered.

    ArtifactError where the version is below a floor, fails a check on loading, or where the
    workspace's file is another model.
    """
    model = get_model(client, published.name)
    version = model.version(int(published.version or 0))
    case = Case(client, root, model, version, gates_of(load_settings(root).gates, outputs.problem))
    check_alone(case)
    facts = {
        "name": version.name,
        "version": version.version,
        "run_id": version.run_id,
        "retrain": version.tag("retrain"),
        **outputs.lineage.tags,
        "data_dvc_hash": version.tag("data_dvc_hash"),
    }
    return release(outputs.layout, outputs.type, facts, same_model(case))


def check_alone(case: Case) -> None:
    """Raise an ArtifactError where a version fails a check that needs no champion."""
    for name, check in (("floors", floors), ("golden rows", golden)):
        passed, message = check(case)
        if not passed:
            raise ArtifactError(f"{name}: {message}")


def same_model(case: Case) -> Callable[[Loaded], None]:
    """Return a check that a file holds a version's model: by its digest and its golden rows."""
    version = case.version
    located = locate(case.client, version, case.root)
    _, rows, outputs = golden_of(located)

    def check(model: Loaded) -> None:
        if model_digest(model.pipeline) != version.tag("model_digest"):
            another = f"the workspace's file is another model than {version.title}"
            raise ArtifactError(f"{another}; run `dvc repro`")
        check_golden(model.pipeline, rows, outputs, version.title)

    return check
