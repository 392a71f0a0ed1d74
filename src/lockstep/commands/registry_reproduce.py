"""The registry command ``reproduce``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from lockstep.audit.reproduce import DIFFERENT, facts, readable
from lockstep.audit.reproduce import reproduce as rebuild
from lockstep.config.layout import project_root
from lockstep.registry.record.registered_models import get_model
from lockstep.registry.store.names import check_version

if TYPE_CHECKING:
    from lockstep.registry.store.connection import Client


def reproduce(client: Client, options: argparse.Namespace) -> tuple[Any, str, int]:
    """Train a version again from its recorded inputs and compare the models."""
    version = get_model(client, options.model_name).version(check_version(options.version))
    done = rebuild(client, project_root(), version, options.keep)
    return facts(done), readable(done), int(done.verdict == DIFFERENT)
