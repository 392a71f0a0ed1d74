"""A model's scores of rows with a known target, whatever data it was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import is_numeric_dtype

from lockstep.decision.decision_rule import DecisionRule
from lockstep.errors import RegistryError
from lockstep.evaluation.metrics import Scored
from lockstep.models.scoring.prediction import Model


def inputs_of(model: Model, table: pd.DataFrame) -> pd.DataFrame:
    """Return the columns of a table that a model reads.

    RegistryError where it lacks one, or holds numbers in place of texts or the other way round.
    """
    missing = [name for name in model.schema.feature_names if name not in table]
    if missing:
        needed = f"{model.name} {model.version} needs {', '.join(missing)}"
        raise RegistryError(f"{needed}, which this workspace's table lacks")
    for column in model.schema.features:
        if column.holds_numbers != is_numeric_dtype(table[column.name]):
            kinds = ("numbers", "texts") if column.holds_numbers else ("texts", "numbers")
            raise RegistryError(
                f"{model.name} {model.version} reads {kinds[0]} in {column.name}, and this "
                f"workspace's table holds {kinds[1]} there"
            )
    return table[model.schema.feature_names]


def scored_from(
    rule: DecisionRule, scores: NDArray[Any], target: NDArray[Any], classes: Sequence[Any]
) -> Scored:
    """Return rows with a model's scores, and of several classes its decisions.

    A model trained on other data may know a class that has no row here, or lack one, which then
    has no chance with it.
    """
    if rule.task != "multiclass":
        return Scored(target, scores, rule.evaluation_threshold)
    names, own = [str(label) for label in classes], [str(label) for label in rule.classes]
    names += [name for name in own if name not in names]
    places = np.array([names.index(name) for name in own])
    spread = np.zeros((len(scores), len(names)))
    spread[:, places] = scores
    return Scored(target, spread, decision=places[rule.apply(scores)])


def check_finite(rows: Scored, model: Model) -> Scored:
    """Return scored rows; RegistryError for a score that is no number: it can't be compared."""
    if not is_finite(rows):
        where = f"{model.name} version {model.version}" if model.version else model.name
        raise RegistryError(f"{where} gives scores that are no finite numbers")
    return rows


def is_finite(rows: Scored) -> bool:
    """Tell whether all scores are finite numbers."""
    return bool(np.isfinite(rows.score).all())
