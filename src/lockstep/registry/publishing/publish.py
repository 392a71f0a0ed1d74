"""One idempotent way from a training's outputs to its version in the registry, for the train stage and for register.

Everything is read from the outputs on disk, so what `register` rebuilds is what the train stage logs (timings
excepted). A model is known by its digest: what the registry has is not made again.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from lockstep.config.settings import Settings, load_settings
from lockstep.errors import ArtifactError, RegistryError
from lockstep.registry.artifact.integrity import lost_artifact
from lockstep.registry.artifact.training_rows import to_bytes
from lockstep.registry.publishing.destinations import experiment_of, model_name, registers
from lockstep.registry.publishing.outputs import Outputs, read_outputs
from lockstep.registry.publishing.run_content import record
from lockstep.registry.publishing.run_files import write_files
from lockstep.registry.publishing.runs import Logged, asked, find_run, log_run
from lockstep.registry.publishing.tags import (
    CLOSURE,
    COMMITTED_AS,
    DIGEST,
    EXPERIMENT,
    INPUTS_DIGEST,
    PROBLEM,
    STAGE,
    TYPE,
    noted_tags,
    run_tags,
    version_tags,
)
from lockstep.registry.store import connection, uris

if TYPE_CHECKING:
    from lockstep.registry.artifact.packaging import Package
    from lockstep.registry.store.connection import Client


_ROUNDS = 10
"""Times that a model is judged while others get their versions in between."""


@dataclass(frozen=True)
class Published:
    """A model's place in the registry; ``version`` is None for a run that registers nothing, or why it is refused."""

    name: str
    version: int | None
    stage: str
    run_id: str
    digest: str
    new: bool
    refused: str = ""


def import_ahead(root: Path) -> None:
    """Begin to import what logging needs, beside the training: it takes as long as a small model's fit."""
    if load_settings(root).publish:
        _AHEAD.append(Thread(target=_import_slow, daemon=True))
        _AHEAD[-1].start()


_AHEAD: list[Thread] = []
"""Imports that were begun: two threads amid MLflow's circular imports would see half of its modules."""


def _import_slow() -> None:
    import matplotlib.backends.backend_agg
    import matplotlib.figure  # noqa: F401
    import mlflow.sklearn
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401


def publish_training(
    root: Path, problem: str, model_type: str, timings: dict[str, float] | None = None
) -> Published | None:
    """Log one training's run and register its model, unless the registry has it; None where nothing was done.

    A server that is down, or a store's full disk, costs a loud warning and no more; `dvc repro` registers it the
    next time.
    Raises ArtifactError or DataError for outputs that are damaged or missing.
    """
    settings = load_settings(root)
    outputs = read_outputs(root, problem, model_type)
    if settings.publish_later:
        print(f"{problem} {model_type} is trained; the retrain registers it", file=sys.stderr)
        return None
    if not settings.publish:
        _say(
            f"publishing is off ({settings.source_of('publish')}): {problem} {model_type} is not logged"
        )
        return None
    for begun in _AHEAD:
        begun.join()
    from mlflow.exceptions import MlflowException

    try:
        client = connection.connect(settings, root)
        known = versions_by_digest(client, problem)
        published = publish(client, settings, outputs, known, timings)
    except (RegistryError, MlflowException, OSError) as error:  # requests' errors are OSErrors
        connection.raise_interrupt(error)
        _say(
            f"WARNING {problem} {model_type} is trained and kept, but not in the registry: "
            f"{connection.one_line(error)}; the next `dvc repro` registers it"
        )
        return None
    print(line(published), file=sys.stderr)
    return published


def publish(
    client: Client,
    settings: Settings,
    outputs: Outputs,
    known: dict[tuple[str, str], Any],
    timings: dict[str, float] | None = None,
) -> Published:
    """Return a model's version, made where ``known`` (of ``versions_by_digest``) lacks it or lost its artifact."""
    name = model_name(settings, outputs.problem, outputs.type)
    found = known.get((name, outputs.digest))
    lost = (
        lost_artifact(client, found, outputs.root)
        if found is not None and settings.log_model
        else ""
    )
    if found is not None:
        if not lost:
            note_commit(client, found, outputs)
            return _published(found, new=False)
        _say(f"WARNING {name} version {found.version}: {lost}; it is registered anew")
    with connection.fluent(uris.resolve_uri(settings, outputs.root)):
        logged = _run_of(client, settings, outputs, timings, again=bool(lost))
        if logged.model_id is None or not registers(settings):
            return Published(name, None, "None", logged.run_id, outputs.digest, new=True)
        if lost:
            return register(client, settings, name, outputs, logged, again=True)
        return _admitted(client, settings, name, outputs, logged)


def _admitted(
    client: Client, settings: Settings, name: str, outputs: Outputs, logged: Logged
) -> Published:
    """Register a new model, if the policy lets it in; judged again as long as others come in between."""
    from lockstep.promotion.if_better import IF_BETTER, judged
    from lockstep.registry.publishing.registration import OthersCame

    if settings.registration_policy != IF_BETTER:
        return register(client, settings, name, outputs, logged)
    for _ in range(_ROUNDS):
        told = judged(client, name, outputs, logged.run_id, settings.gates)
        if told.refused:
            return Published(
                name, None, "None", logged.run_id, outputs.digest, new=False, refused=told.refused
            )
        try:
            return register(client, settings, name, outputs, logged, among=told.among)
        except OthersCame as error:
            _say(str(error))
    raise RegistryError(
        f"{name} got other versions each of {_ROUNDS} times it was judged; run the command again"
    )


