"""Look at the registry and move versions between stages: None, Staging, Production, Archived."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lockstep.config.layout import project_root
from lockstep.console import Parser, aligned, as_json, common_options, listed
from lockstep.errors import DataError, run_command
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
    from lockstep.promotion.gate_report import Gate
    from lockstep.registry.lifecycle.moves import Move
    from lockstep.registry.record.events import Event, Who
    from lockstep.registry.store.connection import Client
    from lockstep.registry.store.opening import Registry

Answer = tuple[Any, str] | tuple[Any, str, int]
"""What a command found: the same as plain JSON values, as text for people, and an exit code where it isn't 0."""
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
    # A folder is looked at without a registry, and the doctor is who tells what hinders to reach one.
    alone = getattr(options, "folder", None) is not None or options.command is doctor
    opened = open_to_read if options.command in LISTINGS else open_registry
    client = None if alone else opened(project_root(), options.tracking_uri)
    content, text, *code = options.command(client, options)
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
        from lockstep.promotion.gate_report import check_force

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


def transition(client: Client, options: argparse.Namespace) -> Answer:
    """Move one version."""
    from lockstep.registry.lifecycle import moves as lifecycle

    who, gate = _who(options), _gate(client, options, options.stage)
    done = lifecycle.transition(
        client, options.model_name, options.version, options.stage, who, gate=gate
    )
    return _moved(done, gate)


def promote(client: Client, options: argparse.Namespace) -> Answer:
    """Move the newest version, or the one named, into Production or Staging."""
    from lockstep.registry.lifecycle import moves as lifecycle

    stage = options.stage or "Production"
    who, gate = _who(options), _gate(client, options, stage)
    aside = getattr(options, "aside", "Archived")
    done = lifecycle.promote(client, options.model_name, options.version, stage, who, gate, aside)
    if options.version is None:
        print(
            _newest_note(get_model(client, options.model_name).version(done.step.version)),
            file=sys.stderr,
        )
    return _moved(done, gate)


def archive(client: Client, options: argparse.Namespace) -> Answer:
    """Move one version into Archived."""
    from lockstep.registry.lifecycle import moves as lifecycle

    return _moved(lifecycle.archive(client, options.model_name, options.version, _who(options)))


def rollback(client: Client, options: argparse.Namespace) -> Answer:
    """Bring back what stood in a stage before."""
    from lockstep.registry.lifecycle import moves as lifecycle

    stage, version, run_id = options.stage or "Production", options.to, options.run_id
    return _moved(
        lifecycle.rollback(client, options.model_name, stage, version, run_id, _who(options))
    )


def history(client: Registry, options: argparse.Namespace) -> Answer:
    """Show a model's record, the newest event last."""
    record = get_record(client, options.model_name)
    for fault in record.faults:
        print(f"WARNING the record is damaged: {fault}", file=sys.stderr)
    rows = [_event_row(event) for event in record.events]
    text = aligned(rows) if rows else f"{options.model_name} has no event on record yet"
    return [event_facts(event) for event in record.events], text


def verify(client: Client | None, options: argparse.Namespace) -> Answer:
    """Check versions, or a bundle's folder, and tell whether all is well by the exit code too."""
    from lockstep.commands.artifact_commands import checked

    return checked(client, options)


def export(client: Client, options: argparse.Namespace) -> Answer:
    """Write a version's bundle."""
    from lockstep.commands.artifact_commands import exported

    return exported(client, options, _who(options))


def prune(client: Client, options: argparse.Namespace) -> Answer:
    """Show whose files would go, or delete them."""
    from lockstep.commands.artifact_commands import pruned

    return pruned(client, options, _who(options))


def compare(client: Client, options: argparse.Namespace) -> Answer:
    """Compare two versions."""
    from lockstep.promotion import compare_versions

    return compare_versions.compare(client, options)


def doctor(client: Client | None, options: argparse.Namespace) -> Answer:
    """Look for whatever is wrong, and mend it with --fix; tell whether all is well by the exit code too."""
    from lockstep.audit.doctor import diagnose, report

    found = diagnose(project_root(), options.tracking_uri, options.fix)
    return found.content, report(found), 0 if found.well else 1


def reproduce(client: Client, options: argparse.Namespace) -> Answer:
    """Make a version again and compare; the exit code tells too."""
    from lockstep.audit.reproduce import command

    return command(client, options)


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
    from lockstep.registry.record.events import content_of, end_content

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


def _who(options: argparse.Namespace) -> Who:
    """Return who asks and why, from the options or the environment."""
    from lockstep.registry.record.events import Who
    from lockstep.registry.record.journal import default_who

    return Who(
        default_who().actor if options.actor is None else options.actor, options.reason or ""
    )


def _command(commands: Any, name: str, run: Callable[..., Answer], text: str, options: str) -> None:
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


