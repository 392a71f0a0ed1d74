"""Records in, decisions out: what a prediction is made from and what it says, whatever the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lockstep.data.records import Record, records_to_table
from lockstep.decision.policies import Costs, decide
from lockstep.errors import DataError
from lockstep.evaluation.intervals import bounds
from lockstep.evaluation.metrics import SCORE_DECIMALS
from lockstep.features.matrix_columns import CLASSES

if TYPE_CHECKING:
    import pandas as pd

    from lockstep.problems.schema import Schema


@dataclass(frozen=True)
class Model:
    """A pipeline that was checked, with all that is needed to predict and to say by what."""

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

    @property
    def classes(self) -> list[Any]:
        """The labels of a multiclass target in the order of the model's scores; they lie in the artifact itself."""
        return list(getattr(self.pipeline.named_steps["encoder"], CLASSES))

    def score(self, table: pd.DataFrame) -> np.ndarray:
        """Return each row's score, float64.

        The positive class's probability (rows,), those of several classes (rows, classes), or the prediction (rows,).
        """
        if self.schema.task == "regression":
            return np.asarray(self.pipeline.predict(table), dtype=np.float64)
        scores = np.asarray(self.pipeline.predict_proba(table), dtype=np.float64)
        return np.round(scores[:, 1] if self.schema.task == "binary" else scores, SCORE_DECIMALS)


def predict(
    model: Model, records: Sequence[Record], threshold: float | None = None
) -> list[dict[str, Any]]:
    """Check the records against the model's schema and return one plain dictionary for each.

    ``threshold`` replaces the model's own; a record that does not fit is a DataError that names what to change.
    """
    table = records_to_table(model.schema, records)
    found = OUTCOMES[model.schema.task](model, model.score(table), threshold)
    return [{"row": number, **one, **_origin(model)} for number, one in enumerate(found, start=1)]


def _of_two(model: Model, scores: np.ndarray, threshold: float | None) -> list[dict[str, Any]]:
    used = model.threshold if threshold is None else threshold
    if used is None:
        raise DataError(f"{model.name} records no threshold; give one with --threshold")
    codes = model.schema.columns[model.schema.target].codes
    meanings = [meaning or str(code) for code, meaning in codes.items()] or ["", ""]
    decisions = [int(score >= used) for score in scores.tolist()]
    return [
        {
            "probability": score,
            "decision": decision,
            "meaning": meanings[decision],
            "threshold": used,
        }
        for score, decision in zip(scores.tolist(), decisions, strict=True)
    ]


def _of_several(model: Model, scores: np.ndarray, threshold: float | None) -> list[dict[str, Any]]:
    if threshold is not None:
        raise DataError(
            f"{model.name} decides among {scores.shape[1]} classes, by no threshold; leave --threshold out"
        )
    classes, codes = model.classes, model.schema.columns[model.schema.target].codes
    decided = [classes[place] for place in decide(scores, classes, model.costs)]
    names = [str(label) for label in classes]
    return [
        {
            "probabilities": dict(zip(names, chances, strict=True)),
            "decision": label,
            "meaning": codes.get(label, ""),
        }
        for chances, label in zip(scores.tolist(), decided, strict=True)
    ]


def _of_numbers(model: Model, scores: np.ndarray, threshold: float | None) -> list[dict[str, Any]]:
    if model.interval is None:
        return [{"prediction": score} for score in scores.tolist()]
    low, high = bounds(model.interval, scores)
    ends, coverage = zip(low.tolist(), high.tolist(), strict=True), model.interval["coverage"]
    return [
        {"prediction": score, "low": start, "high": end, "coverage": coverage}
        for score, (start, end) in zip(scores.tolist(), ends, strict=True)
    ]


OUTCOMES: dict[str, Callable[[Model, np.ndarray, float | None], list[dict[str, Any]]]] = {
    "binary": _of_two,
    "multiclass": _of_several,
    "regression": _of_numbers,
}
"""What a prediction says, by task: from a model, its scores of the rows and another threshold, a dictionary a row."""


def _origin(model: Model) -> dict[str, Any]:
    return {
        "model": model.name,
        "version": model.version,
        "stage": model.stage,
        "run_id": model.run_id,
        "model_digest": model.digest,
    }
