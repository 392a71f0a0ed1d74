"""The reference of a version: what its features, scores and errors were when it was evaluated.

It holds counts only, no rows: of each feature by calendar month, of the test rows' scores by true
class and decision, and the test metrics with their standard errors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lockstep.errors import ArtifactError
from lockstep.evaluation.bootstrap import resampled
from lockstep.evaluation.metrics import evaluate
from lockstep.evaluation.scored_rows import Scored
from lockstep.monitoring.bins import Bins, Counts, bins_of, counted_by, number_bins
from lockstep.problems.schema import Schema

FORMAT = 1
MONTHS = 13
"""January to December, after the rows without a date."""
SCORE_BINS = 500
"""Bins of equal counts; as many of equal width are added for probabilities."""
RESAMPLES = 100
_ALL_BUT = 0.99
"""The share of dated rows in which a feature must be a part of the date to be taken for one."""
CALENDAR = {
    "year": lambda dates: dates.dt.year,
    "quarter": lambda dates: dates.dt.quarter,
    "month": lambda dates: dates.dt.month,
    "day of the month": lambda dates: dates.dt.day,
    "day of the week": lambda dates: dates.dt.day_of_week,
    "day of the week from 1": lambda dates: dates.dt.day_of_week + 1,
    "day of the year": lambda dates: dates.dt.day_of_year,
}


@dataclass(frozen=True)
class Feature:
    """The counts (months, bins) of one feature; ``calendar`` names the part of the date it is."""

    name: str
    bins: Bins
    counts: Counts
    calendar: str = ""

    @property
    def total(self) -> Counts:
        """The counts of all rows."""
        return self.counts.sum(axis=0)

    def of_month(self, month: int) -> Counts:
        """Return the counts of one calendar month, 1 to 12, over all years."""
        return self.counts[month]


@dataclass(frozen=True)
class Reference:
    """The reference of one version; ``scores`` is (decisions, classes, bins) of its test rows."""

    problem: str
    task: str
    features: Mapping[str, Feature]
    score_bins: Bins
    scores: Counts
    threshold: float | None
    metrics: Mapping[str, tuple[float, float]]
    rows: Mapping[str, int]

    @property
    def content(self) -> dict[str, Any]:
        """The reference as plain JSON values."""
        return {
            "format": FORMAT,
            "problem": self.problem,
            "task": self.task,
            "threshold": self.threshold,
            "rows": dict(self.rows),
            "metrics": {name: list(pair) for name, pair in self.metrics.items()},
            "scores": {**self.score_bins.content, "counts": self.scores.tolist()},
            "features": {
                name: {
                    **one.bins.content,
                    "counts": {
                        str(month): one.counts[month].tolist()
                        for month in range(MONTHS)
                        if one.counts[month].any()
                    },
                    **({"calendar": one.calendar} if one.calendar else {}),
                }
                for name, one in self.features.items()
            },
        }

    @property
    def rows_a_group(self) -> float:
        """The mean size of a group of rows, which are alike."""
        return self.rows["features"] / max(self.rows["feature_groups"], 1)

    @cached_property
    def by_class(self) -> Counts:
        """The scores' counts (classes, bins), whatever was decided."""
        return self.scores.sum(axis=0)

    def cut(self, counts: Counts, threshold: float) -> Counts:
        """Return counts (…, bins) of scores below a threshold, and from it on: (2, …, bins)."""
        edges = np.asarray(self.score_bins.edges)
        place = int(np.searchsorted(edges, threshold, side="right"))
        places = np.arange(self.score_bins.size)
        return np.stack([counts * (places < place), counts * (places >= place)])


def reference_of(
    schema: Schema,
    table: pd.DataFrame,
    groups: NDArray[Any],
    scored: Scored,
    scored_groups: NDArray[Any],
) -> Reference:
    """Return the reference of a training.

    ``table`` has the tidy rows it knows, ``groups`` (rows,) their groups; ``scored`` the test rows
    with the groups ``scored_groups``, which are drawn as a whole for the standard errors.
    """
    dates = _dates(schema, table)
    months = np.zeros(len(table), dtype=np.int64)
    if dates is not None:
        months = dates.dt.month.fillna(0).to_numpy(dtype=np.int64)
    parts = None if dates is None else {name: part(dates) for name, part in CALENDAR.items()}
    features = {}
    for column in schema.features:
        values = table[column.name]
        bins = bins_of(column, values, groups)
        counts = counted_by(months, MONTHS, bins.places(values), bins.size)
        calendar = "" if parts is None else _calendar(values, parts)
        features[column.name] = Feature(column.name, bins, counts, calendar)
    bins = score_bins(scored)
    return Reference(
        schema.name,
        schema.task,
        features,
        bins,
        score_counts(scored, bins),
        scored.threshold,
        _metrics(scored, scored_groups),
        {
            "features": len(table),
            "feature_groups": _many(groups),
            "scored": len(scored.target),
            "scored_groups": _many(scored_groups),
        },
    )


