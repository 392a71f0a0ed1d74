"""The checks of an artifact's files by their bytes, for loading, publishing and the audit.

Each takes a version and the folder of its files, returns what it read, and raises ArtifactError
with what is wrong; ``explained`` adds which version it is and how to repair it. ``loading`` checks
what the files hold. These here import no library of models.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lockstep.errors import ArtifactError, UnusableHere, listed
from lockstep.io import read_json, sha256_file
from lockstep.models.artifact import digest_of_file
from lockstep.registry.artifact.files import (
    PICKLES,
    SHIPPED_CODE,
    SKOPS,
    SUMS,
    files_below,
    sums_of,
)
from lockstep.registry.store.names import REGISTER_AGAIN
from lockstep.registry.store.versions import Version

_PICKLE_STARTS = (b"\x80\2", b"\x80\3", b"\x80\4", b"\x80\5")


@contextmanager
def explained(version: Version) -> Iterator[None]:
    """Add the version and the fix to the message of a check that fails within the block."""
    try:
        yield
    except UnusableHere:  # registering it again would not help
        raise
    except ArtifactError as error:
        raise ArtifactError(f"{version.title}: {error}; {REGISTER_AGAIN}") from error


def recorded_digest(version: Version) -> str:
    """Return the model digest that a version carries."""
    digest = version.tag("model_digest") or ""
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        fault = "it carries no valid digest (tag lockstep.model_digest)"
        raise ArtifactError(f"{fault}, as it was not registered by this project; not loaded")
    return digest


def model_file(folder: Path) -> Path:
    """Return the model's file; a folder with a pickle in its place is named as such."""
    if (folder / SKOPS).is_file():
        return folder / SKOPS
    pickles = [name for name, path in files_below(folder).items() if path.suffix in PICKLES]
    if pickles:
        holds = f"it holds a pickle ({pickles[0]}) in place of {SKOPS}"
        raise ArtifactError(f"{holds}; pickles are never loaded from a registry")
    raise ArtifactError(f"its {SKOPS} is missing")


def check_digest(version: Version, folder: Path) -> str:
    """Compare the model and its shipped code with the version's digest; return the digest."""
    recorded = recorded_digest(version)
    found = digest_of_file(model_file(folder), folder / SHIPPED_CODE)
    if found != recorded:
        differ = f"its artifact has digest {found[:12]}…, the version says {recorded[:12]}…"
        raise ArtifactError(f"{differ}: changed or swapped after it was registered; not loaded")
    return found


def check_sums(version: Version, folder: Path) -> None:
    """Compare the files with the sums that they were registered with, if the version has them."""
    noted = version.tag("sums_digest")
    if noted is None:
        return
    if not (folder / SUMS).is_file() or sha256_file(folder / SUMS) != noted:
        raise ArtifactError(f"its {SUMS} is not the one it was registered with")
    sums, found = read_json(folder / SUMS), sums_of(folder)
    if changed := sorted(name for name in sums if found.get(name) != sums[name]):
        raise ArtifactError(f"changed since it was registered: {listed(changed)}")


def check_no_pickles(folder: Path) -> None:
    """Look for a pickle among all files of an artifact, by its name and by its first bytes."""
    pickles = [name for name, path in files_below(folder).items() if _is_pickle(path)]
    if pickles:
        raise ArtifactError(f"{', '.join(pickles[:5])}: a pickle, which is never loaded")


def _is_pickle(path: Path) -> bool:
    with path.open("rb") as stream:
        return path.suffix in PICKLES or stream.read(2) in _PICKLE_STARTS
