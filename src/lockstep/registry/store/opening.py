"""Opening the configured registry, without importing MLflow before that is needed."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from lockstep.config.layout import main_tree
from lockstep.config.settings import Settings, load_settings
from lockstep.errors import RegistryError
from lockstep.registry.store.local_database import prepare_sqlite
from lockstep.registry.store.sql_tables import Tables, local_tables
from lockstep.registry.store.uris import is_http, resolve_uri, sqlite_file

if TYPE_CHECKING:
    from lockstep.registry.store.connection import Client
    from lockstep.registry.store.queries import Queries

    Registry = Client | Tables


def open_registry(root: Path, tracking_uri: str | None = None) -> Client:
    """Connect to the configured registry; RegistryError with the fix if it was never made."""
    settings, _ = _configured(root, tracking_uri)
    return connect(settings, root)


def open_to_read(root: Path, tracking_uri: str | None = None) -> Registry:
    """Open the configured registry for reading; a local one by its tables, ten times as fast."""
    settings, _ = _configured(root, tracking_uri)
    return existing_tables(settings, root) or connect(settings, root)


def existing_tables(settings: Settings, root: Path) -> Tables | None:
    """Return a local registry's tables; None for one elsewhere, without a database or unusual."""
    database = sqlite_file(resolve_uri(settings, root))
    if database is None or not database.is_file():
        return None
    prepare_sqlite(database, main_tree(root))
    return local_tables(database)


def is_local(root: Path, tracking_uri: str | None = None) -> bool:
    """Return whether the configured registry is a database of this machine, which must exist."""
    return _configured(root, tracking_uri)[1] is not None


def source_of(client: Registry | Queries) -> Tables | Queries:
    """Return what answers questions on registered models: a local registry's tables, or MLflow."""
    if isinstance(client, Tables):
        return client
    # Listings of a local registry need no MLflow.
    from lockstep.registry.store.queries import Queries

    if isinstance(client, Queries):
        return client
    database = sqlite_file(client.tracking_uri)
    return (local_tables(database) if database else None) or Queries(client)


def prepare_store(root: Path) -> None:
    """Initialise the configured store if it is a local database: its first start takes seconds."""
    settings = load_settings(root)
    with suppress(RegistryError):  # whoever publishes meets it again and reports it
        if settings.publish and not is_http(resolve_uri(settings, root)):
            connect(settings, root)


def _configured(root: Path, tracking_uri: str | None) -> tuple[Settings, Path | None]:
    """Return the settings and the file of a local registry's database, which must exist."""
    settings = load_settings(root, {"tracking_uri": tracking_uri})
    database = sqlite_file(resolve_uri(settings, root))
    if database is not None and not database.is_file():
        missing = f"{database} is missing (tracking URI from {settings.source_of('tracking_uri')})"
        fix = "run `make run-train` to make it, or set MLFLOW_TRACKING_URI"
        raise RegistryError(f"no registry yet: {missing}; {fix}")
    return settings, database


def connect(settings: Settings, root: Path) -> Client:
    """Connect to the configured store; import MLflow without the garbage collector's delay."""
    with paused_collector():
        from lockstep.registry.store import connection

        return connection.connect(settings, root)


@contextmanager
def paused_collector() -> Iterator[None]:
    """Keep the garbage collector from searching the growing heap of a large import."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()
