"""What the report reads of the rows themselves: the target by time, and the champion's slices."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

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
_Z = 1.96


@dataclass(frozen=True)
class Period:
    """The target in one period: its mean or a class's share, with a 95 % interval.

    The interval takes rows for independent; of one row alone there is none for a mean.
    """

    start: str
    rows: int
    value: float
    low: float
    high: float
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
    """Return the length of a period, and the target by period; empty without dates or rows."""
    schema = files.schema
    if schema.date is None or schema.columns[schema.date].integer or not files.has_rows:
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
            ends = _mean_interval(mean, spread, rows)
            if schema.task != "regression":
                ends = _share_interval(mean, rows)
            found.append(Period(f"{moment:%Y-%m-%d}", int(rows), float(mean), *ends, name))
    return length, found


def _mean_interval(mean: float, spread: float, rows: int) -> tuple[float, float]:
    half = _Z * spread / np.sqrt(rows) if rows > 1 else np.nan
    return float(mean - half), float(mean + half)


def _share_interval(share: float, rows: int) -> tuple[float, float]:
    """Return Wilson's interval, which has a width at 0 and 1 too."""
    middle = (share + _Z**2 / (2 * rows)) / (1 + _Z**2 / rows)
    inner = share * (1 - share) / rows + _Z**2 / (4 * rows**2)
    half = _Z * np.sqrt(inner) / (1 + _Z**2 / rows)
    return float(middle - half), float(middle + half)


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
    if not columns or not files.has_rows or not layout.scores(shown.name).is_file():
        return []
    candidate = Candidate(shown.name, shown.threshold, read_parquet(layout.scores(shown.name)))
    rows, part = candidate.rows("test"), candidate.part("test")
    table = read_parquet(layout.tidy, [c.name for c in columns]).iloc[part[ROW].to_numpy()]
    groups = part[GROUP].to_numpy()
    found = []
    for column in columns:
        named = dict(levels(table[column.name], column))
        largest = sorted(named, key=lambda label: -int(named[label].sum()))[:MOST_LEVELS]
        for label, mask in ((one, named[one]) for one in named if one in largest):
            found.append(_slice(column.name, label, rows.take(mask), groups[mask], files.metric))
    return found


def _slice(
    column: str, label: str, rows: Scored, groups: NDArray[np.generic], metric: str
) -> SliceRow:
    count, mean = len(rows.target), float(np.mean(rows.target))
    target = float("nan") if rows.task == "multiclass" else mean
    if count < FEWEST or _has_one_class(rows):
        return SliceRow(column, label, count, target, *[float("nan")] * 3)
    value = evaluate(rows)[metric]
    return SliceRow(column, label, count, target, value, *_interval(rows, groups, metric, value))


def _has_one_class(rows: Scored) -> bool:
    return rows.task != "regression" and len(np.unique(rows.target)) < 2


def _interval(
    rows: Scored, groups: NDArray[np.generic], metric: str, value: float
) -> tuple[float, float]:
    """Return a metric's 95 % interval by resampled groups.

    Of many rows, some of the groups are drawn, and the distances to ``value`` are scaled down. NaN
    where these lack a class.
    """
    count, scale = len(groups), 1.0
    if count > MOST_DRAWN:
        _, place = np.unique(groups, return_inverse=True)
        chosen = place % int(np.ceil(count / MOST_DRAWN)) == 0
        rows, groups = rows.take(chosen), groups[chosen]
        scale = float(np.sqrt(chosen.sum() / count))
        if _has_one_class(rows):
            return float("nan"), float("nan")
    drawn = resampled({"": rows}, groups, RESAMPLES)[""][metric]
    middle = value if scale == 1.0 else evaluate(rows)[metric]
    low, high = np.nanquantile(drawn, [0.025, 0.975]) - middle
    return float(value + low * scale), float(value + high * scale)
