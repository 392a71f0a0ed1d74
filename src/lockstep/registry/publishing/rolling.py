"""The rolling metrics of a training's test part, from its scores and the dates of its rows."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lockstep.errors import DataError
from lockstep.evaluation.plot_data import thinned
from lockstep.evaluation.rolling import rolling_metrics
from lockstep.evaluation.scored_rows import Scored
from lockstep.features.matrix_columns import GROUP, ROW
from lockstep.features.split import group_codes
from lockstep.io import read_parquet
from lockstep.problems.schema import Schema
from lockstep.registry.publishing.outputs import Outputs

FILE = "rolling_metrics.csv"
"""The table's name among a run's artifacts."""
_NOT_MEASURED = ("window_start", "window_end", "count", "note")
"""Columns that are no metrics."""


def rolling_table(outputs: Outputs) -> pd.DataFrame | str:
    """Return the rolling metrics of the test part, or why there are none."""
    found = _dated_rows(outputs)
    return found if isinstance(found, str) else rolling_metrics(*found)


def rolling_series(table: pd.DataFrame) -> dict[str, list[tuple[int, float]]]:
    """Return each metric as rolling_NAME over days, counted from the first window's end.

    The first windows, which have fewer days, are left out if there are others.
    """
    whole = table[table["window_start"] >= table["window_end"].iloc[0]]
    shown = thinned(table if whole.empty else whole)
    ends = shown["window_end"].to_numpy(dtype="datetime64[D]")
    days = (ends - ends[0]).astype(int).tolist()
    return {
        f"rolling_{name}": [
            (day, float(value))
            for day, value in zip(days, shown[name], strict=True)
            if not np.isnan(value)
        ]
        for name in shown
        if name not in _NOT_MEASURED
    }


def _dated_rows(outputs: Outputs) -> tuple[np.ndarray, Scored] | str:
    """Return the dates and scores of the test part, or why there are none."""
    layout, schema = outputs.layout, outputs.schema
    if schema.date is None:
        return f"{schema.name} has no column of kind date"
    if schema.columns[schema.date].integer:
        return f"'{schema.date}' holds whole numbers, no days"
    scored = outputs.read_scores()
    if scored is None or not layout.tidy.exists():
        return "its scores or its rows are not in this workspace; `dvc pull` brings them"
    try:
        table = read_parquet(layout.tidy, [name for name in (schema.date, schema.group) if name])
    except DataError:
        return f"{layout.tidy.name} can't be read by the schema; run `dvc repro`"
    test, rows = scored.part("test"), scored.rows("test")
    if not has_rows(table, test, schema):
        return f"{layout.tidy.name} is not the table it was trained on; run `dvc repro`"
    day = table[schema.date].to_numpy()[test[ROW].to_numpy()]
    if np.isnat(day).all():
        return f"no row of the test part has '{schema.date}'"
    return day[~np.isnat(day)], rows.take(~np.isnat(day))


def has_rows(table: pd.DataFrame, scores: pd.DataFrame, schema: Schema) -> bool:
    """Tell whether a tidy table has the scored rows, each in the same group."""
    place = scores[ROW].to_numpy()
    if place.max(initial=-1) >= len(table):
        return False
    return bool((group_codes(table, schema)[place] == scores[GROUP].to_numpy()).all())
