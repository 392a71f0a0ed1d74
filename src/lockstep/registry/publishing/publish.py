"""One idempotent way from a training's outputs to its version in the registry.

Everything is read from the workspace, so `register` makes what the train stage logs. A model is
known by its digest: a model that the registry has is not registered twice.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from operator import attrgetter

from lockstep.config.settings import Settings
from lockstep.console import warn
from lockstep.registry.artifact.damage import stored_damage, suspect_damage
from lockstep.registry.publishing.destinations import model_name
from lockstep.registry.publishing.outputs import Outputs
from lockstep.registry.publishing.registration import Decide, Published
from lockstep.registry.record.recovery import open_journal
from lockstep.registry.store.connection import Client
from lockstep.registry.store.names import CLOSURE_TAG, COMMITTED_TAG
from lockstep.registry.store.opening import source_of
from lockstep.registry.store.versions import Version

Known = dict[tuple[str, str], Version]
"""Versions by model name and digest."""


def publish(
    client: Client,
    settings: Settings,
    outputs: Outputs,
    known: Known,
    decide: Decide | None = None,
) -> Published:
    """Return a model's version, made if ``known`` lacks it or its artifact is damaged."""
    found = known.get((model_name(settings, outputs.problem, outputs.type), outputs.digest))
    damage = ""
    if found is not None:
        if settings.log_model:
            damage = suspect_damage(client, found, outputs.root) or stored_damage(client, found)
        if not damage:
            note_commit(client, found, outputs)
            return Published.of(found, new=False)
        warn(f"WARNING {found.title}: {damage}; it is registered anew")
    # Packaging and plots import scikit-learn and matplotlib, which a known model does not need.
    from lockstep.registry.publishing.new_versions import publish_new

    return publish_new(client, settings, outputs, decide, again=bool(damage))


def note_commit(client: Client, version: Version, outputs: Outputs) -> None:
    """Tag a version that was made with uncommitted inputs with the commit that has them now."""
    if not version.dirty or COMMITTED_TAG in version.tags:
        return
    here = outputs.lineage
    if here.dirty == "false" and here.closure_digest == version.tags.get(CLOSURE_TAG):
        tag = (version.name, str(version.version), COMMITTED_TAG, here.commit)
        with open_journal(client, version.name) as journal:
            client.set_model_version_tag(*tag)
            journal.settle()  # its description names the commit
        print(f"{version.title} is committed as {here.commit}", file=sys.stderr)


def known_versions(client: Client, settings: Settings, outputs: Iterable[Outputs]) -> Known:
    """Return the newest version of each of these models that the registry has."""
    source, found = source_of(client), {}
    for one in outputs:
        key = model_name(settings, one.problem, one.type), one.digest
        if same := source.with_digest(*key):
            found[key] = max(same, key=attrgetter("version"))
    return found
