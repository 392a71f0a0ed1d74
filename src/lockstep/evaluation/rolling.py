"""Metrics over windows of several days, one window for each day with rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lockstep.evaluation import metrics_binary, metrics_multiclass, metrics_regression
from lockstep.evaluation.scored_rows import Array, Scored, ratio

DAYS = 7
NO_POSITIVE, NO_NEGATIVE = "no positive row", "no negative row"
ONE_CLASS, ONE_VALUE = "rows of one class", "one value of the target"


def rolling_metrics(day: NDArray[np.datetime64], rows: Scored, days: int = DAYS) -> pd.DataFrame:
    """Return a row for each day that has rows: the metrics of the window that ends with it.

    ``day`` (rows,) is each row's date, without missing ones; the order of rows does not matter.
    Columns: window_start, window_end (dates), count, the task's metrics, note. Binary: rate (share
    of positives), accuracy, precision, recall, f1, roc_auc. Multiclass: accuracy and the macro
    means. Regression: mean_target, mean_prediction, mae, rmse, r2. ``note`` says why a metric is
    empty, and that the first windows have fewer days.
    """
    windows = Windows.over(day, rows, days)
    of_task = {"binary": _binary, "multiclass": _multiclass, "regression": _regression}[rows.task]
    ends, first = windows.ends, windows.ends[:1]
    figures, notes = of_task(windows)
    lacking = np.maximum(0, (first - (ends - days + 1)).astype(np.int64))
    begun = [f"{days - n} of {days} days" if n else "" for n in lacking]
    return pd.DataFrame(
        {
            "window_start": (ends - days + 1).astype(str),
            "window_end": ends.astype(str),
            "count": windows.count,
            **figures,
            "note": ["; ".join(filter(None, both)) for both in zip(begun, notes, strict=True)],
        }
    )


@dataclass(frozen=True)
class Windows:
    """Rows by day, and the slices of them that are the windows.

    ``ends`` (windows,) are the last days, ``start`` and ``stop`` (windows,) places in ``rows``.
    """

    rows: Scored
    ends: NDArray[np.datetime64]
    start: NDArray[np.int64]
    stop: NDArray[np.int64]

    @classmethod
    def over(cls, day: NDArray[np.datetime64], rows: Scored, days: int) -> Windows:
        """Sort the rows by day, and within one by their values: sums then never differ."""
        dates = day.astype("datetime64[D]")
        scores = rows.score if rows.score.ndim == 2 else rows.score[:, None]
        order = np.lexsort([*scores.T, rows.target, dates])
        ends, sorted_dates = np.unique(dates), dates[order]
        start = np.searchsorted(sorted_dates, ends - days + 1, side="left")
        stop = np.searchsorted(sorted_dates, ends, side="right")
        return cls(rows.take(order), ends, start, stop)

    @property
    def count(self) -> NDArray[np.int64]:
        """The rows of each window."""
        return self.stop - self.start

    def sums(self, values: NDArray[Any]) -> Array:
        """Return the sum of the rows' values in each window; the first axis is rows, then windows.

        Overlapping slices are summed one by one, so nothing is lost by subtracting long sums.
        """
        padded = np.concatenate([values, np.zeros((1, *values.shape[1:]))])
        bounds = np.column_stack([self.start, self.stop]).ravel()
        return np.asarray(np.add.reduceat(padded, bounds, axis=0)[::2])

    def areas(self, positive: NDArray[np.bool_], score: Array) -> Array:
        """Return each window's ROC AUC by mean ranks; 0 where it has rows of one class only."""
        count = self.count
        window = np.repeat(np.arange(len(count)), count)
        before = np.cumsum(count) - count
        row = np.arange(len(window)) + np.repeat(self.start - before, count)
        levels, level = np.unique(score, return_inverse=True)
        # Windows follow each other in this order, and within one the scores from low to high.
        key = window * np.int64(len(levels)) + level[row]
        _, place, size = np.unique(key, return_inverse=True, return_counts=True)
        rank = (np.cumsum(size) - size + (size - 1) / 2)[place] - before[window]
        chosen = positive[row]
        positives = np.bincount(window[chosen], minlength=len(count))
        ranks = np.bincount(window[chosen], rank[chosen], minlength=len(count))
        pairs = ranks - positives * (positives - 1) / 2
        return ratio(pairs, (positives * (count - positives)).astype(np.float64))


def _binary(windows: Windows) -> tuple[dict[str, Array], list[str]]:
    target, decided = windows.rows.target == 1, windows.rows.decided == 1
    flags = np.column_stack([target, decided, target & decided])
    positive, chosen, hit = windows.sums(flags).T
    count = windows.count.astype(np.float64)
    found = metrics_binary.of_counts(count, positive, chosen, hit)
    area = windows.areas(target, windows.rows.score)
    notes = np.select([positive == 0, positive == count], [NO_POSITIVE, NO_NEGATIVE], "")
    figures = {
        "rate": positive / count,
        **{name: found[name] for name in ("accuracy", "precision", "recall", "f1")},
        "roc_auc": np.where(notes == "", area, np.nan),
    }
    return figures, notes.tolist()


def _multiclass(windows: Windows) -> tuple[dict[str, Array], list[str]]:
    rows = windows.rows
    places = np.arange(rows.score.shape[1])
    actual, chosen = rows.target[:, None] == places, rows.decided[:, None] == places
    counts = (windows.sums(flags).T for flags in (actual, chosen, actual & chosen))
    by_class = metrics_multiclass.of_counts(*counts)
    areas = np.stack([windows.areas(actual[:, k], rows.score[:, k]) for k in places])
    found = metrics_multiclass.of_decisions(by_class)
    area = metrics_multiclass.of_areas(by_class["rows"], areas)["macro_roc_auc"]
    one = by_class["rows"].max(axis=0) == windows.count
    names = ("accuracy", "macro_precision", "macro_recall", "macro_f1")
    figures = {name: found[name] for name in names}
    figures["macro_roc_auc"] = np.where(one, np.nan, area)
    return figures, np.where(one, ONE_CLASS, "").tolist()


def _regression(windows: Windows) -> tuple[dict[str, Array], list[str]]:
    rows, count = windows.rows, windows.count.astype(np.float64)
    target, predicted = windows.sums(np.column_stack([rows.target, rows.score])).T
    found = metrics_regression.of_sums(windows.sums(metrics_regression.columns(rows)).T)
    one = _one_value(windows)
    figures = {
        "mean_target": target / count,
        "mean_prediction": predicted / count,
        **{name: found[name] for name in ("mae", "rmse")},
        "r2": np.where(one, np.nan, found["r2"]),
    }
    return figures, np.where(one, ONE_VALUE, "").tolist()


def _one_value(windows: Windows) -> NDArray[np.bool_]:
    """Return which windows have one value of the target, where R2 is 0 divided by 0."""
    changes = np.append(0, np.cumsum(np.diff(windows.rows.target) != 0))
    return np.asarray(changes[windows.stop - 1] == changes[windows.start])
