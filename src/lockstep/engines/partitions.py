"""The training rows on Spark: partitions of files, each read whole by the task that needs it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils.class_weight import compute_class_weight

from lockstep.config.layout import ProblemLayout
from lockstep.errors import DataError
from lockstep.features.matrix_columns import TARGET
from lockstep.io import read_parquet
from lockstep.models.matrices import Matrix, matrix_of


@dataclass(frozen=True)
class TrainingRows:
    """The folder of training rows, and the part that stops a fit, which every task reads whole."""

    train: Path
    stop: Path

    @classmethod
    def of(cls, layout: ProblemLayout) -> TrainingRows:
        """Return those of a problem; DataError if they are missing."""
        rows = cls(layout.matrix("train"), layout.matrix("stop"))
        for folder in (rows.train, rows.stop):
            if not folder.is_dir():
                raise DataError(
                    f"{folder} is missing; run `python src/models/train_spark.py "
                    f"--problem {layout.problem}`"
                )
        return rows

    @property
    def partitions(self) -> list[Path]:
        """The folders of the partitions, in order."""
        return sorted(path for path in self.train.iterdir() if path.is_dir())

    def read_partition(self, number: int) -> Matrix:
        """Return the rows of one partition."""
        return matrix_of(read_parquet(self.partitions[number]))

    def read_stop(self) -> Matrix:
        """Return the rows that stop a boosting and calibrate."""
        return matrix_of(read_parquet(self.stop))

    @cached_property
    def target(self) -> NDArray[Any]:
        """The target of all training rows, by partition."""
        return self.columns([TARGET])[TARGET].to_numpy()

    def columns(self, names: list[str]) -> pd.DataFrame:
        """Return some columns of all training rows, by partition."""
        return pd.concat([read_parquet(path, names) for path in self.partitions], ignore_index=True)


def class_weights(chosen: Any, target: NDArray[Any]) -> NDArray[np.float64]:
    """Return a row's weight by its class, as scikit-learn means it; 1 without classes."""
    if target.dtype.kind == "f":
        return np.ones(1)
    classes = np.unique(target)
    if chosen is None:
        return np.ones(len(classes))
    return np.asarray(compute_class_weight(chosen, classes=classes, y=target))
