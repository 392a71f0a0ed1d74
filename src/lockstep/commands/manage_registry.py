"""Look at the registry and move versions between stages: None, Staging, Production, Archived."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from lockstep.commands.dispatch import load
from lockstep.config.gates import check_force
from lockstep.config.layout import project_root
from lockstep.console import Parser, aligned, as_json, common_options, listed
from lockstep.errors import run_command
from lockstep.registry.record.events import Event, content_of, end_content
from lockstep.registry.record.registered_models import (
    Model,
    get_model,
    get_record,
    list_models,
    newest_in,
)
from lockstep.registry.store.names import STAGES, check_name, check_stage, check_version
from lockstep.registry.store.opening import open_registry, open_to_read
from lockstep.registry.store.versions import Version

if TYPE_CHECKING:
    from lockstep.registry.store.opening import Registry

Answer = tuple[Any, str] | tuple[Any, str, int]
"""What a command found: the same as plain JSON values, as text for people, and an exit code where it isn't 0."""
Command = Callable[..., Answer] | str
"""A listing, or where ``dispatch.load`` finds the work of a command that needs heavy imports."""
SHOWN_SCORES = (
    "roc_auc",
    "average_precision",
    "f1",
    "macro_f1",
    "macro_roc_auc",
    "balanced_accuracy",
    "log_loss",
    "rmse",
    "mae",
    "r2",
)
EMPTY = "the registry holds no model yet; run `make run-train` to make some"


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, ask or move, print."""
    options = parser().parse_args(arguments)
    check_options(options)
    run = options.command if callable(options.command) else load(options.command)
    # An exported folder needs no registry, and doctor says itself why one can't be reached.
    alone = getattr(options, "folder", None) is not None or options.command == DOCTOR
    opened = open_to_read if run is options.command else open_registry
    client = None if alone else opened(project_root(), options.tracking_uri)
    content, text, *code = run(client, options)
    print(as_json(content) if options.json else text)
    return code[0] if code else 0


def parser() -> Parser:
    """Return the command line's parser; building it imports nothing heavy."""
    top = Parser(prog="manage_model_registry.py", description=__doc__)
    common_options(top, default=None)
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, (run, text, options) in COMMANDS.items():
        _command(commands, name, run, text, options)
    return top


def check_options(options: argparse.Namespace) -> None:
    """Refuse a name, a stage, a version or an override that can't be, before anything is asked of a server."""
    for name in ("model_name", "against_name"):
        if getattr(options, name, None) is not None:
            check_name(getattr(options, name))
    if getattr(options, "stage", None) is not None:
        check_stage(options.stage)
    for name in ("version", "against", "to"):
        if getattr(options, name, None) is not None:
            check_version(getattr(options, name))
    if getattr(options, "force", False):
        check_force(options.force, options.reason or "")


def show_models(client: Registry, options: argparse.Namespace) -> Answer:
    """List every model."""
    models = list_models(client)
    return [_model_facts(m) for m in models], aligned(
        [_model_row(m) for m in models]
    ) if models else EMPTY


def show_versions(client: Registry, options: argparse.Namespace) -> Answer:
    """List one model's versions, the newest first."""
    model = get_model(client, options.model_name)
    versions = model.versions[::-1]
    text = (
        aligned([_version_row(v) for v in versions])
        if versions
        else f"{model.name} has no version yet"
    )
    return [version_facts(model, v) for v in versions], text


def show_model(client: Registry, options: argparse.Namespace) -> Answer:
    """Show the version in one stage."""
    facts = version_facts(*newest_in(client, options.model_name, options.stage))
    return facts, listed(facts)


def history(client: Registry, options: argparse.Namespace) -> Answer:
    """Show a model's record, the newest event last."""
    record = get_record(client, options.model_name)
    for fault in record.faults:
        print(f"WARNING the record is damaged: {fault}", file=sys.stderr)
    rows = [_event_row(event) for event in record.events]
    text = aligned(rows) if rows else f"{options.model_name} has no event on record yet"
    return [event_facts(event) for event in record.events], text


