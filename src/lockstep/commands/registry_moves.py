"""Commands that move versions between stages: transition, promote, archive, rollback."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from lockstep.config.layout import ProblemLayout, project_root
from lockstep.console import as_json
from lockstep.errors import DataError
from lockstep.io import read_json
from lockstep.promotion.gate_report import Gate, Ungated, gate_of
from lockstep.registry.lifecycle import moves as lifecycle
from lockstep.registry.lifecycle.moves import Move
from lockstep.registry.record.events import Who
from lockstep.registry.record.journal import default_who
from lockstep.registry.record.registered_models import get_version
from lockstep.registry.store.connection import Client
from lockstep.registry.store.versions import Version

Answer = tuple[Any, str]


def transition(client: Client, options: argparse.Namespace) -> Answer:
    """Move one version."""
    who, name, stage = who_of(options), options.model_name, options.stage
    gate = _gate(client, options, stage)
    done = lifecycle.transition(client, name, options.version, stage, who, gate=gate)
    return _moved(done, gate)


def promote(client: Client, options: argparse.Namespace) -> Answer:
    """Move the newest version, or the one named, into Production or Staging."""
    stage = options.stage or "Production"
    who, gate = who_of(options), _gate(client, options, stage)
    aside = "Archived" if getattr(options, "archive_current", True) else "None"
    done = lifecycle.promote(client, options.model_name, options.version, stage, who, gate, aside)
    if options.version is None:
        newest = get_version(client, options.model_name, done.step.version)
        print(_newest_note(newest), file=sys.stderr)
    return _moved(done, gate)


def archive(client: Client, options: argparse.Namespace) -> Answer:
    """Move one version into Archived."""
    return _moved(lifecycle.archive(client, options.model_name, options.version, who_of(options)))


def rollback(client: Client, options: argparse.Namespace) -> Answer:
    """Bring back the version that was in a stage before."""
    name, stage, who = options.model_name, options.stage or "Production", who_of(options)
    return _moved(lifecycle.rollback(client, name, stage, options.to, options.run_id, who))


def _gate(client: Client, options: argparse.Namespace, stage: str) -> Gate | Ungated:
    """Return the verdict on a version that is to go into a stage, and print a refusal."""
    name, version, reason = options.model_name, options.version, options.reason or ""
    gate = gate_of(client, project_root(), name, version, stage, options.force, reason)
    if isinstance(gate, Gate) and gate.refused:
        print(as_json({"gate": gate.content}) if options.json else gate.table)
    return gate


def _moved(done: Move, gate: Gate | Ungated | None = None) -> Answer:
    content: dict[str, Any] = {
        "name": done.name,
        "version": done.step.version,
        "from": done.step.was,
        "to": done.step.now,
        "changed": done.changed,
        "made_way": [{"version": s.version, "from": s.was, "to": s.now} for s in done.made_way],
        "aliases": done.aliases,
    }
    if not isinstance(gate, Gate):
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
    """Return which version the newest is, and whether it is another model than the workspace's."""
    note = f"no --version given: took the newest, {version.version}"
    digest = _workspace_digest(version)
    if digest and digest != version.tag("model_digest"):
        return f"{note}; it is not the model in this workspace (see list-versions for the digests)"
    return note


def _workspace_digest(version: Version) -> str | None:
    problem, kind = version.tag("problem"), version.tag("type")
    if not problem or not kind:
        return None
    card: Path = ProblemLayout(project_root(), problem).model_card(kind)
    try:
        return read_json(card).get("model_digest") if card.is_file() else None
    except DataError:  # the workspace's own trouble, no reason to hinder a move in the registry
        return None


def who_of(options: argparse.Namespace) -> Who:
    """Return who asks and why, from the options or the environment."""
    actor = default_who().actor if options.actor is None else options.actor
    return Who(actor, options.reason or "")
