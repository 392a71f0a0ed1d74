"""The files of a model folder in the registry, their sums, and what loading adds to them.

MLflow's own loaders open a model of a local store in place. They note which version was asked for,
and Python caches the shipped code compiled beside it. This project reads and runs neither: they are
no part of the model, and no damage.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from lockstep.io import sha256_file
from lockstep.models.artifact import ENCODER_SOURCE

SKOPS, GOLDEN, SCHEMA, CARD = "model.skops", "golden.json", "schema.yaml", "model_card.json"
SUMS = "sums.json"
"""The SHA-256 of every other file by path; its own digest is a tag of the version."""
ROWS_FILE = "seen_groups.npz"
"""The training rows."""
REFERENCE = "monitoring_reference.json"
"""Counts of features, scores and errors that monitoring compares with."""
SHIPPED_CODE = Path("code") / "lockstep" / "features" / ENCODER_SOURCE.name
PICKLES = (".pkl", ".pickle", ".joblib", ".cloudpickle", ".dill")
REGISTERED_META = "registered_model_meta"
"""MLflow's note of the version as which a folder was loaded."""
_CODE, _COMPILED = "code", "__pycache__"
_COMPILED_NAME = re.compile(r"(?P<module>\w+)\.[a-z]+-?\d+(\.opt-[12])?\.pyc(\.\d+)?")
"""A name by importlib; while it writes, and after a kill then, a number follows."""


def files_below(folder: Path) -> dict[str, Path]:
    """Return every file below a folder by its relative path, sorted."""
    paths = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
    return {name: paths[name] for name in sorted(paths)}


def sums_of(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of a model folder's files, without SUMS and what loading adds."""
    left_out = {SUMS, *added_on_loading(folder)}
    files = files_below(folder)
    return {name: sha256_file(files[name]) for name in files if name not in left_out}


def added_on_loading(folder: Path) -> list[str]:
    """Return the paths that loading in place added: MLflow's note, and compiled code with a source.

    Links, and compiled code without its source or in another place than Python's, are no part.
    """
    found = [folder / REGISTERED_META, *(folder / _CODE).rglob(f"{_COMPILED}/*")]
    names = [p.relative_to(folder).as_posix() for p in found if p.is_file() and not p.is_symlink()]
    return sorted(name for name in names if name == REGISTERED_META or _has_source(folder, name))


def drop_added_on_loading(folder: Path) -> None:
    """Remove from a copy of a model folder what loading the original in place added."""
    for path in (folder / name for name in added_on_loading(folder)):
        path.unlink()
        if path.parent.name == _COMPILED and not any(path.parent.iterdir()):
            path.parent.rmdir()


def _has_source(folder: Path, name: str) -> bool:
    """Return whether a file in ``__pycache__`` belongs to a source file beside that folder."""
    path = PurePosixPath(name)
    parts = _COMPILED_NAME.fullmatch(path.name)
    return parts is not None and (folder / path.parents[1] / f"{parts['module']}.py").is_file()
