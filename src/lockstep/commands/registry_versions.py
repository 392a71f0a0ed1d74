"""Commands that load the models of versions: verify, compare, reproduce."""

from __future__ import annotations

import argparse
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from lockstep.audit import findings
from lockstep.audit import reproduce as rebuild
from lockstep.audit.bundle_checks import verify_folder
from lockstep.audit.verify import verify as verify_registry
from lockstep.checks import contents
from lockstep.config.layout import project_root
from lockstep.errors import ConfigError, RegistryError, UsageError
from lockstep.promotion import compare_versions as comparison
from lockstep.registry.record.registered_models import get_model, get_version
from lockstep.registry.store.connection import Client
from lockstep.registry.store.versions import Version
from lockstep.termination import terminated_as_error

Answer = tuple[Any, str, int]


def verify(client: Client | None, options: argparse.Namespace) -> Answer:
    """Check the versions in the registry, or one exported folder."""
    if options.folder is not None and (options.model_name or options.version):
        raise UsageError("verify takes either --folder DIR or --model-name NAME (with --version N)")
    if options.version is not None and options.model_name is None:
        raise UsageError("--version needs --model-name NAME")
    if client is None:
        found = verify_folder(Path(options.folder), _root())
    else:
        with terminated_as_error("nothing was changed"):
            found = verify_registry(client, project_root(), options.model_name, options.version)
    code = 0 if findings.healthy(found) else 1
    return contents(found, findings.KEYS), findings.report(found), code


def _root() -> Path | None:
    """Return the project's folder, whose repository may know the commit; None outside of any."""
    try:
        return project_root()
    except ConfigError:
        return None


def compare(client: Client, options: argparse.Namespace) -> Answer:
    """Compare two versions."""
    name, other = options.model_name, options.against_name or options.model_name
    version = get_version(client, name, options.version)
    against = compared_with(client, version, other, options.against)
    if (version.name, version.version) == (against.name, against.version):
        raise UsageError(
            f"{name} version {version.version} is compared with itself; give another --against"
        )
    if options.on_traffic:
        work = resolve_name("lockstep.commands.traffic:compare_on_traffic")
        return work(client, project_root(), version, against)
    found = comparison.compare_versions(client, project_root(), version, against)
    return comparison.facts(found), comparison.readable(found), 0


def compared_with(client: Client, version: Version, name: str, number: int | None) -> Version:
    """Return the other version of a comparison: the one in Production, unless it is numbered."""
    if number is not None:
        return get_version(client, name, number)
    found = get_model(client, name, "Production").versions
    if not found:
        raise RegistryError(f"{name} has no version in Production; give --against N")
    if (name, found[-1].version) == (version.name, version.version):
        raise UsageError(f"{version.title} is the one in Production; give --against N")
    return found[-1]


def reproduce(client: Client, options: argparse.Namespace) -> Answer:
    """Train a version again from its recorded inputs and compare the models."""
    version = get_version(client, options.model_name, options.version)
    done = rebuild.reproduce(client, project_root(), version, options.keep)
    return rebuild.facts(done), rebuild.readable(done), int(done.verdict == rebuild.DIFFERENT)
