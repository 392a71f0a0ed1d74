"""What the report reads of the rows themselves: the target by time, and the champion's slices."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lockstep.errors import DataError
from lockstep.evaluation.bootstrap import resampled
from lockstep.evaluation.comparison import Candidate
from lockstep.evaluation.metrics import evaluate
from lockstep.evaluation.scored_rows import Scored
from lockstep.evaluation.slices import levels
from lockstep.features.matrix_columns import GROUP, ROW
from lockstep.io import read_json, read_parquet
from lockstep.reports.report_files import ReportFiles

RESAMPLES = 100
MOST_DRAWN = 10_000
"""Rows that an interval is drawn from; the spread of more rows is that of these, scaled down."""
FEWEST = 30
"""Rows below which a slice's metric says nothing."""
MOST_LEVELS = 12
MOST_PERIODS = 120
MOST_CLASSES = 5


@dataclass(frozen=True)
class Period:
    """The target in one period: its mean or a class's share, and half the width of its interval."""

    start: str
    rows: int
    value: float
    half: float
    name: str = ""


@dataclass(frozen=True)
class SliceRow:
    """One level of a slice: its rows, its target and the champion's metric with its interval."""

    column: str
    level: str
    rows: int
    target: float
    value: float
    low: float
    high: float


def target_by_time(files: ReportFiles) -> tuple[str, list[Period]]:
    """Return the length of a period, and the target by period; empty without date or rows."""
    schema = files.schema
    if schema.date is None or not _is_current(files):
        return "", []
    table = read_parquet(files.layout.tidy, [schema.date, schema.target]).dropna()
    if table.empty:
        return "", []
    dates = pd.to_datetime(table[schema.date])
    length = _period_length(dates)
    start = dates.dt.to_period(length[0].upper()).dt.start_time
    found: list[Period] = []
    for name, values in _indicators(files, table[schema.target]):
        by_period = pd.DataFrame({"start": start, "value": values}).groupby("start")["value"]
        for moment, rows, mean, spread in by_period.agg(["size", "mean", "std"]).itertuples():
            half = 1.96 * (0.0 if np.isnan(spread) else spread) / np.sqrt(rows)
            found.append(Period(f"{moment:%Y-%m-%d}", int(rows), float(mean), float(half), name))
    return length, found


def _period_length(dates: pd.Series) -> str:
    """Return the shortest length of which there are few enough: a month, a quarter or a year."""
    days = max((dates.max() - dates.min()).days, 1)
    lengths = {"month": 30.4, "quarter": 91.3, "year": 365.2}
    return next((n for n, size in lengths.items() if days / size <= MOST_PERIODS), "year")


def _indicators(files: ReportFiles, target: pd.Series) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Yield what is averaged: the value, the positive class, or each of the largest classes."""
    if files.schema.task == "regression":
        yield "", target.to_numpy(dtype=np.float64)
        return
    if files.schema.task == "binary":
        positive = read_json(files.layout.label_encoder)["classes"][-1]
        yield "", (target == positive).to_numpy(dtype=np.float64)
        return
    for label in target.value_counts().index[:MOST_CLASSES]:
        yield str(label), (target == label).to_numpy(dtype=np.float64)


def slice_rows(files: ReportFiles) -> list[SliceRow]:
    """Return the shown type's metric in each slice of the test rows; empty without the rows."""
    columns = [files.schema.columns[name] for name in files.schema.slices]
    shown, layout = files.shown, files.layout
    if not columns or not _is_current(files) or not layout.scores(shown.name).is_file():
        return []
    candidate = Candidate(shown.name, shown.threshold, read_parquet(layout.scores(shown.name)))
    rows, part = candidate.rows("test"), candidate.part("test")
    table = read_parquet(layout.tidy, [c.name for c in columns]).iloc[part[ROW].to_numpy()]
    groups = part[GROUP].to_numpy()
    found = []
    for column in columns:
        named = [(label, mask) for label, mask in levels(table[column.name], column)]
        largest = sorted(named, key=lambda one: -int(one[1].sum()))[:MOST_LEVELS]
        for label, mask in (one for one in named if one in largest):
            found.append(_slice(column.name, label, rows.take(mask), groups[mask], files.metric))
    return found


def _slice(
    column: str, label: str, rows: Scored, groups: NDArray[np.generic], metric: str
) -> SliceRow:
    count, mean = len(rows.target), float(np.mean(rows.target))
    target = float("nan") if rows.task == "multiclass" else mean
    has_one_class = rows.task != "regression" and len(np.unique(rows.target)) < 2
    if count < FEWEST or has_one_class:
        return SliceRow(column, label, count, target, *[float("nan")] * 3)
    value = evaluate(rows)[metric]
    half = 1.96 * _spread(rows, groups, metric)
    return SliceRow(column, label, count, target, value, value - half, value + half)


def _spread(rows: Scored, groups: NDArray[np.generic], metric: str) -> float:
    """Return a metric's standard error by resampled groups; of many rows, by some of the groups."""
    count, scale = len(groups), 1.0
    if count > MOST_DRAWN:
        _, place = np.unique(groups, return_inverse=True)
        chosen = place % int(np.ceil(count / MOST_DRAWN)) == 0
        rows, groups = rows.take(chosen), groups[chosen]
        scale = np.sqrt(chosen.sum() / count)
    drawn = resampled({"": rows}, groups, RESAMPLES)[""][metric]
    return float(np.nanstd(drawn) * scale)


def _is_current(files: ReportFiles) -> bool:
    """Tell whether this workspace has the tidy table that the stages' figures are about."""
    if not (files.layout.tidy.is_file() and files.layout.label_encoder.is_file()):
        return False
    try:
        column = files.schema.target
        return len(read_parquet(files.layout.tidy, [column])) == files.quality["rows"]["out"]
    except (DataError, KeyError):
        return False
