"""The served model of this workspace: `models/PROBLEM/production.pkl`, a link to an immutable copy.

A link to a DVC output would name another model after the next `dvc checkout`, and dangle while a
stage runs. So the copy is outside of DVC and git, in `released/`, with its card and its schema. The
link changes by one rename, after the copy is complete and checked: a reader always gets the old
model or the new one.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lockstep.config.layout import ProblemLayout
from lockstep.errors import ArtifactError, UsageError
from lockstep.io import read_json, sha256_file, sha256_json, write_json
from lockstep.models.scoring.prediction import Model
from lockstep.models.typical_record import CARD_KEY, typical_of_training
from lockstep.models.workspace import CARD_SUFFIX, RELEASE, SCHEMA_SUFFIX, load_file
from lockstep.problems.schema import PROBLEMS, load_schema

POINTER, FOLDER, MODEL_SUFFIX = "production.pkl", "released", ".joblib"
BESIDE = (SCHEMA_SUFFIX, MODEL_SUFFIX)
"""The files beside a card, in the order of writing."""
READ_ONLY = 0o444


@dataclass(frozen=True)
class Released:
    """The file that the link names now, and the one before (None: there was no link)."""

    pointer: Path
    file: Path
    before: Path | None

    @property
    def changed(self) -> bool:
        """Whether another file is served now."""
        return self.file != self.before


def pointer_of(layout: ProblemLayout) -> Path:
    """Return the link to the served model."""
    return layout.root / "models" / layout.problem / POINTER


def checked_pointer(layout: ProblemLayout) -> Path:
    """Return the link to the served model; UsageError where a file of the user's has its place."""
    pointer = pointer_of(layout)
    if pointer.exists() and not pointer.is_symlink():
        fix = "move it away and run the command again"
        raise UsageError(f"{pointer} is no link but somebody's own file; {fix}")
    return pointer


def released_file(layout: ProblemLayout) -> Path | None:
    """Return the model file that is served; None if nothing was released yet."""
    pointer = pointer_of(layout)
    return pointer.parent / pointer.readlink() if pointer.is_symlink() else None


def release(
    layout: ProblemLayout, model_type: str, facts: dict[str, Any], check: Callable[[Model], None]
) -> Released:
    """Copy a model of the workspace, check the copy, and point the link to it.

    ``facts`` (name, version, run_id …) go into the copy's card. ``check`` raises if the loaded copy
    must not be served. An error leaves the link as it was.
    """
    pointer = checked_pointer(layout)
    folder = pointer.parent / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".", suffix=".part") as made:
        copy = _copy(layout, model_type, facts, Path(made))
        check(load_file(copy, layout.root))
        file = _put_all(copy, folder)
        before = released_file(layout)
        link = Path(made) / POINTER
        link.symlink_to(file.relative_to(pointer.parent))
        link.replace(pointer)
        _sync(pointer.parent)
    return Released(pointer, file, before)


def _copy(layout: ProblemLayout, model_type: str, facts: dict[str, Any], folder: Path) -> Path:
    copy = folder / f"model{MODEL_SUFFIX}"
    card = read_json(layout.model_card(model_type))
    shutil.copyfile(layout.model(model_type), copy)
    if sha256_file(copy) != card["file_sha256"]:
        other = f"{layout.model(model_type)} is not the file its card describes"
        raise ArtifactError(f"{other}; run `dvc checkout` or `dvc repro`")
    typical = typical_of_training(layout, load_schema(layout.problem), card)
    more = {RELEASE: facts} | ({} if typical is None else {CARD_KEY: typical})
    write_json(copy.with_suffix(CARD_SUFFIX), {**card, **more}, digits=None)
    shutil.copyfile(PROBLEMS / layout.problem / "schema.yaml", copy.with_suffix(SCHEMA_SUFFIX))
    return copy


def _put_all(copy: Path, folder: Path) -> Path:
    """Link a copy, its card and its schema by its digest, read-only; return the model's path."""
    card = read_json(copy.with_suffix(CARD_SUFFIX))
    digest = card["model_digest"]
    # Another card may have the name: the same model with another threshold, or an earlier retrain.
    for name in (digest, f"{digest}-{sha256_json(card)[:12]}"):
        file = folder / f"{name}{MODEL_SUFFIX}"
        if _put(copy.with_suffix(CARD_SUFFIX), file.with_suffix(CARD_SUFFIX)):
            for suffix in BESIDE:
                part, path = copy.with_suffix(suffix), file.with_suffix(suffix)
                if not _put(part, path):  # damaged since, or cut off
                    part.replace(path)
            _sync(folder)
            return file
    fix = "remove it and run the command again"
    raise ArtifactError(f"{folder} holds a damaged card {name}{CARD_SUFFIX}; {fix}")


def _put(part: Path, path: Path) -> bool:
    """Give a complete file its name, read-only; return False if another content has that name."""
    part.chmod(READ_ONLY)
    _sync(part)
    try:
        os.link(part, path)  # unlike a rename, it replaces nothing
    except FileExistsError:
        return sha256_file(path) == sha256_file(part)
    return True


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
