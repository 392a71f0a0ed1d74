"""The registry's workspace, store and server, for what checks them."""

from tests.registry.conftest import (
    _clean_environment,
    empty_database,
    make,
    server,
    server_factory,
    workspace,
)

__all__ = [
    "_clean_environment",
    "empty_database",
    "make",
    "server",
    "server_factory",
    "workspace",
]
