"""Check what the registry holds: every file of an artifact, what is inside, where it comes from, and the record.

The files are fetched from the store afresh, past the cache. Nothing they hold is imported or unpickled, and a model is
loaded only after its digest and the types inside it were found right.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from lockstep.audit.artifacts import check_stored
from lockstep.audit.findings import Told, tried
from lockstep.audit.provenance import check_gates, check_lineage
from lockstep.audit.record_checks import alias_faults, stage_faults
from lockstep.checks import FAILED, NOT_RECORDED, OK, CheckResult
from lockstep.registry.record.registered_models import Model, get_model, list_models
from lockstep.registry.store.versions import Version

if TYPE_CHECKING:
    from lockstep.registry.record.events import Record
    from lockstep.registry.store.connection import Client


def verify(
    client: Client, root: Path, name: str | None = None, version: int | None = None
) -> list[CheckResult]:
    """Check everything the registry holds, one model, or one version of it."""
    models = list_models(client) if name is None else [get_model(client, name)]
    found: list[CheckResult] = []
    for model in models:
        found += check_model(model)
        for one in model.versions if version is None else [model.version(version)]:
            found += check_version(client, root, model, one)
    return found


# ---------------------------------------------------------------- a model and its record


def check_model(model: Model) -> list[CheckResult]:
    """Check a model's record and its aliases."""
    return [
        _of_model(model, "record", _record_faults(model)),
        _of_model(model, "aliases", alias_faults(model)),
    ]


def _of_model(model: Model, check: str, faults: list[str]) -> CheckResult:
    told = "; ".join(faults) or ("no event yet" if not model.record.events else "")
    return CheckResult(check, FAILED if faults else OK, told, model.name)


def _record_faults(model: Model) -> list[str]:
    """Return what is wrong with the record: its chain, moves half done, versions it knows and that are gone."""
    there = {version.version for version in model.versions}
    gone = sorted(model.record.stages.keys() - there)
    half = [
        f"event {event.number} ({event.action}) has no end: under way, or a crash left it; the next move ends it"
        for event in model.record.open
    ]
    lost = [f"version {number} is on record and gone from the registry" for number in gone]
    return [*model.record.faults, *half, *lost]


# ---------------------------------------------------------------- a version


def check_version(client: Client, root: Path, model: Model, version: Version) -> list[CheckResult]:
    """Check one version: its files, fetched afresh, its lineage, and that its tags agree with the record."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        return [
            *check_stored(client, model, version, folder / "model"),
            *check_lineage(client, root, version, folder / "run"),
            check_gates(client, model.record, version, folder / "run"),
            tried(version, "stage", _stage, model.record),
        ]


def _stage(version: Version, record: Record) -> Told:
    """Compare what is written at the version with what the record says of it."""
    if version.recorded is None:
        return NOT_RECORDED, "the record does not know this version; the next move takes it over"
    wrong = [*stage_faults(version), *_registered_otherwise(version, record)]
    return (FAILED, "; ".join(wrong)) if wrong else (OK, version.stage)


def _registered_otherwise(version: Version, record: Record) -> list[str]:
    """Name the tags that are not those the event of the version's registration holds."""
    made = next(
        (e for e in record.events if e.action == "register" and e.of_version == version.version),
        None,
    )
    told = {} if made is None else made.details
    keys = [
        key
        for key in ("model_digest", "sums_digest")
        if key in told and told[key] != version.tag(key)
    ]
    return [f"tag lockstep.{key} is not the one of event {made.number}" for key in keys if made]
