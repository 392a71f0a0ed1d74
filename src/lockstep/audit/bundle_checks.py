"""Checks of an exported bundle: a folder that needs no registry."""

from __future__ import annotations

from pathlib import Path

from lockstep.audit.artifacts import check_artifact
from lockstep.audit.findings import BROKEN, Found, compared, fault_line, sums_below, tried
from lockstep.audit.provenance import check_lineage
from lockstep.checks import FAILED, OK, CheckResult
from lockstep.errors import ArtifactError, DataError
from lockstep.io import read_json, sha256_file
from lockstep.registry.artifact.files import added_on_loading
from lockstep.registry.store.versions import Version

BUNDLE, BUNDLE_SUMS, MODEL_FOLDER = "bundle.json", "SHA256SUMS", "model"
"""Parts of a bundle: its description, the sums of all its files, the stored artifact."""


def verify_folder(folder: Path, root: Path | None = None) -> list[CheckResult]:
    """Check an exported bundle: the sums of all files, then artifact and lineage as in a registry.

    DataError for a folder that is no bundle.
    """
    if not (folder / BUNDLE_SUMS).is_file():
        missing = f"it holds no {BUNDLE_SUMS}; make one with `export`"
        raise DataError(f"{folder} is no exported bundle: {missing}")
    try:
        version = version_of(folder)
    except BROKEN as error:
        unread = Version(str(folder), 0, 0, None, "", "None", {})
        sums = tried(unread, "bundle", _bundle_files, folder)
        return [sums, CheckResult(BUNDLE, FAILED, fault_line(error, folder), unread.name)]
    return [
        tried(version, "bundle", _bundle_files, folder),
        *check_artifact(version, folder / MODEL_FOLDER),
        *check_lineage(version, root, folder),
    ]


def version_of(folder: Path) -> Version:
    """Return the version that a bundle was made of, as it says itself."""
    content = read_json(folder / BUNDLE)
    tags = {str(key): str(value) for key, value in content["tags"].items()}
    name, version, run_id = content["name"], content["version"], content.get("run_id")
    return Version(str(name), int(version), 0, run_id, "", "None", tags)


def _bundle_files(version: Version, folder: Path) -> Found:
    if faults := bundle_faults(folder):
        return FAILED, "; ".join(faults)
    return OK, f"{BUNDLE_SUMS} {sha256_file(folder / BUNDLE_SUMS)[:12]}…"


def bundle_faults(folder: Path) -> list[str]:
    """Return how a bundle's files differ from its list of sums, a line for each kind."""
    return compared(_listed_sums(folder), bundle_sums(folder))


def _listed_sums(folder: Path) -> dict[str, str]:
    """Return the sums in a bundle's list, by path; ArtifactError for a line that is no sum."""
    sums: dict[str, str] = {}
    for line in (folder / BUNDLE_SUMS).read_text(encoding="utf-8").splitlines():
        digest, parted, name = line.partition("  ")
        if not parted or len(digest) != 64:
            raise ArtifactError(f"{BUNDLE_SUMS} holds a line that is no sum: {line[:80]!r}")
        sums[name] = digest
    return sums


def bundle_sums(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of a bundle's files by path, but for the list and loading's leftovers."""
    added = {f"{MODEL_FOLDER}/{name}" for name in added_on_loading(folder / MODEL_FOLDER)}
    sums = sums_below(folder)
    return {name: sums[name] for name in sums if name != BUNDLE_SUMS and name not in added}
