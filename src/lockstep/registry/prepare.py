"""Make a local store ready while the first stages run: its first start takes seconds that nobody need wait for."""

from __future__ import annotations

from lockstep.config.layout import project_root
from lockstep.config.settings import load_settings
from lockstep.errors import run_command
from lockstep.registry import store


def main() -> None:
    """Initialise the configured store where it is a local database; a server is left alone."""
    root = project_root()
    settings = load_settings(root)
    if settings.publish and not store.is_http(store.resolve_uri(settings, root)):
        store.connect(settings, root)


if __name__ == "__main__":
    run_command(main)
