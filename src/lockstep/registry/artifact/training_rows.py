"""The rows that a version was fitted or tuned on, as a compact set of hashed groups.

A row is identified by its group. Without a group column, or if that only numbers the rows, it is
identified by its content, so that it is the same row in another workspace and in another order.
Copies of one content are numbered, as one of them says nothing about the others.
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
from numpy.typing import NDArray

from lockstep.config.layout import ProblemLayout
from lockstep.dvc.graph import dvc_sum
from lockstep.errors import ArtifactError, DataError
from lockstep.features.matrix_columns import ROW
from lockstep.features.split import group_codes, mixed
from lockstep.io import read_parquet, sha256_json
from lockstep.problems.schema import Schema, load_schema
from lockstep.registry.artifact.disk_cache import read_cached, write_cached
from lockstep.registry.artifact.files import ROWS_FILE
from lockstep.registry.store.names import ROWS_TAG
from lockstep.registry.store.versions import Version

if TYPE_CHECKING:
    from lockstep.dvc.lineage import Lineage

Keys = NDArray[np.uint64]
FITTED = ("train", "stop", "choose")
"""The parts on which a model is fitted, stopped, calibrated or selected."""
CACHE = Path(".lockstep") / "cache" / "seen"
MOST_BYTES = 64 * 2**20
"""The size of a workspace's cache."""
_DROPPED_BITS = 24
"""Of each hash: 40 bits tell millions of groups apart and take half the room."""
_UNREADABLE = (
    ValueError, KeyError, TypeError, OSError, EOFError, RuntimeError, MemoryError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""What NumPy and zipfile raise for damaged bytes."""
_NOT_CONTENT = ("id", "group", "part", "truth")
"""Kinds of columns that are no content of a row."""


@dataclass(frozen=True)
class TrainingRows:
    """Sorted keys of groups, and what a key is made of: only sets of the same kind are compared."""

    keys: Keys
    identity: str

    @property
    def digest(self) -> str:
        """The SHA-256 of the set and of the kind of its keys."""
        content = self.identity.encode() + self.keys.astype("<u8").tobytes()
        return hashlib.sha256(content).hexdigest()


# ---------------------------------------------------------------- what a row is known by


def row_keys(table: pd.DataFrame, schema: Schema) -> TrainingRows:
    """Return every row's key, in the table's order, and what the keys are made of."""
    if (name := _identifying_group(table, schema)) is not None:
        kind = "number" if table[name].dtype.kind in "iu" else "text"
        keys = group_codes(table, schema) >> np.uint64(_DROPPED_BITS)
        return TrainingRows(keys, f"group {name} ({kind})")
    columns = [c.name for c in schema.columns.values() if c.kind not in _NOT_CONTENT]
    keys = _content_keys(table[columns]) >> np.uint64(_DROPPED_BITS)
    return TrainingRows(keys, f"content of {', '.join(columns)}")


def _identifying_group(table: pd.DataFrame, schema: Schema) -> str | None:
    """Return the group column, unless it only numbers the rows of its file."""
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
    content = pd.util.hash_pandas_object(table, index=False)
    copy = np.asarray(content.groupby(content).cumcount(), dtype=np.uint64)
    first = np.asarray(content, dtype=np.uint64)
    return np.where(copy == 0, first, mixed(first ^ mixed(copy)))


# ---------------------------------------------------------------- as bytes


def to_bytes(rows: TrainingRows) -> bytes:
    """Return a set as a compressed NumPy file with the gaps between sorted keys, without pickle."""
    written = io.BytesIO()
    gaps = np.diff(rows.keys, prepend=np.uint64(0))
    np.savez_compressed(written, gaps=gaps, identity=np.array(rows.identity))
    return written.getvalue()


def from_bytes(content: bytes) -> TrainingRows:
    """Read a set; DataError for anything else, also for a pickle."""
    try:
        gaps, identity = arrays_of(content, "gaps", "identity")
    except DataError as error:
        raise DataError(f"its {ROWS_FILE} {error}") from error
    if gaps.dtype != np.uint64 or gaps.ndim != 1 or identity.dtype.kind != "U" or identity.ndim:
        raise DataError(f"its {ROWS_FILE} holds something else")
    return TrainingRows(np.cumsum(gaps, dtype=np.uint64), str(identity))


def arrays_of(content: bytes, *names: str) -> list[NDArray[Any]]:
    """Return named arrays of an .npz file's bytes; DataError if damaged or with a pickle."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return [arrays[name] for name in names]
    except _UNREADABLE as error:
        raise DataError(f"is damaged ({type(error).__name__})") from error


def read_training_rows(folder: Path, digest: str) -> TrainingRows:
    """Read a model folder's set; DataError if it is missing, damaged or of another digest."""
    path = folder / ROWS_FILE
    if not path.is_file():
        raise DataError(f"its {ROWS_FILE} is missing")
    rows = from_bytes(path.read_bytes())
    if rows.digest != digest:
        raise DataError(f"its {ROWS_FILE} is not the one it was registered with")
    return rows


# ---------------------------------------------------------------- of a training


def rows_of_training(
    root: Path, problem: str, lineage: Lineage, engine: str = ""
) -> TrainingRows | None:
    """Return the rows of a training of this workspace; None if its tables are missing."""
    layout, schema = ProblemLayout(root, problem, engine), load_schema(problem)
    table_sum = _tidy_sum(lineage, layout)
    # All types of a problem use the same.
    name = sha256_json([lineage.data_digest, table_sum, schema.digest])
    path = root / CACHE / f"{name}.npz"
    if (cached := _read(path)) is not None:
        return cached
    if not layout.tidy.exists() or (table_sum and table_sum != dvc_sum(layout.tidy)):
        return None
    try:
        rows = _rows_in(layout, schema)
    except DataError:  # incomplete matrices: a copy of the models alone may still be registered
        return None
    write_cached(path, to_bytes(rows), MOST_BYTES)
    return rows


def cached_training_rows(root: Path, digest: str) -> TrainingRows | None:
    """Return the set with this digest from this workspace's cache; None if it is not there."""
    rows = _read(_path(root, digest))
    return rows if rows is not None and rows.digest == digest else None


def cache_training_rows(root: Path, rows: TrainingRows) -> None:
    """Cache a set by its digest."""
    write_cached(_path(root, rows.digest), to_bytes(rows), MOST_BYTES)


def _path(root: Path, digest: str) -> Path:
    return root / CACHE / f"{sha256_json([ROWS_TAG, digest])}.npz"


def _rows_in(layout: ProblemLayout, schema: Schema) -> TrainingRows:
    fitted = (read_parquet(layout.matrix(part), [ROW])[ROW] for part in FITTED)
    rows = np.concatenate([numbers.to_numpy() for numbers in fitted])
    keys = row_keys(_identifying(layout, schema), schema)
    if len(rows) and not 0 <= rows.min() <= rows.max() < len(keys.keys):
        fix = f"run `dvc repro features@{layout.problem}`"
        raise DataError(f"{layout.features} was made of another table; {fix}")
    return TrainingRows(np.unique(keys.keys[rows]), keys.identity)


def _identifying(layout: ProblemLayout, schema: Schema) -> pd.DataFrame:
    """Return the tidy table, with its group column only if that identifies rows."""
    if schema.group is not None:
        table = read_parquet(layout.tidy, [schema.group])
        if _identifying_group(table, schema) is not None:
            return table
    return read_parquet(layout.tidy)


def _read(path: Path) -> TrainingRows | None:
    content = read_cached(path)
    try:
        return None if content is None else from_bytes(content)
    except DataError:  # damaged in the cache
        return None


def _tidy_sum(lineage: Lineage, layout: ProblemLayout) -> str:
    """Return DVC's sum of the tidy table behind the matrices; empty if it is unknown."""
    name = layout.tidy.relative_to(layout.root).as_posix()
    stages = lineage.closure["stages"]
    if layout.engine:
        return str(stages.get(f"prepare_spark@{layout.problem}", {}).get("outs", {}).get(name, ""))
    return str(stages.get(f"features@{layout.problem}", {}).get("deps", {}).get(name, ""))


def check_training_rows(version: Version, folder: Path) -> TrainingRows:
    """Return the groups that a version was fitted or tuned on, compared with its tag."""
    try:
        return read_training_rows(folder, version.tags.get(ROWS_TAG, "none"))
    except DataError as error:
        raise ArtifactError(str(error)) from error
