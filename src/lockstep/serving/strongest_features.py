"""The order of the page's controls: first those that move the score of the typical record most."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson

from lockstep.data.values import fit_check
from lockstep.models.scoring.scorer import Scorer
from lockstep.monitoring.bins import Bins, Counts
from lockstep.monitoring.feature_counts import FeatureCounts
from lockstep.problems.schema import Column
from lockstep.serving.request_parsing import RecordReader

TRIED = 9
"""How many values of a feature are tried."""
MOST_FEATURES = 60
"""How many features are tried; each makes whole records, so more would cost their square."""


def by_effect(
    scorer: Scorer,
    reader: RecordReader,
    record: Mapping[str, Any],
    counts: FeatureCounts | None = None,
) -> list[str]:
    """Return the features, those first that alone change the score of a record most.

    Tried are values that rows have where ``counts`` knows them, else values of the schema's range.
    Features after the first ``MOST_FEATURES`` are not tried: they follow in the schema's order.
    """
    features = reader.schema.features
    known = {} if counts is None else counts.features
    tried = {c.name: _tried(c, known.get(c.name)) for c in features[:MOST_FEATURES]}
    records = [{**record, name: value} for name, values in tried.items() for value in values]
    records.append(dict(record))
    read = reader.read(orjson.dumps(records), len(records))
    scores = np.asarray(scorer.score(read.columns, read.rows), dtype=np.float64)
    scores = scores.reshape(len(records), -1)
    effects, start = {}, 0
    for name, values in tried.items():
        own = np.concatenate([scores[start : start + len(values)], scores[-1:]])
        effects[name], start = float(np.ptp(own, axis=0).max()), start + len(values)
    first = sorted(effects, key=lambda name: -effects[name])
    return first + [c.name for c in features[MOST_FEATURES:]]


def _tried(column: Column, known: tuple[Bins, Counts] | None) -> list[Any]:
    """Return values of a feature that the schema takes: quantiles, frequent codes, or its range."""
    if known is not None and known[0].values is not None:
        order = np.argsort(-known[1][: len(known[0].values)], kind="stable")[:TRIED]
        found = [known[0].values[place] for place in order if known[1][place]]
    elif known is not None:
        found = [_whole(column, known[0].centers[place]) for place in _places(known[0].centers)]
    elif column.codes:
        found = list(column.codes)[:TRIED]
    elif column.low is not None and column.high is not None:
        found = [_whole(column, v) for v in np.linspace(column.low, column.high, TRIED).tolist()]
    else:
        found = []
    values = found if column.holds_numbers else [str(value) for value in found]
    return [value for value in values if fit_check(column)(value)]


def _places(centers: tuple[float, ...]) -> list[int]:
    places = np.linspace(0, len(centers) - 1, min(TRIED, len(centers)))
    return [round(place) for place in places.tolist()]


def _whole(column: Column, number: float) -> float:
    return float(round(number)) if column.integer else number
