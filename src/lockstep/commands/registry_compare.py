"""The registry command ``compare``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from lockstep.config.layout import project_root
from lockstep.errors import UsageError
from lockstep.promotion.compare_versions import compare_versions, facts, readable
from lockstep.registry.record.registered_models import get_model
from lockstep.registry.store.names import check_version

if TYPE_CHECKING:
    from lockstep.registry.store.connection import Client


def compare(client: Client, options: argparse.Namespace) -> tuple[Any, str, int]:
    """Compare two versions."""
    name, other = options.model_name, options.against_name or options.model_name
    version = get_model(client, name).version(check_version(options.version))
    against = get_model(client, other).version(check_version(options.against))
    if (version.name, version.version) == (against.name, against.version):
        raise UsageError(
            f"{name} version {version.version} is compared with itself; give another --against"
        )
    found = compare_versions(client, project_root(), version, against)
    return facts(found), readable(found), 0
