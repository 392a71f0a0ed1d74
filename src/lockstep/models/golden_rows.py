"""Golden rows: raw inputs drawn from the schema, and the outputs a loaded model must repeat."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from lockstep.data.values import typed_column
from lockstep.errors import ArtifactError, UnusableHere
from lockstep.evaluation.metrics import SCORE_DECIMALS
from lockstep.models.scoring.scorer import Scorer, columns_of
from lockstep.problems.schema import Column, Schema

COUNT = 256
TOLERANCE = 1e-6
_MISSING_SHARE = 0.05
UNKNOWN_TEXT = "__never_seen__"
_OPEN_WIDTH = 200.0
"""The width of a range that the schema leaves open."""
_OPEN_CODES = (1.0, 13.0, 75.0, 201.0, 971.0, 75056.0)
"""Integers for categories whose codes the schema does not list."""


def golden_rows(schema: Schema, count: int = COUNT, seed: int = 0) -> pd.DataFrame:
    """Draw raw feature rows from the schema by seed: every code, missing, unknown, range ends.

    Returns the features in their declared order: float64 for numbers and integer codes, str for
    text.
    At least ``count`` rows; more where a column has more codes than that.
    """
    must = {column.name: _must_appear(column) for column in schema.features}
    length = max([count, *(len(values) for values in must.values())])
    columns = {}
    for number, column in enumerate(schema.features):
        generator = np.random.Generator(np.random.PCG64([seed, number]))
        values = must[column.name] + _drawn(column, must[column.name], length, generator)
        order = generator.permutation(length)
        columns[column.name] = typed_column(column, [values[i] for i in order])
    return pd.DataFrame(columns)


def golden_outputs(pipeline: Any, rows: pd.DataFrame) -> list[Any]:
    """Return the pipeline's outputs: the positive class's probability, all classes', or a value."""
    if not hasattr(pipeline, "predict_proba"):
        return [float(value) for value in pipeline.predict(rows)]
    probabilities = np.asarray(pipeline.predict_proba(rows), dtype="float64")
    outputs = probabilities[:, 1] if probabilities.shape[1] == 2 else probabilities
    return list(outputs.tolist())


def checked_outputs(
    pipeline: Any,
    schema: Schema,
    rows: pd.DataFrame,
    where: str = "the model",
    scorer: Scorer | None = None,
) -> list[Any]:
    """Return the pipeline's outputs.

    UnusableHere unless the scorer's are the same to the bit.
    """
    outputs = golden_outputs(pipeline, rows)
    scorer = scorer or Scorer(pipeline, schema)
    found = scorer.score(columns_of(schema, rows), len(rows))
    expected = np.asarray(outputs, dtype="float64")
    if schema.task != "regression":
        expected = np.round(expected, SCORE_DECIMALS)
    if not np.array_equal(found, expected):
        raise UnusableHere(
            f"{where}: scores differ from the scikit-learn pipeline's by up to "
            f"{np.abs(found - expected).max():.3g}; use the package versions it was made with"
        )
    return outputs


def check_golden(
    pipeline: Any,
    rows: pd.DataFrame,
    outputs: list[Any],
    where: str = "the model",
    schema: Schema | None = None,
) -> None:
    """Raise UnusableHere unless the pipeline repeats its golden outputs to within 1e-6.

    With a schema the scorer's outputs must also be the pipeline's, to the bit.
    """
    made = (
        checked_outputs(pipeline, schema, rows, where) if schema else golden_outputs(pipeline, rows)
    )
    expected, found = (np.asarray(values, dtype="float64") for values in (outputs, made))
    if found.shape != expected.shape:
        raise ArtifactError(
            f"{where}: {found.shape} golden outputs in place of {expected.shape}; "
            "it is another model than its version says"
        )
    apart = np.abs(found - expected)
    wrong = ~(apart <= TOLERANCE)  # a NaN is wrong too
    if wrong.any():
        rows_apart = int(np.any(wrong.reshape(len(expected), -1), axis=1).sum())
        raise UnusableHere(
            f"{where} does not repeat its golden rows: {rows_apart} of {len(expected)} differ, "
            f"by up to {np.nan_to_num(apart, nan=np.inf).max():.3g}; use the package versions "
            "it was made with (requirements.txt beside it)"
        )


def golden_content(rows: pd.DataFrame, outputs: list[Any]) -> dict[str, Any]:
    """Return rows and outputs as plain values for a JSON file; missing as null."""
    plain = rows.astype(object).where(rows.notna(), None)
    return {
        "columns": list(rows.columns),
        "rows": plain.to_numpy().tolist(),
        "outputs": outputs,
        "tolerance": TOLERANCE,
    }


def golden_from(content: dict[str, Any], schema: Schema) -> tuple[pd.DataFrame, list[Any]]:
    """Return rows and outputs of a golden file's content; ArtifactError if it is damaged."""
    try:
        names, listed, outputs = content["columns"], content["rows"], content["outputs"]
        by_name = dict(zip(names, zip(*listed, strict=True), strict=True))
        columns = {c.name: typed_column(c, list(by_name[c.name])) for c in schema.features}
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(
            f"the golden rows are damaged ({error!r}); register the model again"
        ) from error
    return pd.DataFrame(columns), outputs


def _must_appear(column: Column) -> list[Any]:
    """Return the values that have to be among a column's golden rows."""
    missing: list[Any] = [None] if column.missing else []
    if column.kind == "numeric":
        return [v for v in (column.low, column.high) if v is not None] + missing
    codes: list[Any] = list(column.codes) or (
        list(_OPEN_CODES) if column.holds_numbers else ["a", "b"]
    )
    unknown = max(float(code) for code in codes) + 1 if column.holds_numbers else UNKNOWN_TEXT
    return [*codes, unknown, *missing]


def _drawn(
    column: Column, must: list[Any], length: int, generator: np.random.Generator
) -> list[Any]:
    """Return as many further values as ``length`` leaves room for."""
    rest = length - len(must)
    if column.kind != "numeric":
        return [must[i] for i in generator.integers(0, len(must), rest)]
    low, high = _range(column)
    values = low + (high - low) * generator.random(rest)
    gone = (generator.random(rest) < _MISSING_SHARE) & column.missing
    shown = [float(round(v)) if column.integer else float(f"{v:.6g}") for v in values]
    return [None if missing else value for value, missing in zip(shown, gone, strict=True)]


def _range(column: Column) -> tuple[float, float]:
    """Return the ends of a numeric column's draws; an open end lies beyond the known one."""
    low, high = column.low, column.high
    if low is None:
        low = -_OPEN_WIDTH / 2 if high is None else high - _OPEN_WIDTH
    return low, low + _OPEN_WIDTH if high is None else high
