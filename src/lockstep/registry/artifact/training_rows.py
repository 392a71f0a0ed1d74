"""Which rows a version was fitted or tuned on, as a compact set of hashed groups that travels with its artifact.

A row is known by its group, wherever that comes from. Where nothing but its place in a file tells rows apart (no group
column, or one that only numbers the rows), it is known by its content, so that it is the same row in another workspace
and in another order; copies of one content are counted, since one of them says nothing of the others.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from lockstep.config.layout import ProblemLayout
from lockstep.errors import DataError
from lockstep.features.matrix_columns import ROW
from lockstep.features.split import group_codes, mixed
from lockstep.io import read_parquet, sha256_json
from lockstep.problems.schema import Schema, load_schema
from lockstep.registry.artifact.disk_cache import read_cached, write_cached
from lockstep.registry.artifact.files import ROWS_FILE
from lockstep.registry.store.names import ROWS_TAG

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lockstep.dvc.lineage import Lineage

    Keys = NDArray[np.uint64]

FITTED = ("train", "stop", "choose")
"""The parts that a model is fitted, stopped, calibrated or chosen on."""
CACHE = Path(".lockstep") / "cache" / "seen"
MOST_BYTES = 64 * 2**20
"""How much of them a workspace keeps."""
_DROPPED_BITS = 24
"""Of each hash; 40 are enough to tell millions of groups apart, and take half the room."""
_UNREADABLE = (
    ValueError, KeyError, TypeError, OSError, EOFError, RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""What NumPy and zipfile raise over bytes that were changed: one changed byte is enough for most."""
_NOT_CONTENT = ("id", "group", "part", "truth")
"""Kinds of columns that say where a row stood or who made it, not what it is."""


@dataclass(frozen=True)
class TrainingRows:
    """Sorted keys of the groups that were seen, and what a key is made of: others are compared with the like only."""

    keys: Keys
    identity: str

    @property
    def digest(self) -> str:
        """The SHA-256 of the set and of what its keys are."""
        told = hashlib.sha256(self.identity.encode())
        told.update(self.keys.astype("<u8").tobytes())
        return told.hexdigest()


# ---------------------------------------------------------------- what a row is known by


def row_keys(table: pd.DataFrame, schema: Schema) -> TrainingRows:
    """Return every row's key, in the table's order, and what it is made of."""
    if (name := _telling_group(table, schema)) is not None:
        kind = "number" if table[name].dtype.kind in "iu" else "text"
        return TrainingRows(
            group_codes(table, schema) >> np.uint64(_DROPPED_BITS), f"group {name} ({kind})"
        )
    columns = [c.name for c in schema.columns.values() if c.kind not in _NOT_CONTENT]
    keys = _content_keys(table[columns]) >> np.uint64(_DROPPED_BITS)
    return TrainingRows(keys, f"content of {', '.join(columns)}")


def _telling_group(table: pd.DataFrame, schema: Schema) -> str | None:
    """Return the group column, unless there is none or it only numbers the rows of its file."""
    name = schema.group
    if name is None or table.empty:
        return name
    values = table[name]
    numbered = (
        values.dtype.kind in "iu"
        and values.min() >= 0
        and values.max() < 2 * len(values)
        and values.is_unique
    )
    return None if numbered else name


def _content_keys(table: pd.DataFrame) -> Keys:
    """Return a hash of each row's content and of how many rows of that content came before it."""
    content = pd.util.hash_pandas_object(table, index=False)
    copy = np.asarray(content.groupby(content).cumcount(), dtype=np.uint64)
    first = np.asarray(content, dtype=np.uint64)
    return np.where(copy == 0, first, mixed(first ^ mixed(copy)))


# ---------------------------------------------------------------- as bytes


def to_bytes(seen: TrainingRows) -> bytes:
    """Return a set as a compressed NumPy file: the gaps between sorted keys, no pickle."""
    written = io.BytesIO()
    gaps = np.diff(seen.keys, prepend=np.uint64(0))
    np.savez_compressed(written, gaps=gaps, identity=np.array(seen.identity))
    return written.getvalue()


