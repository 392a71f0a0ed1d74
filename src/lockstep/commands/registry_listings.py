"""Commands that only read models, versions and their history; they import nothing heavy."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from lockstep.console import aligned, listed
from lockstep.dvc.git import short
from lockstep.registry.record.event_text import stages_text, time_text
from lockstep.registry.record.events import Event, content_of, end_content
from lockstep.registry.record.registered_models import (
    Model,
    get_model,
    get_record,
    list_models,
    newest_in,
    newest_versions,
)
from lockstep.registry.store.names import LISTED, STAGES
from lockstep.registry.store.versions import Version

if TYPE_CHECKING:
    from lockstep.registry.store.opening import Registry

Answer = tuple[Any, str]
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


def show_models(client: Registry, options: argparse.Namespace) -> Answer:
    """List every model."""
    models = list_models(client)
    text = aligned([_model_row(model) for model in models]) if models else EMPTY
    return [_model_facts(model) for model in models], text


def show_versions(client: Registry, options: argparse.Namespace) -> Answer:
    """List one model's newest versions, the newest first."""
    limit = LISTED if options.limit is None else options.limit
    name = options.model_name
    model = newest_versions(client, name, limit) if limit else get_model(client, name)
    if not model.whole:
        _note_left_out(f"the newest {limit:,} versions of {name}")
    versions, text = model.versions[::-1], f"{model.name} has no version yet"
    if versions:
        text = aligned([_version_row(version) for version in versions])
    return [version_facts(model, version) for version in versions], text


def show_model(client: Registry, options: argparse.Namespace) -> Answer:
    """Show the version in one stage."""
    facts = version_facts(*newest_in(client, options.model_name, options.stage))
    return facts, listed(facts)


def history(client: Registry, options: argparse.Namespace) -> Answer:
    """Show a model's record, the newest event last."""
    record = get_record(client, options.model_name)
    for fault in record.faults:
        print(f"WARNING the record is damaged: {fault}", file=sys.stderr)
    limit = LISTED if options.limit is None else options.limit
    events = record.events[-limit:]  # 0: all of them
    if len(events) < len(record.events):
        _note_left_out(f"the newest {limit:,} of {len(record.events):,} events")
    text = f"{options.model_name} has no event on record yet"
    if events:
        text = aligned([_event_row(event) for event in events])
    return [event_facts(event) for event in events], text


def _note_left_out(shown: str) -> None:
    """Print that a listing is not all, beside it: its JSON is a list."""
    print(f"only {shown}; --limit N shows more, --limit 0 all", file=sys.stderr)


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
    stays = f"{event.of_version}: stays" if event.of_version else ""
    outcome = event.end.outcome if event.end else "open"
    repaired = event.end is not None and bool(event.end.mended_by)
    return {
        "event": event.number,
        "time (utc)": time_text(event),
        "action": event.action,
        "versions": stages_text(event, title="") or stays,
        "outcome": f"{outcome}, repaired" if repaired else outcome,
        "gate": event.gate.get("verdict", ""),
        "actor": event.who.actor,
        "reason": event.who.reason,
    }


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
    numbers = {stage.lower(): [v.version for v in model.in_stage(stage)] or "-" for stage in shown}
    facts = _model_facts(model)
    return {"name": model.name, "versions": facts["versions"], "newest": facts["newest"], **numbers}


def _version_row(version: Version) -> dict[str, Any]:
    scores = {name: version.scores.get(f"validation_{name}") for name in SHOWN_SCORES}
    commit = short(version.tag("git_commit") or "")
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
