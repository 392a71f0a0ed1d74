"""Checks of an exported bundle: a folder that needs no registry."""

from __future__ import annotations

from pathlib import Path

from lockstep.audit.artifacts import check_artifact
from lockstep.audit.findings import BROKEN, Told, compared, sums_below, told_of, tried
from lockstep.audit.provenance import check_lineage_folder
from lockstep.checks import FAILED, OK, CheckResult
from lockstep.errors import ArtifactError, DataError
from lockstep.io import read_json, sha256_file
from lockstep.registry.artifact.mlflow_leftovers import added_on_loading
from lockstep.registry.store.versions import Version

BUNDLE, BUNDLE_SUMS, MODEL_FOLDER = "bundle.json", "SHA256SUMS", "model"
"""What an exported bundle holds: what it is, the sums of all its files, and the artifact as it was stored."""


def verify_folder(folder: Path, root: Path | None = None) -> list[CheckResult]:
    """Check an exported bundle: every file by its sum, then the artifact and its lineage as in a registry.

    Raises DataError for a folder that is none.
    """
    if not (folder / BUNDLE_SUMS).is_file():
        raise DataError(
            f"{folder} is no exported bundle: it holds no {BUNDLE_SUMS}; make one with `export`"
        )
    try:
        version = version_of(folder)
    except BROKEN as error:
        unread = Version(str(folder), 0, 0, None, "", "None", {})
        sums = tried(unread, "bundle", _bundle_files, folder)
        return [sums, CheckResult(BUNDLE, FAILED, told_of(error, folder), unread.name)]
    return [
        tried(version, "bundle", _bundle_files, folder),
        *check_artifact(version, folder / MODEL_FOLDER),
        *check_lineage_folder(version, root, folder),
    ]


def version_of(folder: Path) -> Version:
    """Return the version that a bundle was made of, as it says itself."""
    told = read_json(folder / BUNDLE)
    tags = {str(key): str(value) for key, value in told["tags"].items()}
    return Version(str(told["name"]), int(told["version"]), 0, told.get("run_id"), "", "None", tags)


def _bundle_files(version: Version, folder: Path) -> Told:
    faults = compared(listed_sums(folder), bundle_sums(folder))
    return (
        (FAILED, "; ".join(faults))
        if faults
        else (OK, f"{BUNDLE_SUMS} {sha256_file(folder / BUNDLE_SUMS)[:12]}…")
    )


def listed_sums(folder: Path) -> dict[str, str]:
    """Return the sums that a bundle's list holds, by path; ArtifactError for a line that is none."""
    sums: dict[str, str] = {}
    for line in (folder / BUNDLE_SUMS).read_text(encoding="utf-8").splitlines():
        digest, parted, name = line.partition("  ")
        if not parted or len(digest) != 64:
            raise ArtifactError(f"{BUNDLE_SUMS} holds a line that is no sum: {line[:80]!r}")
        sums[name] = digest
    return sums


def bundle_sums(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of a bundle by path; without their list, and what loading it adds."""
    left_out = {
        BUNDLE_SUMS,
        *(f"{MODEL_FOLDER}/{name}" for name in added_on_loading(folder / MODEL_FOLDER)),
    }
    return {name: digest for name, digest in sums_below(folder).items() if name not in left_out}
