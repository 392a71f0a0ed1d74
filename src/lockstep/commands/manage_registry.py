"""Look at the registry and move versions between stages: None, Staging, Production, Archived."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Any

from lockstep.config.gates import check_force
from lockstep.config.layout import project_root
from lockstep.console import Parser, add_options, as_json, common_options
from lockstep.registry.store.names import (
    LISTED,
    STAGES,
    check_limit,
    check_name,
    check_stage,
    check_version,
)
from lockstep.registry.store.opening import open_registry, open_to_read


@dataclass(frozen=True)
class Command:
    """One command; bracketed ``options`` are optional.

    ``place`` is the module and function of its work, imported when the command runs, so that
    --help and listings stay light. The work returns plain JSON values, a text for people, and an
    exit code where it isn't 0.
    """

    place: str
    help: str
    options: str = ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, ask or move, print."""
    options = parser().parse_args(arguments)
    check_force(getattr(options, "force", False), getattr(options, "reason", None) or "")
    command: Command = options.command
    # An exported folder needs no registry, and doctor says itself why one can't be reached.
    alone = getattr(options, "folder", None) is not None or command is COMMANDS["doctor"]
    # To read models and versions a local database suffices.
    opens = open_to_read if command.place.startswith("registry_listings:") else open_registry
    client = None if alone else opens(project_root(), options.tracking_uri)
    return shown(options, *resolve_name(f"lockstep.commands.{command.place}")(client, options))


def shown(options: argparse.Namespace, content: Any, text: str, code: int = 0) -> int:
    """Print a command's answer, as JSON where that is asked for; return the exit code."""
    print(as_json(content) if options.json else text)
    return code


def parser() -> Parser:
    """Return the command line's parser."""
    top = Parser(prog="manage_model_registry.py", description=__doc__)
    common_options(top, default=None)
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        text = command.help
        sub = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        for option in command.options.split():
            _add(sub, name, option.strip("[]"), required=not option.startswith("["))
        common_options(sub)
        sub.set_defaults(command=command)
    return top


def _add(sub: argparse.ArgumentParser, command: str, option: str, required: bool) -> None:
    """Add an option, with the command's own help text where it has one."""
    own, shared = f"{command} {option}", f"{option} (optional)"
    settings = OPTIONS.get(own) or (not required and OPTIONS.get(shared)) or OPTIONS[option]
    (action,) = add_options(sub, {option: settings})
    action.required = required


OPTIONS = {
    "--model-name": ("NAME", "registered model, as list-models shows it", check_name),
    "verify --model-name": ("NAME", "this registered model (default: all of them)", check_name),
    "--version": ("N", "its version", check_version),
    "--version (optional)": ("N", "its version (default: the newest)", check_version),
    "verify --version": ("N", "this version of it (default: all of them)", check_version),
    "export --version": ("N", "this version", check_version),
    "--stage": ("STAGE", ", ".join(STAGES), check_stage),
    "--stage (optional)": ("STAGE", "Production (the default) or Staging", check_stage),
    "export --stage": ("STAGE", f"the newest version there: {', '.join(STAGES)}", check_stage),
    "--against": (
        "N",
        "the version to compare it with (default: the one in Production)",
        check_version,
    ),
    "--against-name": (
        "NAME",
        "registered model to compare with, of the same problem (default: --model-name)",
        check_name,
    ),
    "--on-traffic": (
        "",
        "on live requests that --version scored in the shadow of the other (docs/monitoring.md)",
    ),
    "--to": ("N", "the version to go back to (default: the one before)", check_version),
    "--run-id": ("ID", "the version to go back to, by its run"),
    "--reason": ("TEXT", "why, for the record"),
    "--actor": ("NAME", "who, for the record (default: LOCKSTEP_ACTOR, else user@host)"),
    "--force": ("", "override what the gates refuse, on record; needs --reason"),
    "--fix": ("", "repair what can be repaired, and print what was done"),
    "--folder": ("DIR", "an exported bundle, in place of the registry"),
    "--output": ("DIR", "the folder to make; it must not exist yet"),
    "--keep": ("N", "how many of the newest Archived versions keep their files (default: 3)"),
    "reproduce --keep": ("", "keep the copy in which it was trained again, and print where it is"),
    "--limit": ("N", f"how many of the newest to show (default: {LISTED}; 0: all)", check_limit),
    "--older-than": ("DAYS", "only versions archived longer ago than this (default: 0)"),
    "--yes": ("", "delete them; without it the command only shows which"),
}
"""The metavariable, help and check of each option; without a metavariable it is a switch."""
COMMANDS = {
    "list-models": Command(
        "registry_listings:show_models", "list the registered models and the versions in use"
    ),
    "list-versions": Command(
        "registry_listings:show_versions",
        "list a model's versions: stage, validation metrics, when, from which commit",
        "--model-name [--limit]",
    ),
    "transition": Command(
        "registry_moves:transition",
        "move one version to a stage",
        "--model-name --version --stage [--force] [--reason] [--actor]",
    ),
    "promote": Command(
        "registry_moves:promote",
        "move the newest version (or --version) to Production; the previous one is archived",
        "--model-name [--version] [--stage] [--force] [--reason] [--actor]",
    ),
    "archive": Command(
        "registry_moves:archive",
        "move one version to Archived",
        "--model-name --version [--reason] [--actor]",
    ),
    "rollback": Command(
        "registry_moves:rollback",
        "restore the previous Production version, or an earlier one (--to, --run-id)",
        "--model-name [--stage] [--to] [--run-id] [--reason] [--actor]",
    ),
    "compare": Command(
        "registry_versions:compare",
        "compare two versions on rows that neither was fitted or tuned on; list different inputs",
        "--model-name --version [--against] [--against-name] [--on-traffic]",
    ),
    "history": Command(
        "registry_listings:history",
        "list every move of a model: who, when, why, from what, to what",
        "--model-name [--limit]",
    ),
    "verify": Command(
        "registry_versions:verify",
        "check files in the store, lineage, tags, aliases and record, or an exported folder; "
        "exit code 1 if any fails",
        "[--model-name] [--version] [--folder]",
    ),
    "export": Command(
        "registry_files:export",
        "write a version into a folder that needs no registry: artifact, lineage, requirements, "
        "checksums, Dockerfile",
        "--model-name [--stage] [--version] --output [--reason] [--actor]",
    ),
    "prune": Command(
        "registry_files:prune",
        "delete the files of old Archived versions that nothing refers to; shows which, until "
        "--yes is given",
        "--model-name [--keep] [--older-than] [--yes] [--reason] [--actor]",
    ),
    "doctor": Command(
        "registry_doctor:doctor",
        "check configuration, tools, store, locks, records, files and workspace; print faults and "
        "repairs; exit code 1 if there is a fault",
        "[--fix]",
    ),
    "reproduce": Command(
        "registry_versions:reproduce",
        "train a version again from its recorded inputs in a clean copy of its commit, and compare "
        "the models",
        "--model-name --version [--keep]",
    ),
    "get-model": Command(
        "registry_listings:show_model",
        "show the newest version of a model in a stage",
        "--model-name --stage",
    ),
}
