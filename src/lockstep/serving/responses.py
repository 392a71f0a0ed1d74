"""From a request's body to its answer: read, score, decide, explain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import orjson

from lockstep.models.scoring.contributions import Contributions, reasons, record_at
from lockstep.models.scoring.prediction import OUTCOMES
from lockstep.serving.http_request import Reply
from lockstep.serving.loaded_model import ServedModel
from lockstep.serving.request_parsing import Read
from lockstep.serving.table_parsing import ReadTable, logged_table


class Answer(NamedTuple):
    """The content of an answer, and what the prediction log keeps of it."""

    content: dict[str, Any]
    rows: int
    scores: np.ndarray
    decisions: Sequence[Any]
    records: bytes

    def reply(self, request: str) -> Reply:
        """Return the reply to a request, in JSON."""
        self.content["request_id"] = request
        return Reply(200, orjson.dumps(self.content, option=orjson.OPT_SERIALIZE_NUMPY))


def predicted(served: ServedModel, body: bytes, most_rows: int) -> Answer:
    """Return the predictions of a body's records."""
    read = served.reader.read(body, most_rows)
    return predictions(served, read, served.scorer.score(read.columns, read.rows))


def predictions(served: ServedModel, read: Read, scores: np.ndarray) -> Answer:
    """Return the predictions of records that are scored."""
    outcomes = outcomes_of(served, scores)
    return _answer(served, read, scores, outcomes, outcomes, "predictions")


def table_predictions(served: ServedModel, read: ReadTable, scores: np.ndarray) -> Answer:
    """Return the predictions of a table's rows, to be answered in JSON."""
    outcomes = outcomes_of(served, scores)
    decisions = [one.get("decision") for one in outcomes]
    content = {"predictions": outcomes, **origin_of(served, read.ignored)}
    return Answer(content, read.rows, scores, decisions, logged_table(served.model.schema, read))


def explained(served: ServedModel, body: bytes, most_rows: int) -> Answer:
    """Return the predictions of a body's records with the contribution of each feature."""
    read = served.reader.read(body, most_rows)
    scores = served.scorer.score(read.columns, read.rows)
    outcomes, chosen = outcomes_of(served, scores), None
    if served.model.schema.task == "multiclass":
        place = {label: number for number, label in enumerate(served.model.classes)}
        chosen = np.array([place[one["decision"]] for one in outcomes])
    found = served.explainer.explain(read.columns, read.rows, chosen)
    both = [one | _explanation(served, read, found, row) for row, one in enumerate(outcomes)]
    return _answer(served, read, scores, outcomes, both, "explanations")


def _explanation(served: ServedModel, read: Read, found: Contributions, row: int) -> dict[str, Any]:
    """Return one row's margin, the contributions that add up to it, and reasons in words."""
    label = {} if found.classes is None else {"explained_class": found.classes[row]}
    schema = served.model.schema
    margin_scale = served.scorer.model.fast.margin_scale
    scale = "value" if schema.task == "regression" else margin_scale
    return {
        **label,
        "base": found.base_of(row),
        "contributions": dict(zip(found.features, found.values[row].tolist(), strict=True)),
        "margin": float(found.margin[row]),
        "margin_scale": scale,
        "calibrated": None if found.calibrated is None else float(found.calibrated[row]),
        "reasons": reasons(schema, found, record_at(read.columns, row), row),
    }


def origin_of(served: ServedModel, ignored: Sequence[str]) -> dict[str, Any]:
    """Return what an answer says once: the model, and names in the records that are no features."""
    return served.origin | ({"ignored": ignored} if ignored else {})


def outcomes_of(served: ServedModel, scores: np.ndarray) -> list[dict[str, Any]]:
    """Return the outcome of each row: of two classes by the threshold in force."""
    numbers = range(1, len(scores) + 1)
    if served.decision is None:
        model = served.model
        found = OUTCOMES[model.schema.task](model, scores, None)
        return [{"row": number, **one} for number, one in zip(numbers, found, strict=True)]
    decided = served.decision.outcomes(scores)
    return [
        {"row": number, "probability": chance, "decision": chosen, "meaning": word}
        for number, chance, (chosen, word) in zip(numbers, scores.tolist(), decided, strict=True)
    ]


def _answer(
    served: ServedModel,
    read: Read,
    scores: np.ndarray,
    outcomes: list[dict[str, Any]],
    shown: list[dict[str, Any]],
    name: str,
) -> Answer:
    decisions = [one.get("decision") for one in outcomes]
    if read.single:
        content = {key: value for key, value in shown[0].items() if key != "row"}
    else:
        content = {name: shown}
    content |= origin_of(served, read.ignored)
    return Answer(content, read.rows, scores, decisions, read.body)
