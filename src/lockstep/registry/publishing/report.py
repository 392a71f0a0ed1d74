"""The report of a problem with what the registry knows of its models: their versions and moves."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from lockstep.config.settings import Settings
from lockstep.registry.publishing.destinations import model_name
from lockstep.registry.record.event_text import moved_text, time_text
from lockstep.registry.record.events import Event
from lockstep.registry.record.registered_models import Model, get_same
from lockstep.registry.store.names import NotRegistered
from lockstep.registry.store.versions import Version
from lockstep.reports.report import Move, Registered, VersionFacts, report
from lockstep.reports.report_files import ReportFiles, read_report_files

if TYPE_CHECKING:
    from lockstep.registry.store.opening import Registry


def report_with_versions(client: Registry, settings: Settings, root: Path, problem: str) -> str:
    """Return the report of a problem, with the versions of the workspace's models."""
    files = read_report_files(root, problem)
    return report(files, registered_models(client, settings, files))


def registered_models(client: Registry, settings: Settings, files: ReportFiles) -> Registered:
    """Return the newest version of each of the workspace's models, and the moves of their names."""
    problem = files.layout.problem
    digests = {one.name: str(one.card.get("model_digest")) for one in files.types if one.card}
    versions, models = [], {}
    for kind, digest in digests.items():
        with suppress(NotRegistered):
            model = get_same(client, model_name(settings, problem, kind), digest)
            models[model.name] = model
            versions += [_version_facts(kind, version) for version in model.versions[-1:]]
    return Registered(versions, _moves(models.values()))


def _version_facts(kind: str, version: Version) -> VersionFacts:
    commit = version.tag("git_commit") or "unknown"
    created = datetime.fromtimestamp(version.created / 1000, UTC)
    made_of = {
        "commit": f"{commit} with uncommitted inputs" if version.dirty else commit,
        "inputs digest": version.tag("closure_digest"),
        "data digest": version.tag("data_digest"),
        "raw data": version.tag("data_dvc_hash"),
        "registered": f"{created:%Y-%m-%d %H:%M} UTC",
        "run": version.run_id,
    }
    known = {key: str(value) for key, value in made_of.items() if value}
    return VersionFacts(kind, version.name, version.version, version.stage, known)


def _moves(models: Iterable[Model]) -> list[Move]:
    """Return the events of all models, the newest first."""
    found = [(model.name, event) for model in models for event in model.record.events]
    # A move shows seconds, in which several may happen: the record's own time and number order.
    found.sort(key=lambda one: (one[1].time, one[1].number), reverse=True)
    return [_move(*one) for one in found]


def _move(name: str, event: Event) -> Move:
    who, outcome = event.who, event.end.outcome if event.end else "open"
    what = moved_text(event)
    return Move(time_text(event), name, event.action, what, who.actor, who.reason, outcome)