def from_bytes(content: bytes) -> TrainingRows:
    """Read a set; what is none, or holds a pickle, is a DataError."""
    try:
        gaps, identity = arrays_of(content, "gaps", "identity")
    except DataError as error:
        raise DataError(f"its {ROWS_FILE} {error}") from error
    if gaps.dtype != np.uint64 or gaps.ndim != 1 or identity.dtype.kind != "U" or identity.ndim:
        raise DataError(f"its {ROWS_FILE} holds something else")
    return TrainingRows(np.cumsum(gaps, dtype=np.uint64), str(identity))


def arrays_of(content: bytes, *names: str) -> list[NDArray[Any]]:
    """Return named arrays of an .npz file's bytes; DataError for whatever is no whole one, or holds a pickle."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as held:
            return [held[name] for name in names]
    except _UNREADABLE as error:
        raise DataError(f"is damaged ({type(error).__name__})") from error


def read_training_rows(folder: Path, told: str) -> TrainingRows:
    """Read a model folder's set; a DataError says what is wrong with one that is not of the digest it was told."""
    path = folder / ROWS_FILE
    if not path.is_file():
        raise DataError(f"its {ROWS_FILE} is gone")
    seen = from_bytes(path.read_bytes())
    if seen.digest != told:
        raise DataError(f"its {ROWS_FILE} is not the one it was registered with")
    return seen


# ---------------------------------------------------------------- of a training


def rows_of_training(root: Path, problem: str, lineage: Lineage) -> TrainingRows | None:
    """Return what a training of this workspace saw; None where its tidy table or matrices are not here.

    Kept by the digest of its data, as all types of a problem see the same.
    """
    layout = ProblemLayout(root, problem)
    told = _told_of_tidy(lineage, layout)
    path = (
        root
        / CACHE
        / f"{sha256_json([lineage.data_digest, told, load_schema(problem).digest])}.npz"
    )
    kept = _kept(path)
    if kept is not None:
        return kept
    if not layout.tidy.is_file() or (told and told != _md5(layout.tidy)):
        return None
    try:
        seen = _seen_in(layout, load_schema(problem))
    except (
        DataError
    ):  # matrices that are not here whole: a copy of the models alone may still be registered
        return None
    write_cached(path, to_bytes(seen), MOST_BYTES)
    return seen


def cached_training_rows(root: Path, told: str) -> TrainingRows | None:
    """Return the set of this digest where this workspace keeps it."""
    seen = _kept(_place(root, told))
    return seen if seen is not None and seen.digest == told else None


def cache_training_rows(root: Path, seen: TrainingRows) -> None:
    """Keep a set by its digest."""
    write_cached(_place(root, seen.digest), to_bytes(seen), MOST_BYTES)


def _place(root: Path, told: str) -> Path:
    return root / CACHE / f"{sha256_json([ROWS_TAG, told])}.npz"


def _seen_in(layout: ProblemLayout, schema: Schema) -> TrainingRows:
    """Return the groups of the rows that the matrices of fitting and choosing hold."""
    rows = np.concatenate(
        [read_parquet(layout.matrix(part), [ROW])[ROW].to_numpy() for part in FITTED]
    )
    keys = row_keys(_identifying(layout, schema), schema)
    if len(rows) and not 0 <= rows.min() <= rows.max() < len(keys.keys):
        raise DataError(
            f"{layout.features} was made of another table; run `dvc repro features@{layout.problem}`"
        )
    return TrainingRows(np.unique(keys.keys[rows]), keys.identity)


def _identifying(layout: ProblemLayout, schema: Schema) -> pd.DataFrame:
    """Return the tidy table, of its columns only the group where that tells rows apart."""
    if schema.group is not None:
        table = read_parquet(layout.tidy, [schema.group])
        if _telling_group(table, schema) is not None:
            return table
    return read_parquet(layout.tidy)


def _kept(path: Path) -> TrainingRows | None:
    """Return a set that was kept; None where it wasn't, or was damaged since."""
    content = read_cached(path)
    try:
        return None if content is None else from_bytes(content)
    except DataError:
        return None


def _told_of_tidy(lineage: Lineage, layout: ProblemLayout) -> str:
    """Return DVC's sum of the tidy table that the matrices were made of; empty where it knows none."""
    stages: dict[str, Any] = lineage.closure["stages"]
    name = layout.tidy.relative_to(layout.root).as_posix()
    made = stages.get(f"features@{layout.problem}", {})
    return str(made.get("deps", {}).get(name, ""))


def _md5(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "md5").hexdigest()
