"""Checks of an artifact: its files, its content, and last the loaded model."""

from __future__ import annotations

from pathlib import Path

from lockstep.audit.findings import Found, compared, finding, tried
from lockstep.checks import (
    FAILED,
    NOT_CHECKED,
    NOT_KNOWN,
    NOT_RECORDED,
    OK,
    PRUNED,
    CheckResult,
)
from lockstep.errors import ArtifactError, listed
from lockstep.io import read_json, sha256_file
from lockstep.models.artifact import check_types
from lockstep.registry.artifact.files import CARD, SKOPS, SUMS, added_on_loading, sums_of
from lockstep.registry.artifact.integrity import check_digest, check_no_pickles
from lockstep.registry.artifact.loading import check_schema, load_checked
from lockstep.registry.record.events import Record
from lockstep.registry.record.registered_models import Model
from lockstep.registry.store.artifact_store import fetch_version, on_a_server
from lockstep.registry.store.connection import Client
from lockstep.registry.store.versions import Version

_CARD_TAGS = (
    "model_digest", "schema_digest", "score_scale", "positive_weight", "class_ratio", "threshold",
)  # fmt: skip


def check_stored(client: Client, model: Model, version: Version, folder: Path) -> list[CheckResult]:
    """Fetch and check a version's artifact; of a pruned one only that this is on record."""
    if version.pruned is not None:
        return [tried(version, "files", _pruned, model.record)]
    if place := on_a_server(client, version):
        fix = "run `verify` there, or start the server with --serve-artifacts"
        message = f"they are on the server's own disk, in {place}; {fix}"
        return [finding(version, "files", NOT_KNOWN, message)]
    folder.mkdir()
    try:
        fetch_version(client, version, folder)
    except ArtifactError as error:
        return [finding(version, "files", FAILED, str(error))]
    return check_artifact(version, folder)


def _pruned(version: Version, record: Record) -> Found:
    known = [e for e in record.events if e.action == "prune" and str(version.version) in e.details]
    for event in known:
        if str(event.number) == version.pruned:
            return PRUNED, f"deleted by {event.who.actor} at {event.time} (event {event.number})"
    return FAILED, f"marked as pruned by event {version.pruned}, which the record doesn't have"


def check_artifact(version: Version, folder: Path) -> list[CheckResult]:
    """Check an artifact's folder; load the model only where digest and types are right."""
    first = [
        tried(version, "files", _files, folder),
        *_leftovers(version, folder),
        tried(version, "digest", _digest, folder),
        tried(version, "types", _types, folder),
        tried(version, "schema", _schema, folder),
        tried(version, "card", _card, folder),
    ]
    unsafe = [f.name for f in first if f.name in ("digest", "types") and not f.passed]
    if unsafe:
        message = f"not loaded, because of its {' and '.join(unsafe)}"
        return [*first, finding(version, "golden rows", NOT_CHECKED, message)]
    return [*first, tried(version, "golden rows", _golden, folder)]


def _files(version: Version, folder: Path) -> Found:
    """Compare every file with the sums noted when the artifact was packaged."""
    noted, path = version.tag("sums_digest"), folder / SUMS
    if not path.is_file():
        missing = FAILED, f"missing: {SUMS}"
        return missing if noted else (NOT_RECORDED, "registered before sums were kept")
    found = sums_of(folder)
    faults = compared(read_json(path), found)
    if noted is None:
        lost = "the version has lost its tag lockstep.sums_digest"
        faults.append(f"{lost}, and so {SUMS} proves nothing")
    elif sha256_file(path) != noted:
        faults.insert(0, f"changed: {SUMS}")
    return (FAILED, "; ".join(faults)) if faults else (OK, f"{len(found) + 1} files")


def _leftovers(version: Version, folder: Path) -> list[CheckResult]:
    """Name what loading in place added; nothing tells what it must be, and so it isn't compared."""
    added = added_on_loading(folder)
    names = listed(sorted(added))
    message = f"left by MLflow's loaders, no part of the model and never run here: {names}"
    return [finding(version, "leftovers", NOT_CHECKED, message)] if added else []


def _digest(version: Version, folder: Path) -> Found:
    return OK, f"{check_digest(version, folder)[:12]}…"


def _types(_: Version, folder: Path) -> Found:
    check_no_pickles(folder)
    check_types((folder / SKOPS).read_bytes(), SKOPS)
    return OK, "only allowed ones"


def _schema(version: Version, folder: Path) -> Found:
    if version.tag("schema_digest") is None:
        return NOT_RECORDED, "the version carries no tag lockstep.schema_digest"
    return OK, f"{check_schema(version, folder).digest[:12]}…"


def _card(version: Version, folder: Path) -> Found:
    """Compare the tags that decide how the model is used with the card inside the artifact."""
    if not (folder / CARD).is_file():
        return NOT_RECORDED, f"the artifact holds no {CARD}"
    card = read_json(folder / CARD)
    noted = {key: card[key] for key in _CARD_TAGS if card.get(key) is not None}
    other = {key: tag for key in noted if (tag := version.tag(key)) != str(noted[key])}
    wrong = [f"tag lockstep.{key} is {other[key]}, {CARD} says {noted[key]}" for key in other]
    return (FAILED, "; ".join(wrong)) if wrong else (OK, "agrees with the tags")


def _golden(version: Version, folder: Path) -> Found:
    return OK, f"{len(load_checked(version, folder)[2])} rows repeated"
