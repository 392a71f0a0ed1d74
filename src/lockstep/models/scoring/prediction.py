"""From records to predictions, for every kind of model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from lockstep.data.records import Record, records_to_table
from lockstep.decision.decision_rule import DecisionRule
from lockstep.decision.policies import Costs
from lockstep.errors import DataError
from lockstep.evaluation.intervals import bounds
from lockstep.features.matrix_columns import CLASSES
from lockstep.models.scoring.scorer import Scorer, columns_of
from lockstep.problems.schema import Schema


@dataclass(frozen=True)
class Model:
    """A checked pipeline with what it takes to predict, and what identifies it in answers."""

    pipeline: Any
    schema: Schema
    threshold: float | None
    name: str
    version: int | None = None
    stage: str | None = None
    run_id: str | None = None
    digest: str | None = None
    type: str | None = None
    interval: dict[str, Any] | None = None
    costs: Costs | None = None

    @cached_property
    def classes(self) -> list[Any]:
        """The labels of a multiclass target in the order of the scores, read from the artifact."""
        return list(getattr(self.pipeline.named_steps["encoder"], CLASSES))

    @cached_property
    def scorer(self) -> Scorer:
        """What scores: the one that training and the API use."""
        return Scorer(self.pipeline, self.schema)

    @cached_property
    def decision_rule(self) -> DecisionRule:
        """How its scores become classes."""
        task = self.schema.task
        classes = self.classes if task == "multiclass" else ()
        return DecisionRule(task, self.threshold, classes, self.costs)

    def score(self, table: pd.DataFrame) -> np.ndarray:
        """Return each row's score, float64.

        Binary: the positive class's probability (rows,). Multiclass: probabilities (rows, classes).
        Regression: the prediction (rows,).
        """
        return self.scorer.score(columns_of(self.schema, table), len(table))


def predict(
    model: Model, records: Sequence[Record], threshold: float | None = None
) -> list[dict[str, Any]]:
    """Check records against the model's schema and return one plain dictionary for each.

    ``threshold`` replaces the model's own. A record that does not fit raises DataError.
    """
    return predict_table(model, records_to_table(model.schema, records), threshold)


def predict_table(
    model: Model, table: pd.DataFrame, threshold: float | None = None
) -> list[dict[str, Any]]:
    """Return one plain dictionary for each row of a checked table of the schema's features."""
    outcomes = OUTCOMES[model.schema.task](model, model.score(table), threshold)
    origin = {
        "model": model.name,
        "version": model.version,
        "stage": model.stage,
        "run_id": model.run_id,
        "model_digest": model.digest,
    }
    return [{"row": number, **one, **origin} for number, one in enumerate(outcomes, start=1)]


def _binary(model: Model, scores: np.ndarray, threshold: float | None) -> list[dict[str, Any]]:
    used = model.threshold if threshold is None else threshold
    if used is None:
        raise DataError(f"{model.name} records no threshold; give one with --threshold")
    codes = model.schema.columns[model.schema.target].codes
    meanings = [meaning or str(code) for code, meaning in codes.items()] or ["", ""]
    decided = replace(model.decision_rule, threshold=used).apply(scores)
    return [
        {"probability": score, "decision": place, "meaning": meanings[place], "threshold": used}
        for score, place in zip(scores.tolist(), decided.tolist(), strict=True)
    ]


def _multiclass(model: Model, scores: np.ndarray, threshold: float | None) -> list[dict[str, Any]]:
    if threshold is not None:
        raise DataError(
            f"{model.name} decides among {scores.shape[1]} classes, not by a threshold; "
            "leave --threshold out"
        )
    classes, meanings = model.classes, model.schema.columns[model.schema.target].codes
    names = [str(label) for label in classes]
    decided = [classes[place] for place in model.decision_rule.apply(scores)]
    return [
        {
            "probabilities": dict(zip(names, chances, strict=True)),
            "decision": label,
            "meaning": meanings.get(label, ""),
        }
        for chances, label in zip(scores.tolist(), decided, strict=True)
    ]


def _regression(model: Model, scores: np.ndarray, threshold: float | None) -> list[dict[str, Any]]:
    if threshold is not None:
        raise DataError(f"{model.name} predicts a number, not a class; leave --threshold out")
    if model.interval is None:
        return [{"prediction": score} for score in scores.tolist()]
    low, high = bounds(model.interval, scores)
    ends, coverage = zip(low.tolist(), high.tolist(), strict=True), model.interval["coverage"]
    return [
        {"prediction": score, "low": start, "high": end, "coverage": coverage}
        for score, (start, end) in zip(scores.tolist(), ends, strict=True)
    ]


OUTCOMES: dict[str, Callable[[Model, np.ndarray, float | None], list[dict[str, Any]]]] = {
    "binary": _binary,
    "multiclass": _multiclass,
    "regression": _regression,
}
