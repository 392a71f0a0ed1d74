"""The rows of this workspace that some versions have not seen, and models' scores of them."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lockstep.config.gates import Gates
from lockstep.config.layout import ProblemLayout
from lockstep.dvc.lineage import lineage
from lockstep.errors import ArtifactError, ConfigError, DataError, RegistryError
from lockstep.evaluation.scored_rows import Scored
from lockstep.features.matrices import classes_of, encoded_target
from lockstep.io import read_parquet, sha256_file, sha256_json
from lockstep.models.scoring.prediction import Model
from lockstep.problems.schema import load_schema
from lockstep.promotion.scoring import inputs_of, scored_from
from lockstep.registry.artifact.disk_cache import read_cached, write_cached
from lockstep.registry.artifact.loading import open_training_rows
from lockstep.registry.artifact.locating import locate
from lockstep.registry.artifact.training_rows import (
    TrainingRows,
    arrays_of,
    row_keys,
    rows_of_training,
)
from lockstep.registry.store.versions import Version

if TYPE_CHECKING:
    from lockstep.registry.store.opening import Registry

CACHE = Path(".lockstep") / "cache" / "scores"
MOST_BYTES = 256 * 2**20
"""The size of this cache: a thousand models' scores of 30,000 rows."""
NEW_MODEL = "the new model"


@dataclass(frozen=True)
class Holdout:
    """Rows that are new to all sides of a comparison.

    ``table`` has the tidy table's columns, a row each, numbered from 0. ``target`` (rows,) is the
    place among ``classes`` (a number for regression). ``groups`` (rows,) are uint64 hashes of what
    is drawn as a whole.
    """

    table: pd.DataFrame
    target: NDArray[Any]
    groups: NDArray[np.uint64]
    classes: list[Any]
    digest: str

    def take(self, chosen: NDArray[np.bool_]) -> Holdout:
        """Return the chosen rows, in their order."""
        places = hashlib.sha256(np.packbits(chosen).tobytes()).hexdigest()
        return Holdout(
            self.table[chosen].reset_index(drop=True),
            self.target[chosen],
            self.groups[chosen],
            self.classes,
            sha256_json([self.digest, places]),
        )


def holdout(client: Registry, root: Path, problem: str, versions: Sequence[Version]) -> Holdout:
    """Return the rows of this workspace's tidy table whose group none of the versions has seen.

    RegistryError where the seen groups of a version are unknown or damaged, where this workspace
    has no tidy table, or where no row is left.
    """
    named = [(version.title, seen_by(client, version, root)) for version in versions]
    return unseen(root, problem, named)


def unseen(root: Path, problem: str, named: Sequence[tuple[str, TrainingRows]]) -> Holdout:
    """Return the rows that no model has seen; ``named`` are their titles and training rows."""
    rows = all_rows(root, problem)
    keys = row_keys(rows.table, load_schema(problem))
    new = np.ones(len(rows.target), dtype=bool)
    for where, seen in {seen.digest: (where, seen) for where, seen in named}.values():
        _check_identity(seen, keys, where, problem)
        new &= ~np.isin(keys.keys, seen.keys)
    if not new.any():
        earlier = dict.fromkeys(where for where, _ in named if where != NEW_MODEL)
        names = " and ".join(earlier) or NEW_MODEL
        raise RegistryError(
            f"{names} were fitted or tuned on every row of {problem} in this workspace; bring in "
            f"rows that are new to them: `make add-data PROBLEM={problem} FROM=…`, or a larger "
            f"problems.{problem}.split.test"
        )
    return rows.take(new)


def check_enough(rows: Holdout, gates: Gates) -> None:
    """Raise a RegistryError where too few rows or groups are left to compare models on."""
    for what, count, least in (
        ("rows", len(rows.target), gates.champion.min_rows),
        ("groups", len(np.unique(rows.groups)), gates.champion.min_groups),
    ):
        if count < least:
            raise RegistryError(
                f"only {count:,} {what} are left that no side has seen, fewer than "
                f"champion.min_{what} {least:,}; bring in new data"
            )