def publish_anew(
    client: Client,
    settings: Settings,
    outputs: Outputs,
    experiment: str,
    tags: Mapping[str, str],
) -> Published:
    """Log a model's run in an experiment and make a version of it, whether the registry has that model or not.

    An explicit act, which no registration policy judges. ``tags`` are the run's besides its own; those of the project
    go on the version too. The stage is ``settings.initial_stage``.
    """
    name = model_name(settings, outputs.problem, outputs.type)
    with connection.fluent(uris.resolve_uri(settings, outputs.root)):
        logged = _log(client, experiment, settings, outputs, None, tags)
        return register(client, settings, name, outputs, logged, again=True, tags=tags)


def note_commit(client: Client, version: Any, outputs: Outputs) -> None:
    """Tag a version that was made with uncommitted inputs with the commit that has them now, if this one has."""
    tags = version.tags
    if tags.get("lockstep.dirty") != "true" or COMMITTED_AS in tags:
        return
    here = outputs.lineage
    if here.dirty == "false" and here.closure_digest == tags.get(CLOSURE):
        client.set_model_version_tag(version.name, str(version.version), COMMITTED_AS, here.commit)
        print(
            f"{version.name} version {version.version} is committed as {here.commit}",
            file=sys.stderr,
        )


def register(
    client: Client,
    settings: Settings,
    name: str,
    outputs: Outputs,
    logged: Logged,
    again: bool = False,
    among: Collection[int] | None = None,
    tags: Mapping[str, str] | None = None,
) -> Published:
    """Make the version of a logged model, in its initial stage and on record; its tags come with it in one write.

    What another process registered meanwhile is returned, unless it is to be made ``again``; OthersCame where the
    versions are no longer those it was judged ``among``. Needs MLflow's global functions pointed at the client's
    store: they resolve the model's address.
    """
    from lockstep.registry.publishing.registration import register_version

    more = {key: value for key, value in (tags or {}).items() if key.startswith("lockstep.")}
    with asked(retries=0):  # asked again, a server that was only slow would make two
        version, new = register_version(
            client,
            name,
            model_id=str(logged.model_id),
            run_id=logged.run_id,
            tags=version_tags(outputs) | noted_tags(client, str(logged.model_id)) | more,
            stage=settings.initial_stage,
            again=again,
            among=among,
        )
    return Published(
        name, version.version, version.stage, version.run_id or "", outputs.digest, new
    )


def _run_of(
    client: Client,
    settings: Settings,
    outputs: Outputs,
    timings: dict[str, float] | None,
    again: bool = False,
) -> Logged:
    """Return the run of these outputs: the one a crash left without a version, else (or ``again``) a new one."""
    experiment = experiment_of(client, settings, outputs.root, outputs.problem)
    if again:
        return _log(client, experiment, settings, outputs, timings)
    tags = run_tags(outputs)
    # The same model may come of other inputs, and a run holds its own.
    known_by = (DIGEST, TYPE, EXPERIMENT, CLOSURE, INPUTS_DIGEST)
    found = find_run(client, experiment, {key: tags.get(key) for key in known_by})
    if found is None or (settings.log_model and found.model_id is None):
        return _log(client, experiment, settings, outputs, timings)
    return found


def _log(
    client: Client,
    experiment: str,
    settings: Settings,
    outputs: Outputs,
    timings: dict[str, float] | None,
    tags: Mapping[str, str] | None = None,
) -> Logged:
    pipeline = outputs.load_pipeline()
    packed = _packed(outputs, pipeline) if settings.log_model else None
    content = record(outputs, timings)
    content = replace(content, tags={**content.tags, **(tags or {})})
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        if settings.log_artifacts:
            write_files(outputs, folder, pipeline)
        return log_run(
            client, experiment, content, folder if settings.log_artifacts else None, packed
        )


def _packed(outputs: Outputs, pipeline: Any) -> Package:
    """Make the model's package; a pipeline that is not the card's is refused."""
    from lockstep.models.artifact import digest_of
    from lockstep.registry.artifact.packaging import package

    seen = to_bytes(outputs.seen) if outputs.seen else None
    packed = package(pipeline, outputs.schema, outputs.card, seen)
    if (found := digest_of(packed.content)) != outputs.digest:
        raise ArtifactError(
            f"the {outputs.type} model of {outputs.problem} has digest {found[:12]}…, its card says "
            f"{outputs.digest[:12]}…: trained with other code; run `dvc repro`"
        )
    return packed


def versions_by_digest(client: Client, problem: str) -> dict[tuple[str, str], Any]:
    """Return a problem's versions by model name and digest, the newest where several have one."""
    found: dict[tuple[str, str], Any] = {}
    token = None
    while True:
        page = client.search_model_versions(
            f"tags.`{PROBLEM}` = '{problem}'", max_results=1000, page_token=token
        )
        for version in sorted(page, key=lambda v: int(v.version)):
            key = (version.name, version.tags.get(DIGEST, ""))
            before = found.get(key)
            if before is None or int(version.version) > int(before.version):
                found[key] = version
        token = page.token
        if not token:
            return found


def _published(version: Any, new: bool) -> Published:
    return Published(
        name=version.name,
        version=int(version.version),
        stage=version.tags.get(STAGE, "None"),
        run_id=version.run_id,
        digest=version.tags.get(DIGEST, ""),
        new=new,
    )


def line(published: Published) -> str:
    """Return one line about a model: name, version, stage, new or known."""
    what = "new" if published.new else "known"
    if published.refused:
        return f"{published.name}  not registered: {published.refused}  run {published.run_id}"
    if published.version is None:
        return f"{published.name}  not registered  run {published.run_id}  {what}"
    return f"{published.name}  version {published.version}  {published.stage}  {what}"


def _say(text: str) -> None:
    print(f"⚠ {text}", file=sys.stderr)
