"""Checks of a version's lineage: its closure, its changed inputs, its commit, its verdicts."""

from __future__ import annotations

from pathlib import Path

from lockstep.audit.findings import Found, compared, finding, sums_below, tried
from lockstep.checks import FAILED, NOT_CHECKED, NOT_KNOWN, NOT_RECORDED, OK, CheckResult
from lockstep.dvc.git import ABSENT, UNREADABLE, git, read_head
from lockstep.errors import LockstepError
from lockstep.io import read_json, sha256_json
from lockstep.promotion.gate_report import FOLDER
from lockstep.registry.record.events import Event, Record
from lockstep.registry.store.artifact_store import fetch_run_folder
from lockstep.registry.store.connection import Client, one_line, store_errors
from lockstep.registry.store.names import CLOSURE, INPUTS, KEPT_INPUTS, LINEAGE, METRICS
from lockstep.registry.store.versions import Version


def check_lineage(
    version: Version, root: Path | None, folder: Path, client: Client | None = None
) -> list[CheckResult]:
    """Check closure, changed inputs and commit; ``client`` fetches them into ``folder`` first."""
    fetched = tried(version, "closure", _fetch, folder, client) if client else None
    commit = tried(version, "commit", _commit, root)
    if fetched and fetched.verdict == FAILED:
        message = "they are kept beside the closure, which could not be fetched"
        return [fetched, finding(version, "inputs", NOT_CHECKED, message), commit]
    inputs = tried(version, "inputs", _inputs, folder)
    if fetched and fetched.verdict == NOT_RECORDED:
        return [fetched, inputs, commit]
    return [tried(version, "closure", _closure, folder), inputs, commit]


def _fetch(version: Version, folder: Path, client: Client) -> Found:
    """Fetch what the run keeps of the version's origin into ``folder``."""
    vouched = version.tag("closure_digest") or version.tag("inputs_digest")
    if vouched is None or version.run_id is None:
        return NOT_RECORDED, "the version carries no closure"
    try:
        run = client.get_run(version.run_id)
    except store_errors() as error:
        missing = getattr(error, "error_code", "") == "RESOURCE_DOES_NOT_EXIST"
        state = "is missing" if missing else f"cannot be read ({one_line(error)})"
        return FAILED, f"its run {version.run_id} {state}"
    folder.mkdir(exist_ok=True)
    if run.info.lifecycle_stage != "active":
        return FAILED, f"its run is deleted; `mlflow runs restore --run-id {version.run_id}`"
    if fetch_run_folder(client, version.run_id, LINEAGE, folder):
        return OK, ""
    # With `mlflow.log_artifacts: false` a run has neither.
    kept = any(item.path == METRICS for item in client.list_artifacts(version.run_id))
    missing = f"its run {version.run_id} has no folder {LINEAGE}"
    return (FAILED, f"{missing} any more") if kept else (NOT_RECORDED, missing)


def _closure(version: Version, folder: Path) -> Found:
    noted, path = version.tag("closure_digest"), folder / CLOSURE
    if noted is None:
        return NOT_RECORDED, "the version carries no closure"
    if not path.is_file():
        return FAILED, f"{CLOSURE} is missing"
    found = sha256_json(read_json(path))
    return (OK, f"{found[:12]}…") if found == noted else _other_digest(CLOSURE, found, noted)


def _inputs(version: Version, folder: Path) -> Found:
    """Compare the run's copies of uncommitted inputs with the list whose digest the version has."""
    noted, path = version.tag("inputs_digest"), folder / INPUTS
    if noted is None:
        return _unvouched(version, path)
    if version.dirty is False:
        contrary = "tag lockstep.inputs_digest that some were"
        return FAILED, f"tag lockstep.dirty says none were changed, {contrary}"
    if not path.is_file():
        return FAILED, f"{INPUTS} is missing"
    listed = read_json(path)
    if (found := sha256_json(listed)) != noted:
        return _other_digest(INPUTS, found, noted)
    kept = {name: digest for name, digest in listed.items() if digest is not None}
    if faults := compared(kept, sums_below(folder / KEPT_INPUTS)):
        return FAILED, "; ".join(faults)
    return OK, f"{len(listed)} changed, as kept by the run"


def _other_digest(file: Path, found: str, noted: str) -> Found:
    return FAILED, f"{file} has digest {found[:12]}…, the version says {noted[:12]}…"


def _unvouched(version: Version, path: Path) -> Found:
    """Check a version without a digest of changed inputs: were there any, or has its run some?"""
    if version.dirty and path.is_file():
        lost = "the version has lost its tag lockstep.inputs_digest"
        return FAILED, f"{lost}, and so {INPUTS.name} proves nothing"
    if version.dirty:
        return NOT_RECORDED, "some were changed and not committed, and none of them were kept"
    if path.is_file():
        # Of a training that a crash stopped before it was registered, and committed since.
        return NOT_RECORDED, "its run keeps changed inputs, the version was made without any"
    return OK, "none was changed" if version.dirty is False else "none was kept"


def _commit(version: Version, root: Path | None) -> Found:
    """Look the commit up in the repository here; a missing one is no fault of the version."""
    commit, later = version.tag("git_commit"), version.tag("committed_as")
    if commit is None or commit in ABSENT:
        return NOT_RECORDED, commit or "the version carries no tag lockstep.git_commit"
    dirty = ", with changes that its closure holds" if version.dirty else ""
    dirty += f", committed as {later}" if later else ""
    if root is not None and (head := read_head(root)).commit in UNREADABLE:
        return NOT_KNOWN, f"{commit}: {head.reason}{dirty}"
    if not has_commit(root, commit):
        return NOT_KNOWN, f"{commit} is not in the repository here; `git fetch` may bring it{dirty}"
    if later and not has_commit(root, later):
        dirty += ", which is not in the repository here"
    return OK, f"{commit[:12]}{dirty}"


def has_commit(root: Path | None, commit: str) -> bool:
    """Tell whether the repository here has a commit; a tag that holds anything else is none."""
    if root is None or not commit.isalnum():
        return False
    return bool(git(root, "rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}"))


def check_gates(version: Version, client: Client, record: Record, folder: Path) -> Found:
    """Compare the verdicts that the run keeps, put into ``folder``, with their events' digests."""
    judged = [event for event in record.events if event.gate and event.version == version.version]
    kept = [event for event in judged if event.gate.get("file")]
    folder.mkdir(exist_ok=True)
    if kept and version.run_id is not None:
        fetch_run_folder(client, version.run_id, FOLDER, folder)
    faults = [fault for event in kept if (fault := _verdict_fault(event, folder))]
    if faults:
        return FAILED, "; ".join(faults)
    lost = [str(event.number) for event in judged if event not in kept]
    if lost:
        return NOT_RECORDED, f"the verdict of event {', '.join(lost)} could not be kept"
    return OK, f"{len(kept)} kept as recorded" if kept else "no move was judged"


def _verdict_fault(event: Event, folder: Path) -> str:
    """Return what is wrong with the stored verdict of an event; empty where nothing is."""
    name = str(event.gate["file"])
    path = folder / FOLDER / Path(name).name
    if not path.is_file():
        return f"missing: {name} of event {event.number}"
    try:
        found = sha256_json(read_json(path))
    except (LockstepError, ValueError):  # no JSON any more, or JSON without a canonical form
        found = ""
    return "" if found == event.gate.get("digest") else f"changed: {name} of event {event.number}"
