"""The encoded matrices as the models see them: features, target, groups, column kinds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lockstep.config.layout import ProblemLayout
from lockstep.errors import DataError
from lockstep.features.matrix_columns import GROUP, ROW, TARGET, TRUTH
from lockstep.io import read_parquet
from lockstep.problems.schema import Schema

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Columns:
    """What a model type may know of the encoded columns, in their order."""

    kinds: dict[str, str]
    monotone: dict[str, int] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """All encoded columns."""
        return list(self.kinds)

    @property
    def categorical(self) -> list[str]:
        """Columns of codes: 0 missing, 1 unknown, then the known levels."""
        return [name for name, kind in self.kinds.items() if kind == "categorical"]

    @property
    def numeric(self) -> list[str]:
        """Columns whose order means something; NaN where missing."""
        return [name for name, kind in self.kinds.items() if kind != "categorical"]

    @property
    def directions(self) -> list[int]:
        """The monotone direction of every column: 1, -1, or 0 for none."""
        return [self.monotone.get(name, 0) for name in self.kinds]


@dataclass(frozen=True)
class Matrix:
    """One part's rows: features (float64), target, group, row number and true probability."""

    features: pd.DataFrame
    target: NDArray[Any]
    group: NDArray[Any]
    row: NDArray[Any]
    truth: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.target)

    def take(self, chosen: NDArray[np.bool_]) -> Matrix:
        """Return the rows that are chosen, in their order."""
        return Matrix(
            self.features[chosen].reset_index(drop=True),
            self.target[chosen],
            self.group[chosen],
            self.row[chosen],
            None if self.truth is None else self.truth[chosen],
        )


def read_matrix(layout: ProblemLayout, part: str) -> Matrix:
    """Read one part's matrix; one without rows or target is a DataError."""
    path = layout.matrix(part)
    table = read_parquet(path)
    lacking = {TARGET, GROUP, ROW} - set(table.columns)
    if lacking:
        raise DataError(
            f"{path} has no column {', '.join(sorted(lacking))}; "
            f"run `dvc repro features@{layout.problem}`"
        )
    if table.empty:
        raise DataError(
            f"{path} has no rows; change problems.{layout.problem}.split in params.yaml"
        )
    return matrix_of(table)


def matrix_of(table: pd.DataFrame) -> Matrix:
    """Take a matrix table apart."""
    own = [name for name in (TARGET, GROUP, ROW, TRUTH) if name in table]
    truth = table[TRUTH].to_numpy() if TRUTH in own else None
    if truth is not None and (truth != truth).any():
        truth = None
    return Matrix(
        features=table.drop(columns=own),
        target=table[TARGET].to_numpy(),
        group=table[GROUP].to_numpy(),
        row=table[ROW].to_numpy(),
        truth=truth,
    )


def columns_of(encoder: Any, schema: Schema) -> Columns:
    """Return what the fitted encoder and the schema declare of the encoded columns."""
    monotone = {column.name: column.monotone for column in schema.features if column.monotone}
    kinds = {
        str(name): str(encoder.feature_kinds_[name]) for name in encoder.get_feature_names_out()
    }
    ordered = {name for name, kind in kinds.items() if kind != "categorical"}
    return Columns(kinds, {name: way for name, way in monotone.items() if name in ordered})
