"""From a request's body to what is answered: read, score, decide, or explain; plain functions over one served model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lockstep.models.scoring.prediction import OUTCOMES
from lockstep.serving.explanations import explanations
from lockstep.serving.loaded_model import Served

if TYPE_CHECKING:
    from lockstep.serving.request_parsing import Read


class Answered(NamedTuple):
    """What is answered, and what the prediction log keeps of it."""

    content: dict[str, Any]
    rows: int
    scores: np.ndarray
    decisions: Sequence[Any]
    records: bytes


def predicted(served: Served, body: bytes, most_rows: int) -> Answered:
    """Return the predictions of a body's records."""
    read = served.reader.read(body, most_rows)
    return answered(served, read, served.scorer.score(read.columns, read.rows))


def answered(served: Served, read: Read, scores: np.ndarray) -> Answered:
    """Return the predictions of records whose scores are there."""
    outcomes = outcomes_of(served, scores)
    content = _content(served, outcomes, read.single, "predictions")
    return Answered(content, read.rows, scores, _decided(outcomes), read.body)


def explained(served: Served, body: bytes, most_rows: int) -> Answered:
    """Return the predictions of a body's records with what each feature adds to them."""
    read = served.reader.read(body, most_rows)
    scores = served.scorer.score(read.columns, read.rows)
    outcomes = outcomes_of(served, scores)
    told = explanations(served, read.columns, read.rows, _places(served, outcomes))
    both = [one | more for one, more in zip(outcomes, told, strict=True)]
    content = _content(served, both, read.single, "explanations")
    return Answered(content, read.rows, scores, _decided(outcomes), read.body)


def outcomes_of(served: Served, scores: np.ndarray) -> list[dict[str, Any]]:
    """Return what is said of each row: of two classes by the threshold in force, of others as the model decides."""
    decision, numbers = served.decision, range(1, len(scores) + 1)
    if decision is None:
        model = served.model
        told = OUTCOMES[model.schema.task](model, scores, None)
        return [{"row": number, **one} for number, one in zip(numbers, told, strict=True)]
    chances = scores.tolist()
    return [
        {"row": number, "probability": chance, "decision": chosen, "meaning": word}
        for number, chance, (chosen, word) in zip(
            numbers, chances, decision.of(chances), strict=True
        )
    ]


def _content(
    served: Served, outcomes: list[dict[str, Any]], single: bool, name: str
) -> dict[str, Any]:
    if not single:
        return {name: outcomes, **served.origin}
    (outcome,) = outcomes
    del outcome["row"]
    return outcome | served.origin


def _places(served: Served, outcomes: list[dict[str, Any]]) -> Any:
    """Return the place of each row's decided class among the model's; None but for several classes."""
    if served.model.schema.task != "multiclass":
        return None
    place = {label: number for number, label in enumerate(served.model.classes)}
    return np.array([place[one["decision"]] for one in outcomes])


def _decided(outcomes: list[dict[str, Any]]) -> list[Any]:
    return [one.get("decision") for one in outcomes]