def all_rows(root: Path, problem: str) -> Holdout:
    """Return every row of this workspace's tidy table with a known target."""
    layout, schema = ProblemLayout(root, problem), load_schema(problem)
    if not layout.tidy.is_file():
        missing = f"this workspace has no {layout.tidy.relative_to(root)} to compare models on"
        raise RegistryError(f"{missing}; run `dvc repro preprocess@{problem}` (or `dvc pull`)")
    table = read_parquet(layout.tidy)
    classes = classes_of(table, schema)
    target = encoded_target(table, schema, classes)
    return Holdout(table, target, row_keys(table, schema).keys, classes, sha256_file(layout.tidy))


def seen_by(client: Registry, version: Version, root: Path) -> TrainingRows:
    """Return the groups a version was fitted or tuned on, as its artifact holds them.

    For a version that carries none: those of this workspace's training on the very same data.
    """
    if version.tag("seen_digest") is None:
        return _seen_here(version, root)
    # A damaged download is removed when it is found, and may be of a version of the same model
    # with other groups: the second attempt downloads this version's.
    with suppress(ArtifactError):
        return open_training_rows(locate(client, version, root))
    try:
        return open_training_rows(locate(client, version, root))
    except ArtifactError as error:
        raise RegistryError(str(error)) from error


def _seen_here(version: Version, root: Path) -> TrainingRows:
    """Return the groups that this workspace's training saw on the data that a version names."""
    problem, kind, digest = version.tag("problem"), version.tag("type"), version.tag("data_digest")
    try:
        here = lineage(root, problem, kind) if problem and kind and digest else None
    except ConfigError:  # a type or problem that this workspace does not declare
        here = None
    seen = (
        rows_of_training(root, str(problem), here) if here and here.data_digest == digest else None
    )
    if seen is None:
        raise RegistryError(
            f"{version.title} does not say which rows it was fitted on: it was registered "
            "without its data; bring those into this workspace (`git checkout` of its commit, "
            "`dvc pull`), or train a new version here"
        )
    return seen


def _check_identity(seen: TrainingRows, here: TrainingRows, where: str, problem: str) -> None:
    """Refuse to compare keys of different making: no row would ever be found again."""
    if seen.identity != here.identity:
        raise RegistryError(
            f"{where} identifies its rows by the {seen.identity}, the table of {problem} here by "
            f"the {here.identity}; which rows are new to it can't be known: train a new version on "
            "this table"
        )


# ---------------------------------------------------------------- scores


def scored(model: Model, model_digest: str, rows: Holdout, root: Path) -> Scored:
    """Return rows with a model's scores, cached by the digests of model and rows.

    RegistryError for a model that reads columns this table lacks.
    """
    inputs = inputs_of(model, rows.table)
    scores = kept_scores(model_digest, rows, root)
    if scores is None:
        scores = model.score(inputs)
        written = io.BytesIO()
        np.savez(written, scores=scores)
        write_cached(_place(model_digest, rows, root), written.getvalue(), MOST_BYTES)
    return scored_from(model.decision_rule, scores, rows.target, rows.classes)


def kept_scores(model_digest: str, rows: Holdout, root: Path) -> NDArray[Any] | None:
    """Return a model's cached scores of rows; None where there are none, or the file is damaged."""
    content = read_cached(_place(model_digest, rows, root))
    if content is None:
        return None
    try:
        (scores,) = arrays_of(content, "scores")
    except DataError:
        return None
    return scores if len(scores) == len(rows.target) and scores.dtype == np.float64 else None


def _place(model_digest: str, rows: Holdout, root: Path) -> Path:
    return root / CACHE / f"{sha256_json([model_digest, rows.digest])}.npz"
