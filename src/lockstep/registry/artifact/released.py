"""What is served from this workspace: `models/PROBLEM/production.pkl`, a link to an immutable copy of a model.

A link to a DVC output would mean another model after the next `dvc checkout`, and dangle while a stage runs; so the
copy lies outside of DVC and git, in `released/`, with its card and its schema beside it. The link changes by one
rename, after the copy is whole and checked: whoever opens it has the old model or the new one, never none.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lockstep.config.layout import ProblemLayout
from lockstep.errors import ArtifactError, UsageError
from lockstep.io import read_json, sha256_file, sha256_json, write_json
from lockstep.models.workspace import CARD_SUFFIX, RELEASE, SCHEMA_SUFFIX, load_file
from lockstep.problems.schema import PROBLEMS

if TYPE_CHECKING:
    from lockstep.models.scoring.prediction import Model

POINTER, FOLDER, MODEL_SUFFIX = "production.pkl", "released", ".joblib"
BESIDE = (SCHEMA_SUFFIX, MODEL_SUFFIX)
"""What lies beside a card, in the order of writing."""
READ_ONLY = 0o444


@dataclass(frozen=True)
class Released:
    """What the link names now, and what it named before (None: there was no link)."""

    pointer: Path
    file: Path
    before: Path | None

    @property
    def changed(self) -> bool:
        """Whether another file is served than before."""
        return self.file != self.before


def pointer_of(layout: ProblemLayout) -> Path:
    """Return the link that is served from."""
    return layout.root / "models" / layout.problem / POINTER


def released_file(layout: ProblemLayout) -> Path | None:
    """Return the model file that is served; None where nothing was released yet."""
    pointer = pointer_of(layout)
    return pointer.parent / pointer.readlink() if pointer.is_symlink() else None


def release(
    layout: ProblemLayout, model_type: str, facts: dict[str, Any], check: Callable[[Model], None]
) -> Released:
    """Copy a model of the workspace, check the copy, and let the link name it.

    ``facts`` (name, version, run_id …) go into the copy's card. ``check`` raises where the copy, as it was loaded,
    must not be served. Whatever fails leaves the link as it was.
    """
    pointer = pointer_of(layout)
    _refuse_file(pointer)
    folder = pointer.parent / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".", suffix=".part") as made:
        copy = _copied(layout, model_type, facts, Path(made))
        check(load_file(copy, layout.root))
        file = _settled(copy, folder)
        before = released_file(layout)
        _point(pointer, file, Path(made))
    return Released(pointer, file, before)


def _refuse_file(pointer: Path) -> None:
    if pointer.exists() and not pointer.is_symlink():
        raise UsageError(
            f"{pointer} is no link but somebody's own file; move it away and run the command again"
        )


def _copied(layout: ProblemLayout, model_type: str, facts: dict[str, Any], folder: Path) -> Path:
    """Return a copy of a model in ``folder``, with its card and schema; it must be the file its card describes."""
    copy = folder / f"model{MODEL_SUFFIX}"
    card = read_json(layout.model_card(model_type))
    shutil.copyfile(layout.model(model_type), copy)
    if sha256_file(copy) != card["file_sha256"]:
        raise ArtifactError(
            f"{layout.model(model_type)} is not the file its card describes; run `dvc checkout` or `dvc repro`"
        )
    write_json(copy.with_suffix(CARD_SUFFIX), {**card, RELEASE: facts}, digits=None)
    shutil.copyfile(PROBLEMS / layout.problem / "schema.yaml", copy.with_suffix(SCHEMA_SUFFIX))
    return copy


def _settled(copy: Path, folder: Path) -> Path:
    """Put a copy, its card and its schema under the name of its digest, read-only; return where the model lies.

    The card takes the name. One that is taken by another card, as the same model's with another threshold, or of
    an earlier retrain, gets the card's own digest behind it.
    """
    card = read_json(copy.with_suffix(CARD_SUFFIX))
    digest = card["model_digest"]
    for name in (digest, f"{digest}-{sha256_json(card)[:12]}"):
        file = folder / f"{name}{MODEL_SUFFIX}"
        if _put(copy.with_suffix(CARD_SUFFIX), file.with_suffix(CARD_SUFFIX)):
            for suffix in BESIDE:
                if not _put(copy.with_suffix(suffix), file.with_suffix(suffix)):
                    copy.with_suffix(suffix).replace(
                        file.with_suffix(suffix)
                    )  # damaged since, or cut off
            _sync(folder)
            return file
    raise ArtifactError(
        f"{folder} holds a damaged card {name}{CARD_SUFFIX}; remove it and run the command again"
    )


def _put(part: Path, path: Path) -> bool:
    """Give a whole file its name, read-only; false where another content has that name."""
    part.chmod(READ_ONLY)
    _sync(part)
    try:
        os.link(part, path)  # unlike a rename it never takes the place of what is there
    except FileExistsError:
        return sha256_file(path) == sha256_file(part)
    return True


def _point(pointer: Path, file: Path, made: Path) -> None:
    link = made / POINTER
    link.symlink_to(file.relative_to(pointer.parent))
    link.replace(pointer)
    _sync(pointer.parent)


def _sync(path: Path) -> None:
    """Have a file's content, or a folder's names, on the disk before what comes next."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
