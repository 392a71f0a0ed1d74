"""A model that the registry lacks: its run, its package and its version."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from lockstep.config.settings import Settings
from lockstep.console import warn
from lockstep.errors import ArtifactError, RegistryError
from lockstep.models.artifact import digest_of
from lockstep.registry.artifact.damage import listed_damage
from lockstep.registry.artifact.files import REFERENCE
from lockstep.registry.artifact.packaging import Package, package
from lockstep.registry.artifact.training_rows import to_bytes
from lockstep.registry.publishing.autolog import with_autolog
from lockstep.registry.publishing.destinations import model_name, registers
from lockstep.registry.publishing.experiments import experiment_of
from lockstep.registry.publishing.intervals import interval_tags
from lockstep.registry.publishing.known import Published
from lockstep.registry.publishing.outputs import Outputs
from lockstep.registry.publishing.reference import reference_content
from lockstep.registry.publishing.registration import Decide, OthersCame, register_version
from lockstep.registry.publishing.rolling import FILE as ROLLING
from lockstep.registry.publishing.rolling import rolling_table
from lockstep.registry.publishing.run_content import record
from lockstep.registry.publishing.run_files import write_files
from lockstep.registry.publishing.runs import log_run, note_decision
from lockstep.registry.publishing.tags import noted_tags, run_tags, version_tags
from lockstep.registry.store.connection import Client, fluent, request_limits
from lockstep.registry.store.names import SAME_RUN, TAG_PREFIX
from lockstep.registry.store.queries import Logged, find_run

_ROUNDS = 10
"""Times that a model is judged again because others got their versions meanwhile."""


def publish_new(
    client: Client,
    settings: Settings,
    outputs: Outputs,
    decide: Decide | None,
    again: bool = False,
) -> Published:
    """Log a model's run, unless it has a usable one without a version, and make its version.

    A version that is made ``again``, in place of a damaged one, gets a new run and is not judged.
    """
    name = model_name(settings, outputs.problem, outputs.type)
    experiment = experiment_of(client, settings, outputs.root, outputs.problem)
    with fluent(client.tracking_uri):
        logged = _run_of(client, experiment, settings, outputs, again)
        if logged.model_id is None or not registers(settings):
            return Published(name, logged.run_id, outputs.digest, new=True)
        if again or decide is None:
            return register(client, settings, name, outputs, logged, again)
        return _register_if_allowed(client, settings, name, outputs, logged, decide)


def _run_of(
    client: Client, experiment: str, settings: Settings, outputs: Outputs, again: bool
) -> Logged:
    """Return the training's run that a crash, or a deleted version, left; or log a new one."""
    tags = run_tags(outputs)
    same = {key: tags.get(key) for key in SAME_RUN}
    found = None if again else find_run(client, experiment, same)
    if found is None:
        return _log(client, experiment, settings, outputs, again=again)
    if lack := _lack(client, settings, found):
        warn(f"WARNING run {found.run_id}: {lack}; the model gets a new run")
        return _log(client, experiment, settings, outputs, again=True)
    return found


def _lack(client: Client, settings: Settings, found: Logged) -> str:
    """Return why no version can be made of a run; empty if one can.

    The files of its model are missing if its version was pruned before it was deleted.
    """
    if found.model_id is None:
        return "it has no logged model, or it was deleted" if settings.log_model else ""
    return listed_damage(client, client.get_logged_model(found.model_id))


def _register_if_allowed(
    client: Client, settings: Settings, name: str, outputs: Outputs, logged: Logged, decide: Decide
) -> Published:
    for _ in range(_ROUNDS):
        decision = decide(client, name, outputs, logged.run_id, settings.gates)
        note_decision(client, logged.run_id, decision)
        if refused := decision.refused:
            return Published(name, logged.run_id, outputs.digest, new=False, refused=refused)
        try:
            return register(client, settings, name, outputs, logged, among=decision.among)
        except OthersCame as error:
            warn(error)
    judged = f"each of {_ROUNDS} times it was judged"
    raise RegistryError(f"{name} got other versions {judged}; run the command again")


def publish_anew(
    client: Client, settings: Settings, outputs: Outputs, experiment: str, tags: Mapping[str, str]
) -> Published:
    """Log a model's run in an experiment and make a version, whether or not the registry has one.

    No registration policy applies. ``tags`` go to the run, and the project's also to the version.
    """
    name = model_name(settings, outputs.problem, outputs.type)
    with fluent(client.tracking_uri):
        logged = _log(client, experiment, settings, outputs, tags)
        return register(client, settings, name, outputs, logged, again=True, added=tags)


def register(
    client: Client,
    settings: Settings,
    name: str,
    outputs: Outputs,
    logged: Logged,
    again: bool = False,
    among: Collection[int] | None = None,
    added: Mapping[str, str] | None = None,
) -> Published:
    """Make the version of a logged model, on record, in its initial stage and with its tags.

    See ``register_version`` for ``again`` and ``among``. Needs ``fluent``: MLflow resolves the
    model's address globally.
    """
    more = {key: value for key, value in (added or {}).items() if key.startswith(TAG_PREFIX)}
    tags, stage = version_tags(outputs), settings.initial_stage
    tags |= interval_tags(outputs) | noted_tags(client, str(logged.model_id)) | more
    with request_limits(retries=0):  # a second request to a slow server would make two versions
        version, new = register_version(client, name, logged, tags, stage, again, among)
    if new and (reason := outputs.lineage.reason):
        commit = (
            "with its commit unchecked"
            if outputs.lineage.commit.isalnum()
            else "without its commit"
        )
        warn(f"WARNING {version.title} is registered {commit}: {reason}")
    return Published.of(version, new)


def _log(
    client: Client,
    experiment: str,
    settings: Settings,
    outputs: Outputs,
    tags: Mapping[str, str] | None = None,
    again: bool = False,
) -> Logged:
    pipeline = outputs.load_pipeline()
    reference = reference_content(outputs) if settings.log_model else None
    packed = _packed(outputs, pipeline, reference) if settings.log_model else None
    found = rolling_table(outputs)
    rolled = None if isinstance(found, str) else found
    content = record(outputs, rolled)
    content = replace(content, tags={**content.tags, **(tags or {})})
    if settings.autolog:
        content = with_autolog(content, outputs, pipeline)
    if again:  # `find_run` takes the newest of the runs of one training
        content = replace(content, span=None)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made) if settings.log_artifacts else None
        if folder is not None:
            write_files(outputs, folder, pipeline, rolled)
        logged = log_run(client, experiment, content, folder, packed)
    if rolled is None:
        print(f"{outputs.problem} {outputs.type}: no {ROLLING}: {found}", file=sys.stderr)
    if isinstance(reference, str):
        print(f"{outputs.problem} {outputs.type}: no {REFERENCE}: {reference}", file=sys.stderr)
    return logged


def _packed(outputs: Outputs, pipeline: Any, reference: dict[str, Any] | str | None) -> Package:
    rows = to_bytes(outputs.training_rows) if outputs.training_rows else None
    content = None if isinstance(reference, str) else reference
    packed = package(pipeline, outputs.schema, outputs.card, rows, outputs.typical_record, content)
    if (found := digest_of(packed.content)) != outputs.digest:
        has = f"the {outputs.type} model of {outputs.problem} has digest {found[:12]}…"
        says = f"its card says {outputs.digest[:12]}…"
        raise ArtifactError(f"{has}, {says}: trained with other code; run `dvc repro`")
    return packed
