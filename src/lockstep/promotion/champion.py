"""The champion of a registered model: what a challenger must beat, and a rollback replaces."""

from __future__ import annotations

from lockstep.registry.record.events import turns
from lockstep.registry.record.registered_models import Model, brought_back
from lockstep.registry.store.versions import Version


def champion_of(model: Model) -> Version | None:
    """Return the version in Production, else the last that was there and still exists."""
    if standing := model.in_stage("Production"):
        return standing[-1]
    existing = {version.version: version for version in model.versions}
    for turn in reversed(turns(model.record, "Production")):
        if stood := existing.keys() & turn.after:
            return existing[max(stood)]
    return None


def can_go_back(model: Model, version: Version) -> bool:
    """Tell whether a rollback replaces this version: it is in Production, another was before."""
    if version.version not in [one.version for one in model.in_stage("Production")]:
        return False
    return bool(brought_back(model, "Production"))
