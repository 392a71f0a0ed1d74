"""One idempotent way from a training's outputs to its version in the registry.

Everything is read from the workspace, so `register` makes what the train stage logs. A model is
known by its digest: a model that the registry has is not registered twice.
"""

from __future__ import annotations

import sys

from lockstep.config.settings import Settings
from lockstep.console import warn
from lockstep.registry.artifact.damage import stored_damage, suspect_damage
from lockstep.registry.publishing.destinations import model_name
from lockstep.registry.publishing.known import Known, Published, commit_is_new
from lockstep.registry.publishing.outputs import Outputs
from lockstep.registry.publishing.registration import Decide
from lockstep.registry.record.recovery import open_journal
from lockstep.registry.store.connection import Client
from lockstep.registry.store.names import COMMITTED_TAG
from lockstep.registry.store.versions import Version


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
    if commit_is_new(version, outputs):
        commit = outputs.lineage.commit
        with open_journal(client, version.name, numbers=[version.version]) as journal:
            tag = (str(version.version), COMMITTED_TAG, commit)
            journal.checked_client().set_model_version_tag(version.name, *tag)
            journal.settle()  # its description names the commit
        print(f"{version.title} is committed as {commit}", file=sys.stderr)
