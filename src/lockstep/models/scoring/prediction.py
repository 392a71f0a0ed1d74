"""Records in, decisions out: what a prediction is made from and what it says, whatever the model."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from lockstep.data.checks import records_to_table
from lockstep.decision.policies import Costs, decide
from lockstep.errors import DataError
from lockstep.evaluation.intervals import bounds
from lockstep.evaluation.metrics import SCORE_DECIMALS
from lockstep.features.matrix_columns import CLASSES

if TYPE_CHECKING:
    import pandas as pd

    from lockstep.problems.schema import Column, Schema

Record = Mapping[str, Any]


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


@dataclass(frozen=True)
class Given:
    """Records as they were given; those of a CSV file are text until a schema says which cells are numbers."""

    records: list[dict[str, Any]]
    is_text: bool = False

    def typed(self, schema: Schema) -> list[dict[str, Any]]:
        """Return the records with the schema's numbers; a cell that is none stays text and is refused later."""
        if not self.is_text:
            return self.records
        columns = {c.name: c for c in schema.features}
        return [
            {name: _typed(columns.get(name), cell) for name, cell in r.items()}
            for r in self.records
        ]


def parse_records(text: str, where: str) -> Given:
    """Read one record, a list of them, JSON Lines or CSV; anything else is a DataError with the line."""
    stripped = text.strip().removeprefix("\ufeff")
    if not stripped:
        raise DataError(f"{where} is empty; give a record as in src/models/test_features.json")
    if stripped[0] == "[":
        return Given(_records(_json(stripped, where), where))
    if stripped[0] == "{":
        return Given(_one_or_lines(stripped, where))
    return Given(_from_csv(stripped, where), is_text=True)


def _one_or_lines(text: str, where: str) -> list[dict[str, Any]]:
    """Read a single object; several of them one below the other are JSON Lines."""
    try:
        return _records([_decode(text)], where)
    except json.JSONDecodeError as error:
        if error.msg != "Extra data":
            raise _broken(error, where) from None
    lines = [(n, line) for n, line in enumerate(text.splitlines(), start=1) if line.strip()]
    return _records([_json(line, f"{where}, line {number}") for number, line in lines], where)


def _records(content: list[Any], where: str) -> list[dict[str, Any]]:
    for number, record in enumerate(content, start=1):
        if not isinstance(record, dict):
            shown = type(record).__name__
            raise DataError(
                f"{where}: record {number} is a {shown}, not an object of feature names and values"
            )
    if not content:
        raise DataError(f"{where} holds no record; give one as in src/models/test_features.json")
    return content


def _json(text: str, where: str) -> Any:
    try:
        return _decode(text)
    except json.JSONDecodeError as error:
        raise _broken(error, where) from None


def _decode(text: str) -> Any:
    return json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_unique)


def _broken(error: json.JSONDecodeError, where: str) -> DataError:
    return DataError(
        f"{where} is no valid JSON: {error.msg} at line {error.lineno}, column {error.colno}"
    )


def _refuse_constant(name: str) -> NoReturn:
    raise DataError(f"{name} is no JSON value; write null where a value is not known")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = sorted({name for name in names if names.count(name) > 1})
        raise DataError(f"a record names {', '.join(twice)} twice; keep one value")
    return found


def _from_csv(text: str, where: str) -> list[dict[str, Any]]:
    """Read CSV with a header line; an empty cell is a missing value."""
    lines = list(csv.reader(io.StringIO(text), delimiter=_delimiter(text)))
    header, rows = lines[0], [(n, row) for n, row in enumerate(lines[1:], start=2) if row]
    if len(header) < 2 or not rows:
        raise DataError(
            f"{where} is neither JSON nor CSV with a header line and rows; give one of the two"
        )
    for number, row in rows:
        if len(row) != len(header):
            raise DataError(f"{where}, line {number}: {len(row)} cells under {len(header)} names")
    names = [name.strip() for name in header]
    return [
        _unique(list(zip(names, (cell.strip() or None for cell in row), strict=True)))
        for _, row in rows
    ]


def _delimiter(text: str) -> str:
    head = text.splitlines()[0]
    return max(",;\t", key=head.count)


def _typed(column: Column | None, value: Any) -> Any:
    if column is None or not isinstance(value, str) or not column.holds_numbers:
        return value
    try:
        return float(value)
    except ValueError:
        return value
