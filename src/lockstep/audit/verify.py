"""Check what the registry holds: the files of each artifact, their content and lineage, the record.

The files are downloaded past the cache. Nothing in them is imported or unpickled; a model is loaded
only after its digest and the types inside it were found right.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from lockstep.audit.artifacts import check_stored
from lockstep.audit.findings import Found, tried
from lockstep.audit.provenance import check_gates, check_lineage
from lockstep.audit.record_checks import alias_faults, stage_faults
from lockstep.checks import FAILED, NOT_RECORDED, OK, CheckResult
from lockstep.registry.record.events import Record
from lockstep.registry.record.registered_models import Model, get_in_use, get_model, list_models
from lockstep.registry.store.connection import Client
from lockstep.registry.store.versions import Version


def verify(
    client: Client, root: Path, name: str | None = None, version: int | None = None
) -> list[CheckResult]:
    """Check everything the registry holds, one model, or one version of it."""
    if name is None:
        models = list_models(client)
    elif version is None:
        models = [get_model(client, name)]
    else:
        models = [get_in_use(client, name, [version])]
    found: list[CheckResult] = []
    for model in models:
        found += check_model(model)
        for one in model.versions if version is None else [model.version(version)]:
            found += check_version(client, root, model, one)
    return found


def check_model(model: Model) -> list[CheckResult]:
    """Check a model's record and its aliases."""
    checks = {"record": _record_faults(model), "aliases": alias_faults(model)}
    nothing = "" if model.record.events else "no event yet"
    return [
        CheckResult(check, FAILED if faults else OK, "; ".join(faults) or nothing, model.name)
        for check, faults in checks.items()
    ]


def _record_faults(model: Model) -> list[str]:
    why = "it is under way, or a crash left it; the next move ends it"
    opened = [f"event {e.number} ({e.action}) has no end: {why}" for e in model.record.open]
    missing = sorted(model.record.stages.keys() - model.numbers) if model.whole else []
    versions = [f"version {number} is on record and not in the registry" for number in missing]
    return [*model.record.faults, *opened, *versions]


def check_version(client: Client, root: Path, model: Model, version: Version) -> list[CheckResult]:
    """Check one version: its files, its lineage, and that its tags agree with the record."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        return [
            *check_stored(client, model, version, folder / "model"),
            *check_lineage(version, root, folder / "run", client),
            tried(version, "gates", check_gates, client, model.record, folder / "run"),
            tried(version, "stage", _stage, model.record),
        ]


def _stage(version: Version, record: Record) -> Found:
    if version.recorded is None:
        return NOT_RECORDED, "the record does not know this version; the next move takes it over"
    wrong = [*stage_faults(version), *_registered_otherwise(version, record)]
    return (FAILED, "; ".join(wrong)) if wrong else (OK, version.stage)


def _registered_otherwise(version: Version, record: Record) -> list[str]:
    """Name the tags that differ from the event of the version's registration."""
    events = (e for e in record.events if e.action == "register")
    event = next((e for e in events if e.of_version == version.version), None)
    if event is None:
        return []
    return [
        f"tag lockstep.{key} is not the one of event {event.number}"
        for key in ("model_digest", "sums_digest")
        if key in event.details and event.details[key] != version.tag(key)
    ]
