"""Ask the registry which version a prediction means."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lockstep.config.settings import load_settings
from lockstep.registry.artifact.locating import find_version, locate
from lockstep.registry.artifact.model_cache import Located
from lockstep.registry.publishing.destinations import model_name
from lockstep.registry.store.opening import open_registry

if TYPE_CHECKING:
    from lockstep.commands.predict_model import Choice


def look_up(choice: Choice, root: Path, tracking_uri: str | None) -> tuple[Located, str]:
    """Return where a choice's artifact lies, and why this one where several could be meant."""
    client = open_registry(root, tracking_uri)
    if choice.best:
        # Only this choice may have to score rows, with the models' libraries.
        from lockstep.promotion.best_production import best_production

        best = best_production(client, root, choice.problem)
        return locate(client, best.version, root), best.reason
    name = choice.name
    if choice.type:
        name = model_name(load_settings(root), choice.problem, choice.type)
    version = find_version(
        client, name, version=choice.version, stage=choice.stage, run_id=choice.run_id
    )
    return locate(client, version, root), ""
