"""Promote a version to Production: its gates must pass, and the record keeps who did it and why.

    python scripts/promote_model.py --version 5 --archive-current
    python scripts/promote_model.py --version 5 --check        (the checklist; moves nothing)

The previous Production is archived with --archive-current; without it, it goes back to None.
"""

from __future__ import annotations

import argparse
from pkgutil import resolve_name

from lockstep.commands.manage_registry import OPTIONS, shown
from lockstep.config.gates import check_force
from lockstep.config.layout import project_root
from lockstep.console import Parser, add_options, common_options
from lockstep.errors import UsageError
from lockstep.registry.store.names import check_name, check_version
from lockstep.registry.store.opening import open_registry

MODEL = "credit-risk-model"


def main() -> int:
    """Parse the command line, promote or check, print."""
    options = parser().parse_args()
    check_force(options.force, options.reason or "")
    if options.check and (options.force or options.archive_current):
        raise UsageError("--check moves nothing; leave out --force and --archive-current")
    client = open_registry(project_root(), options.tracking_uri)
    place = "checklist:check" if options.check else "registry_moves:promote"
    return shown(options, *resolve_name(f"lockstep.commands.{place}")(client, options))


def parser() -> Parser:
    """Return the command line's parser."""
    top = Parser(prog="promote_model.py", description=__doc__)
    top.formatter_class = argparse.RawDescriptionHelpFormatter
    version, *_ = add_options(top, PROMOTE_OPTIONS)
    version.required = True
    add_options(top, {flag: OPTIONS[flag] for flag in ("--force", "--reason", "--actor")})
    common_options(top, default=None)
    top.set_defaults(model_name=MODEL, stage="Production")
    return top


PROMOTE_OPTIONS = {
    "--version": ("N", "the version, as list-versions shows it", check_version),
    "--model-name": ("NAME", f"registered model (default: {MODEL})", check_name),
    "--archive-current": (
        "",
        "archive the version that is in Production now; without, it goes back to None",
    ),
    "--check": ("", "go through the promotion checklist, and move nothing"),
}
