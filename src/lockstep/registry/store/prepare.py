"""Make a local store ready while the first stages run: its first start takes seconds that nobody need wait for."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from lockstep.config.settings import load_settings
from lockstep.errors import RegistryError
from lockstep.registry.store import client as store


def prepare(root: Path) -> None:
    """Initialise the configured store where it is a local database; a server is left alone.

    What can't be done here is no failure yet: whoever publishes meets it again and says so.
    """
    settings = load_settings(root)
    with suppress(RegistryError):
        if settings.publish and not store.is_http(store.resolve_uri(settings, root)):
            store.connect(settings, root)