def version_facts(model: Model, version: Version) -> dict[str, Any]:
    """Return all that is recorded about one version, as plain values."""
    return {
        "name": version.name,
        "version": version.version,
        "stage": version.stage,
        "aliases": sorted(a for a, number in model.aliases.items() if number == version.version),
        "uri": f"models:/{version.name}/{version.version}",
        "run_id": version.run_id,
        "created": _when(version.created),
        "problem": version.tag("problem"),
        "type": version.tag("type"),
        "git_commit": version.tag("git_commit"),
        "dirty": version.dirty,
        "model_digest": version.tag("model_digest"),
        "data_digest": version.tag("data_digest"),
        "data_dvc_hash": version.tag("data_dvc_hash"),
        "threshold": version.threshold,
        "score_scale": version.tag("score_scale"),
        "metrics": version.scores,
    }


def event_facts(event: Event) -> dict[str, Any]:
    """Return all that is recorded about one event, as plain values."""
    end = None if event.end is None else end_content(event.end)
    return {**content_of(event), "version": event.of_version, "digest": event.digest, "end": end}


def _event_row(event: Event) -> dict[str, Any]:
    """Return an event as people read it: what moved where, how it ended, who and why."""
    moved = ", ".join(f"{step.version}: {step.was} → {step.now}" for step in event.steps[:4])
    if not event.steps and event.of_version:
        moved = f"{event.of_version}: stays"
    if event.action == "register" and event.of_version:
        moved = f"{event.of_version}: new → {event.stage}"
    outcome = event.end.outcome if event.end else "open"
    mended = event.end is not None and bool(event.end.mended_by)
    return {
        "event": event.number,
        "time (utc)": event.time[:19].replace("T", " "),
        "action": event.action,
        "versions": moved + (", …" if len(event.steps) > 4 else ""),
        "outcome": f"{outcome}, mended" if mended else outcome,
        "gate": event.gate.get("verdict", ""),
        "actor": event.who.actor,
        "reason": event.who.reason,
    }


def _command(commands: Any, name: str, run: Command, text: str, options: str) -> None:
    sub = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    for option in options.split():
        _option(sub, name, option.strip("[]"), required=not option.startswith("["))
    common_options(sub)
    sub.set_defaults(command=run)


def _option(sub: argparse.ArgumentParser, command: str, option: str, required: bool) -> None:
    flags = {
        "--force": "override what the gates refuse, on record; needs --reason",
        "--fix": "mend what can be mended, and say what was done",
        "--yes": "delete them; without it the command only shows which",
    }
    if (command, option) == ("reproduce", "--keep"):
        flags[option] = "keep the copy in which it was made again, and say where it is"
    if option in flags:
        sub.add_argument(option, action="store_true", help=flags[option])
        return
    texts = {
        "--model-name": ("NAME", "registered model, as list-models shows it"),
        "--version": ("N", "its version" if required else "its version (default: the newest)"),
        "--stage": (
            "STAGE",
            ", ".join(STAGES) if required else "Production (the default) or Staging",
        ),
        "--against": ("N", "the version to compare it with"),
        "--against-name": (
            "NAME",
            "of another registered model of the same problem (default: the same model)",
        ),
        "--to": ("N", "the version to go back to (default: the one before)"),
        "--run-id": ("ID", "the same by the run that made it"),
        "--reason": ("TEXT", "why, for the record"),
        "--actor": ("NAME", "who, for the record (default: LOCKSTEP_ACTOR, else user@host)"),
        "--folder": ("DIR", "an exported bundle, in place of the registry"),
        "--output": ("DIR", "the folder to make; it must not be there yet"),
        "--keep": ("N", "so many of the newest Archived versions keep their files (default: 3)"),
        "--older-than": ("DAYS", "only versions archived longer ago than this (default: 0)"),
    }
    own = {
        ("verify", "--model-name"): ("NAME", "this registered model (default: all of them)"),
        ("verify", "--version"): ("N", "this version of it (default: all of them)"),
        ("export", "--stage"): ("STAGE", f"the newest version there: {', '.join(STAGES)}"),
        ("export", "--version"): ("N", "this version"),
    }
    metavar, text = own.get((command, option)) or texts[option]
    sub.add_argument(option, metavar=metavar, required=required, help=text)


