"""Ask the registry which version a prediction means."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lockstep.commands.second_process import started
from lockstep.config.settings import load_settings
from lockstep.registry.artifact.locating import find_version, locate
from lockstep.registry.artifact.model_cache import Located
from lockstep.registry.publishing.destinations import model_name
from lockstep.registry.store.opening import is_local, open_to_read

if TYPE_CHECKING:
    from lockstep.commands.predict_model import Choice

Answer = tuple[Located, str]
"""Where an artifact lies, and why this one where several could be meant."""


@contextmanager
def looking_up(
    choice: Choice, root: Path, tracking_uri: str | None
) -> Iterator[Callable[[], Answer]]:
    """Yield what waits for a choice's artifact.

    MLflow, which a second process imports beside this one, is not needed for a local registry.
    """
    if is_local(root, tracking_uri):
        yield partial(look_up, choice, root, tracking_uri)
        return
    with started(look_up, choice, root, tracking_uri) as answer:
        yield answer


def look_up(choice: Choice, root: Path, tracking_uri: str | None) -> Answer:
    """Return where a choice's artifact lies, and why this one where several could be meant."""
    client = open_to_read(root, tracking_uri)
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
