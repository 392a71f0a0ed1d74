"""The outcomes of many rows as columns: what ``prediction.OUTCOMES`` answers row by row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from lockstep.evaluation.intervals import bounds
from lockstep.models.scoring.prediction import Model


def outcome_fields(model: Model) -> list[pa.Field]:
    """Return the columns that a model adds to its input."""
    number = pa.float64()
    if model.schema.task == "regression":
        names = ["prediction"] + ["low", "high"] * (model.interval is not None)
        return [pa.field(name, number) for name in names]
    if model.schema.task == "binary":
        return [pa.field("probability", number), pa.field("decision", pa.int64())]
    chances = [pa.field(f"probability_{label}", number) for label in model.classes]
    return [*chances, pa.field("decision", label_type(model))]


def outcomes(model: Model, scores: Any) -> list[Any]:
    """Return the arrays of ``outcome_fields``."""
    if model.schema.task == "regression":
        ends = () if model.interval is None else bounds(model.interval, scores)
        return [pa.array(values) for values in (scores, *ends)]
    decided = model.decision_rule.apply(scores)
    if model.schema.task == "binary":
        return [pa.array(scores), pa.array(decided)]
    labels = pa.array(model.classes, label_type(model))
    return [*(pa.array(np.ascontiguousarray(one)) for one in scores.T), labels.take(decided)]


def label_type(model: Model) -> pa.DataType:
    """Return the type of the column that holds a model's classes."""
    are_numbers = all(isinstance(label, int) for label in model.classes)
    return pa.int64() if are_numbers else pa.string()