def _model_facts(model: Model) -> dict[str, Any]:
    return {
        "name": model.name,
        "versions": len(model.versions),
        "newest": model.versions[-1].version if model.versions else None,
        "stages": {s: [v.version for v in model.in_stage(s)] for s in STAGES if model.in_stage(s)},
        "aliases": model.aliases,
    }


def _model_row(model: Model) -> dict[str, Any]:
    shown = ("Production", "Staging")
    held = {stage.lower(): [v.version for v in model.in_stage(stage)] or "-" for stage in shown}
    facts = _model_facts(model)
    return {"name": model.name, "versions": facts["versions"], "newest": facts["newest"], **held}


def _version_row(version: Version) -> dict[str, Any]:
    scores = {name: version.scores.get(f"validation_{name}") for name in SHOWN_SCORES}
    commit = (version.tag("git_commit") or "")[:9]
    return {
        "version": version.version,
        "stage": version.stage,
        "type": version.tag("type"),
        **scores,
        "threshold": version.threshold,
        "created (utc)": _when(version.created)[:16].replace("T", " "),
        "commit": f"{commit} (dirty)" if commit and version.dirty else commit,
        "model digest": (version.tag("model_digest") or "")[:12],
        "run": version.run_id,
    }


def _when(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


DOCTOR = "registry_checks:doctor"
COMMANDS: dict[str, tuple[Command, str, str]] = {
    "list-models": (show_models, "every registered model, and which versions are in use", ""),
    "list-versions": (
        show_versions,
        "a model's versions: stage, metrics of its own validation rows, when, from which commit",
        "--model-name",
    ),
    "transition": (
        "registry_moves:transition",
        "put one version into any stage",
        "--model-name --version --stage [--force] [--reason] [--actor]",
    ),
    "promote": (
        "registry_moves:promote",
        "put the newest version (or --version) into Production; the previous one is archived",
        "--model-name [--version] [--stage] [--force] [--reason] [--actor]",
    ),
    "archive": (
        "registry_moves:archive",
        "put one version into Archived",
        "--model-name --version [--reason] [--actor]",
    ),
    "rollback": (
        "registry_moves:rollback",
        "bring back what stood in Production before, or a version that once did",
        "--model-name [--stage] [--to] [--run-id] [--reason] [--actor]",
    ),
    "compare": (
        "registry_checks:compare",
        "two versions on rows that neither was fitted or tuned on, and what went into them that differs",
        "--model-name --version --against [--against-name]",
    ),
    "history": (
        history,
        "every move of a model: who, when, why, from what, to what",
        "--model-name",
    ),
    "verify": (
        "registry_checks:verify",
        "check files in the store, lineage, tags, aliases and record, or an exported folder; exit code 1 if any fails",
        "[--model-name] [--version] [--folder]",
    ),
    "export": (
        "registry_files:export",
        "a version as a folder that needs no registry: artifact, lineage, requirements, sums, Dockerfile",
        "--model-name [--stage] [--version] --output [--reason] [--actor]",
    ),
    "prune": (
        "registry_files:prune",
        "delete the files of old Archived versions that nothing refers to; shows which, until --yes is given",
        "--model-name [--keep] [--older-than] [--yes] [--reason] [--actor]",
    ),
    "doctor": (
        DOCTOR,
        "configuration, tools, store, locks, records, files, workspace: what is wrong, and how to mend it; exit code 1 "
        "if anything is",
        "[--fix]",
    ),
    "reproduce": (
        "registry_checks:reproduce",
        "make a version again from its recorded inputs in a clean copy of its commit, and compare the models",
        "--model-name --version [--keep]",
    ),
    "get-model": (
        show_model,
        "the version of a model in a stage, the newest where there are several",
        "--model-name --stage",
    ),
}
"""Each command: what runs it, its help, and its options; those in brackets are optional."""


if __name__ == "__main__":
    run_command(main)
