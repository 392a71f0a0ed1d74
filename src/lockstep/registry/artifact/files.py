"""The files of a model folder in the registry, and their sums."""

from __future__ import annotations

from pathlib import Path

from lockstep.io import sha256_file
from lockstep.models.artifact import ENCODER_SOURCE
from lockstep.registry.artifact.mlflow_leftovers import added_on_loading

SKOPS, GOLDEN, SCHEMA, CARD = "model.skops", "golden.json", "schema.yaml", "model_card.json"
SUMS = "sums.json"
"""The SHA-256 of every other file by path; its own digest is a tag of the version."""
ROWS_FILE = "seen_groups.npz"
"""The training rows."""
SHIPPED_CODE = Path("code") / "lockstep" / "features" / ENCODER_SOURCE.name
PICKLES = (".pkl", ".pickle", ".joblib", ".cloudpickle", ".dill")


def files_below(folder: Path) -> dict[str, Path]:
    """Return every file below a folder by its relative path, sorted."""
    paths = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
    return {name: paths[name] for name in sorted(paths)}


def sums_of(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of a model folder's files, without SUMS and what loading adds."""
    left_out = {SUMS, *added_on_loading(folder)}
    files = files_below(folder)
    return {name: sha256_file(files[name]) for name in files if name not in left_out}
