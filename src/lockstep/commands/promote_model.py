"""Put a version into Production: its gates may forbid it, and the record says who did it and why.

    python scripts/promote_model.py --version 5 --archive-current
    python scripts/promote_model.py --version 5 --check        (the checklist; moves nothing)

The previous Production is archived with --archive-current; without it, it goes back to None.
"""

from __future__ import annotations

import argparse

from lockstep.commands.dispatch import load
from lockstep.commands.manage_registry import OPTIONS
from lockstep.commands.manage_registry import check_options as check_registry_options
from lockstep.config.layout import project_root
from lockstep.console import Parser, add_options, as_json, common_options
from lockstep.errors import UsageError, run_command
from lockstep.registry.store.opening import open_registry

MODEL = "credit-risk-model"


def main() -> int:
    """Parse the command line, promote or check, print."""
    options = parser().parse_args()
    check_options(options)
    client = open_registry(project_root(), options.tracking_uri)
    run = load("checklist:check" if options.check else "registry_moves:promote")
    content, text, *code = run(client, options)
    print(as_json(content) if options.json else text)
    return code[0] if code else 0


def parser() -> Parser:
    """Return the command line's parser."""
    top = Parser(prog="promote_model.py", description=__doc__)
    top.formatter_class = argparse.RawDescriptionHelpFormatter
    version = "the version, as list-versions shows it"
    top.add_argument("--version", metavar="N", required=True, help=version)
    name = f"registered model (default: {MODEL})"
    top.add_argument("--model-name", metavar="NAME", default=MODEL, help=name)
    aside = "archive the version that is in Production now; without, it goes back to None"
    top.add_argument("--archive-current", action="store_true", help=aside)
    check = "go through the promotion checklist, and move nothing"
    top.add_argument("--check", action="store_true", help=check)
    add_options(top, {flag: OPTIONS[flag] for flag in ("--force", "--reason", "--actor")})
    common_options(top, default=None)
    top.set_defaults(stage="Production")
    return top


def check_options(options: argparse.Namespace) -> None:
    """Refuse impossible options before a server is asked."""
    check_registry_options(options)
    if options.check and (options.force or options.archive_current):
        raise UsageError("--check moves nothing; leave out --force and --archive-current")


if __name__ == "__main__":
    run_command(main)
