"""The registry command ``verify``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lockstep.audit import findings
from lockstep.audit.bundle_checks import verify_folder
from lockstep.audit.verify import verify as verify_registry
from lockstep.checks import contents
from lockstep.config.layout import project_root
from lockstep.errors import ConfigError, UsageError
from lockstep.registry.store.names import check_version

if TYPE_CHECKING:
    from lockstep.registry.store.connection import Client


def verify(client: Client | None, options: argparse.Namespace) -> tuple[Any, str, int]:
    """Check the versions in the registry, or one exported folder."""
    if options.folder is not None and (options.model_name or options.version):
        raise UsageError("verify takes either --folder DIR or --model-name NAME (with --version N)")
    if options.version is not None and options.model_name is None:
        raise UsageError("--version needs --model-name NAME")
    if client is None:
        found = verify_folder(Path(options.folder), _root())
    else:
        number = None if options.version is None else check_version(options.version)
        found = verify_registry(client, project_root(), options.model_name, number)
    code = 0 if findings.healthy(found) else 1
    return contents(found, findings.KEYS), findings.report(found), code


def _root() -> Path | None:
    """Return the project's folder, whose repository may know the commit; None outside of any."""
    try:
        return project_root()
    except ConfigError:
        return None
