"""What a span of time is counted as: rows by bin of each feature and score, labels as they arrive.

Counts of two spans add up, so that days become weeks and months without their rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lockstep.monitoring.bins import Counts, counted, counted_by
from lockstep.monitoring.reference import Reference, shown_scores

MOST_NEW = 50
"""How many values outside of the reference a span names; the rest are counted."""
SUMS = ("rows", "target", "target_squared", "error", "absolute", "squared", "fourth")
"""What is added up over the labelled rows of a regression."""


@dataclass
class Window:
    """The counts of one span.

    ``scores`` (decisions, bins) counts all rows, ``labelled`` (decisions, classes, bins) those with
    a label; two classes have a third decision: a person decides. ``new`` counts values that the
    reference doesn't list, by feature. ``sums`` are those of SUMS.
    """

    rows: int
    features: dict[str, Counts]
    scores: Counts
    labelled: Counts
    new: dict[str, Counter[Any]] = field(default_factory=dict)
    sums: NDArray[np.float64] = field(default_factory=lambda: np.zeros(len(SUMS)))

    @classmethod
    def empty(cls, reference: Reference) -> Window:
        """Return a span without rows."""
        decisions, classes, bins = shape_of(reference)
        return cls(
            0,
            {name: np.zeros(f.bins.size, dtype=np.int64) for name, f in reference.features.items()},
            np.zeros((decisions, bins), dtype=np.int64),
            np.zeros((decisions, classes, bins), dtype=np.int64),
        )

    def __add__(self, other: Window) -> Window:
        """Return the counts of both spans."""
        new = {
            name: self.new.get(name, Counter()) + other.new.get(name, Counter())
            for name in {**self.new, **other.new}
        }
        return Window(
            self.rows + other.rows,
            {name: own + other.features[name] for name, own in self.features.items()},
            self.scores + other.scores,
            self.labelled + other.labelled,
            new,
            self.sums + other.sums,
        )


def shape_of(reference: Reference) -> tuple[int, int, int]:
    """Return the numbers of decisions, classes and bins; of two classes a person may decide."""
    decisions, classes, bins = reference.scores.shape
    return decisions + (reference.task == "binary"), classes, bins


def by_month(days: Mapping[int, Window]) -> dict[str, dict[int, Window]]:
    """Return the days of each calendar month, as 2026-03, in order."""
    found: dict[str, dict[int, Window]] = {}
    for day in sorted(days):
        found.setdefault(month_name(day), {})[day] = days[day]
    return found


def month_name(day: int) -> str:
    """Return the month of a day since 1970, as 2026-03."""
    return str(np.datetime64(day, "D"))[:7]


def add(counts: dict[Any, Window], key: Any, window: Window) -> None:
    """Add the counts of more rows to those of a day, or of another key."""
    counts[key] = counts[key] + window if key in counts else window


@dataclass(frozen=True)
class Rows:
    """Answered rows: ``columns`` by feature, scores and decisions of the model that answered.

    ``day`` (rows,) is a whole number of days since 1970. ``decision`` (rows,) is the place among
    the classes, one more for review. ``label`` (rows,) is the place of the true class, -1 unknown;
    for a regression the true number, NaN unknown.
    """

    columns: dict[str, NDArray[Any]]
    score: NDArray[np.float64]
    decision: NDArray[np.int64]
    label: NDArray[Any]
    day: NDArray[np.int64]


def counted_days(reference: Reference, rows: Rows) -> dict[int, Window]:
    """Return the counts of rows by day."""
    days, place = np.unique(rows.day, return_inverse=True)
    many = len(days)
    decisions, classes, bins = shape_of(reference)
    found = {int(day): Window.empty(reference) for day in days}
    windows = list(found.values())
    for window, count in zip(windows, counted(place, many), strict=True):
        window.rows = int(count)
    for name, feature in reference.features.items():
        values = rows.columns[name]
        places = feature.bins.places(values)
        by_day = counted_by(place, many, places, feature.bins.size)
        for window, own in zip(windows, by_day, strict=True):
            window.features[name] = own
        if feature.bins.other is not None:
            _note_new(windows, name, place, values, places == feature.bins.other)
    scored = reference.score_bins.places(shown_scores(rows.score))
    kind = place * decisions + rows.decision
    all_scores = counted_by(kind, many * decisions, scored, bins).reshape(many, decisions, bins)
    known = is_known(rows.label)
    truth = np.zeros(len(kind), dtype=np.int64)
    if reference.task != "regression":
        truth[known] = rows.label[known]
    kind = (kind * classes + truth)[known]
    labelled = counted_by(kind, many * decisions * classes, scored[known], bins)
    labelled = labelled.reshape(many, decisions, classes, bins)
    for number, window in enumerate(windows):
        window.scores, window.labelled = all_scores[number], labelled[number]
        if reference.task == "regression":
            own = known & (place == number)
            window.sums = error_sums(rows.label[own], rows.score[own])
    return found


def is_known(label: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which labels are known; see ``Rows``."""
    return ~np.isnan(label) if label.dtype.kind == "f" else label >= 0


def _note_new(
    windows: list[Window],
    name: str,
    place: NDArray[np.int64],
    values: NDArray[Any],
    is_new: NDArray[np.bool_],
) -> None:
    if not is_new.any():
        return
    table = pd.DataFrame({"day": place[is_new], "value": np.asarray(values)[is_new]})
    for day, own in table.groupby("day")["value"]:
        window = windows[int(str(day))]
        window.new[name] = Counter(dict(own.value_counts().head(MOST_NEW).items()))


def error_sums(target: NDArray[Any], score: NDArray[Any]) -> NDArray[np.float64]:
    """Return the sums of SUMS over labelled rows of a regression."""
    error = score - target
    squared = error**2
    return np.array(
        [
            len(target),
            target.sum(),
            (target**2).sum(),
            error.sum(),
            np.abs(error).sum(),
            squared.sum(),
            (squared**2).sum(),
        ]
    )
