"""What follows from the stages and is written beside them: tags, aliases, MLflow's own stages."""

from __future__ import annotations

import warnings
from dataclasses import replace

from lockstep.registry.record.registered_models import Model
from lockstep.registry.store.connection import Client
from lockstep.registry.store.names import STAGE_TAG
from lockstep.registry.store.versions import Version


def aliases_of(model: Model) -> dict[str, int]:
    """Return the aliases that follow from the stages; ``staging`` is the newest there."""
    pointed = {"production": model.in_stage("Production"), "staging": model.in_stage("Staging")}
    return {alias: versions[-1].version for alias, versions in pointed.items() if versions}


def settle(client: Client, model: Model) -> Model:
    """Bring tags, aliases and MLflow's own stages in line with the stages; write only changes."""
    for version in model.versions:
        if version.tags.get(STAGE_TAG) != version.stage:
            client.set_model_version_tag(model.name, str(version.version), STAGE_TAG, version.stage)
        if version.mirrored != version.stage:
            _mirror(client, version)
    aliases = dict(model.aliases)
    wanted = aliases_of(model)
    for alias in ("production", "staging"):
        if alias not in wanted and alias in aliases:
            client.delete_registered_model_alias(model.name, alias)
            del aliases[alias]
        elif alias in wanted and aliases.get(alias) != wanted[alias]:
            # An upsert: without a delete before it, one version can be loaded at any moment.
            client.set_registered_model_alias(model.name, alias, str(wanted[alias]))
            aliases[alias] = wanted[alias]
    settled = (
        replace(v, mirrored=v.stage, tags={**v.tags, STAGE_TAG: v.stage}) for v in model.versions
    )
    return replace(model, versions=tuple(settled), aliases=aliases)


def _mirror(client: Client, version: Version) -> None:
    if not hasattr(client, "transition_model_version_stage"):
        return
    with warnings.catch_warnings():
        deprecated = r".*transition_model_version_stage`` is deprecated"
        warnings.filterwarnings("ignore", deprecated, FutureWarning)
        client.transition_model_version_stage(version.name, str(version.version), version.stage)