def read_reference(content: Any, where: str) -> Reference:
    """Return a reference of its JSON values; ArtifactError for a damaged one, or a newer format."""
    try:
        if content["format"] != FORMAT:
            raise ArtifactError(
                f"{where} has format {content['format']}, and this code reads {FORMAT}; "
                "update the project"
            )
        bins = Bins.read(content["scores"])
        return Reference(
            content["problem"],
            content["task"],
            {name: _feature(name, one) for name, one in content["features"].items()},
            bins,
            np.array(content["scores"]["counts"], dtype=np.int64),
            content["threshold"],
            {name: (pair[0], pair[1]) for name, pair in content["metrics"].items()},
            content["rows"],
        )
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise ArtifactError(f"{where} is damaged ({error}); register the model again") from error


def _feature(name: str, content: dict[str, Any]) -> Feature:
    bins = Bins.read(content)
    counts = np.zeros((MONTHS, bins.size), dtype=np.int64)
    for month, own in content["counts"].items():
        counts[int(month)] = np.array(own, dtype=np.int64).reshape(bins.size)
    return Feature(name, bins, counts, content.get("calendar", ""))


def _dates(schema: Schema, table: pd.DataFrame) -> pd.Series | None:
    """Return the rows' dates; None where the problem has none, or numbers in their place."""
    if schema.date is None or schema.columns[schema.date].integer:
        return None
    dates = table[schema.date]
    return dates if dates.dtype.kind == "M" and dates.notna().any() else None


def _calendar(values: pd.Series, parts: dict[str, pd.Series]) -> str:
    """Return which part of the date a feature is, in nearly all rows; empty if it is none.

    ``parts`` has each part of all rows' dates.
    """
    if values.dtype.kind not in "fiu":
        return ""
    known = values.notna() & parts["year"].notna()
    if known.sum() < MONTHS:
        return ""
    numbers = values[known].to_numpy()
    for name, part in parts.items():
        own = part[known].to_numpy()
        # One year may be all there is; one month or day may equal a constant by chance.
        may_vary = name == "year" or len(np.unique(own)) > 1
        if may_vary and (own == numbers).mean() >= _ALL_BUT:
            return name
    return ""


# ---------------------------------------------------------------- scores


def score_bins(scored: Scored) -> Bins:
    """Return the bins of scores; the threshold is an edge, so that decisions can be cut there."""
    scores = shown_scores(scored.score)
    if scored.task == "regression":
        return number_bins(scores, 2 * SCORE_BINS)
    even = np.arange(1, SCORE_BINS) / SCORE_BINS
    cut = [] if scored.threshold is None else [scored.threshold]
    return number_bins(scores, SCORE_BINS, [*even, *cut])


def shown_scores(scores: NDArray[Any]) -> NDArray[np.float64]:
    """Return one score a row: of several classes that of the most probable one."""
    return np.asarray(scores.max(axis=1) if scores.ndim == 2 else scores, dtype=np.float64)


def score_counts(scored: Scored, bins: Bins) -> Counts:
    """Return the counts (decisions, classes, bins) of scored rows; one of each for numbers."""
    places = bins.places(shown_scores(scored.score))
    if scored.task == "regression":
        return counted_by(np.zeros(len(places), dtype=np.int64), 1, places, bins.size)[None]
    many = 2 if scored.score.ndim == 1 else scored.score.shape[1]
    kind = scored.decided * many + scored.target
    return counted_by(kind.astype(np.int64), many * many, places, bins.size).reshape(
        many, many, bins.size
    )


def _metrics(scored: Scored, groups: NDArray[Any]) -> dict[str, tuple[float, float]]:
    """Return the metrics with their standard errors by a bootstrap of groups."""
    values = evaluate(scored)
    drawn = resampled({"own": scored}, groups, RESAMPLES, 0)["own"]
    return {name: (float(values[name]), float(np.nanstd(drawn[name]))) for name in values}


def _many(groups: NDArray[Any]) -> int:
    return len(np.unique(groups))
