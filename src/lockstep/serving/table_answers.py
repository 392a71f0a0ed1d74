"""Answers to tables: the predictions of many rows as an Arrow stream, without a step a row."""

from __future__ import annotations

from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np
import orjson
import pyarrow as pa

from lockstep.models.scoring.outcome_columns import outcome_fields, outcomes
from lockstep.serving.http_request import ARROW_STREAM, Headers, Reply
from lockstep.serving.loaded_model import ServedDecision, ServedModel
from lockstep.serving.responses import Answer, origin_of, table_predictions
from lockstep.serving.table_bodies import TableBody
from lockstep.serving.table_parsing import ReadTable, logged_table

_WORDS = pa.dictionary(pa.int32(), pa.string())


def outcome_columns(served: ServedModel, scores: np.ndarray) -> dict[str, pa.Array]:
    """Return what JSON answers for each row as columns: its row, its outcome, the meaning."""
    model, rows = served.model, len(scores)
    columns = {"row": pa.array(np.arange(1, rows + 1))}
    if served.decision is not None:
        return columns | _decided(served.decision, scores)
    names = [field.name for field in outcome_fields(model)]
    columns |= dict(zip(names, outcomes(model, scores), strict=True))
    if model.schema.task == "multiclass":
        meanings = model.schema.columns[model.schema.target].codes
        words = [meanings.get(label, "") for label in model.classes]
        columns["meaning"] = _coded(model.decision_rule.apply(scores), words)
    elif model.interval is not None:
        columns["coverage"] = pa.repeat(float(model.interval["coverage"]), rows)
    return columns


def _decided(rule: ServedDecision, scores: np.ndarray) -> dict[str, pa.Array]:
    """Return the outcomes of two classes; within the band the decision is null."""
    places, review = rule.places(scores)
    decisions = pa.array(places, mask=review)
    spoken = places if review is None else np.where(review, 2, places)
    meanings = _coded(spoken, [*rule.words, "review"])
    return {"probability": pa.array(scores), "decision": decisions, "meaning": meanings}


def _coded(places: np.ndarray, words: list[str]) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(places, pa.int32()), words).cast(_WORDS)


class TableAnswer(NamedTuple):
    """The answer to a table, and what the prediction log keeps of it, as ``Answer`` has it."""

    served: ServedModel
    read: ReadTable
    scores: np.ndarray
    columns: dict[str, pa.Array]

    @property
    def rows(self) -> int:
        """How many rows were scored."""
        return self.read.rows

    @property
    def decisions(self) -> Any:
        """The decision of each row, integers as an array; None where there is none."""
        found = self.columns.get("decision")
        if found is None:
            return [None] * self.rows
        plain = pa.types.is_integer(found.type) and not found.null_count
        return found.to_numpy() if plain else found.to_pylist()

    @property
    def records(self) -> bytes:
        """The rows as the prediction log keeps them."""
        return logged_table(self.served.model.schema, self.read)

    def reply(self, request: str) -> Reply:
        """Return the columns as an Arrow stream; its metadata and the headers name the model."""
        origin = origin_of(self.served, self.read.ignored) | {"request_id": request}
        columns = pa.record_batch(list(self.columns.values()), names=list(self.columns))
        batch = columns.replace_schema_metadata({k: _text(v) for k, v in origin.items()})
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema) as writer:
            writer.write_batch(batch)
        return Reply(200, sink.getvalue().to_pybytes(), ARROW_STREAM, _headers(self.served))


def predicted_table(served: ServedModel, body: TableBody, as_json: bool) -> Answer | TableAnswer:
    """Return the predictions of a table's rows, for an answer in Arrow or in JSON."""
    read = served.tables.read(body)
    scores = served.scorer.score(read.columns, read.rows)
    if as_json:
        return table_predictions(served, read, scores)
    return TableAnswer(served, read, scores, outcome_columns(served, scores))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _headers(served: ServedModel) -> Headers:
    model = served.model
    given = {"name": quote(model.name), "version": model.version, "digest": model.digest}
    known = {name: str(value) for name, value in given.items() if value is not None}
    return tuple((f"x-model-{name}".encode(), text.encode()) for name, text in known.items())