def _gate(client: Client, options: argparse.Namespace, stage: str) -> Gate | None:
    """Return the verdict on a version that is to go into Production; what refuses is shown before the move is."""
    from lockstep.promotion.gate_report import gate_of

    asked = options.model_name, options.version, stage, options.force, options.reason or ""
    gate = gate_of(client, project_root(), *asked)
    if gate is not None and gate.refused:
        print(as_json({"gate": gate.content}) if options.json else gate.table)
    return gate


def _moved(done: Move, gate: Gate | None = None) -> Answer:
    content: dict[str, Any] = {
        "name": done.name,
        "version": done.step.version,
        "from": done.step.was,
        "to": done.step.now,
        "changed": done.changed,
        "made_way": [{"version": s.version, "from": s.was, "to": s.now} for s in done.made_way],
        "aliases": done.aliases,
    }
    if gate is None:
        return content, "\n".join(_move_lines(done))
    return {**content, "gate": gate.content}, "\n".join([gate.table, *_move_lines(done)])


def _move_lines(done: Move) -> list[str]:
    step = done.step
    stays = f"✓ {done.name} version {step.version} is in {step.now} already"
    moved = f"✓ {done.name} version {step.version}: {step.was} → {step.now}"
    lines = [moved if step.was != step.now else stays]
    lines += [f"  version {s.version} made way: {s.was} → {s.now}" for s in done.made_way]
    if step.was == "Production" != step.now and "production" not in done.aliases:
        lines.append("  no version is in Production now")
    return lines


def _newest_note(version: Version) -> str:
    """Say which version the newest is, and whether it is another model than the workspace's."""
    note = f"no --version given: took the newest, {version.version}"
    held = _workspace_digest(version)
    if held and held != version.tag("model_digest"):
        return f"{note}; it is not the model in this workspace (see list-versions for the digests)"
    return note


def _workspace_digest(version: Version) -> str | None:
    from lockstep.config.layout import ProblemLayout
    from lockstep.io import read_json

    problem, kind = version.tag("problem"), version.tag("type")
    if not problem or not kind:
        return None
    card: Path = ProblemLayout(project_root(), problem).model_card(kind)
    try:
        return read_json(card).get("model_digest") if card.is_file() else None
    except DataError:  # the workspace's own trouble, no reason to hinder a move in the registry
        return None


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


COMMANDS: dict[str, tuple[Callable[..., Answer], str, str]] = {
    "list-models": (show_models, "every registered model, and which versions are in use", ""),
    "list-versions": (
        show_versions,
        "a model's versions: stage, metrics of its own validation rows, when, from which commit",
        "--model-name",
    ),
    "transition": (
        transition,
        "put one version into any stage",
        "--model-name --version --stage [--force] [--reason] [--actor]",
    ),
    "promote": (
        promote,
        "put the newest version (or --version) into Production; the previous one is archived",
        "--model-name [--version] [--stage] [--force] [--reason] [--actor]",
    ),
    "archive": (
        archive,
        "put one version into Archived",
        "--model-name --version [--reason] [--actor]",
    ),
    "rollback": (
        rollback,
        "bring back what stood in Production before, or a version that once did",
        "--model-name [--stage] [--to] [--run-id] [--reason] [--actor]",
    ),
    "compare": (
        compare,
        "two versions on rows that neither was fitted or tuned on, and what went into them that differs",
        "--model-name --version --against [--against-name]",
    ),
    "history": (
        history,
        "every move of a model: who, when, why, from what, to what",
        "--model-name",
    ),
    "verify": (
        verify,
        "check files in the store, lineage, tags, aliases and record, or an exported folder; exit code 1 if any fails",
        "[--model-name] [--version] [--folder]",
    ),
    "export": (
        export,
        "a version as a folder that needs no registry: artifact, lineage, requirements, sums, Dockerfile",
        "--model-name [--stage] [--version] --output [--reason] [--actor]",
    ),
    "prune": (
        prune,
        "delete the files of old Archived versions that nothing refers to; shows which, until --yes is given",
        "--model-name [--keep] [--older-than] [--yes] [--reason] [--actor]",
    ),
    "doctor": (
        doctor,
        "configuration, tools, store, locks, records, files, workspace: what is wrong, and how to mend it; exit code 1 "
        "if anything is",
        "[--fix]",
    ),
    "reproduce": (
        reproduce,
        "make a version again from its recorded inputs in a clean copy of its commit, and compare the models",
        "--model-name --version [--keep]",
    ),
    "get-model": (
        show_model,
        "the version of a model in a stage, the newest where there are several",
        "--model-name --stage",
    ),
}
"""What each command does, its help, and its options; those in brackets may be left out."""
LISTINGS = (show_models, show_versions, show_model, history)
"""Commands that only read models and versions."""


if __name__ == "__main__":
    run_command(main)
