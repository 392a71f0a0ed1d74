"""Seeded bootstrap over groups: every model gets the same resamples, so differences are paired."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lockstep.evaluation.metrics import weighted_metrics
from lockstep.evaluation.scored_rows import Array, Scored

LEVEL = 0.95
"""Each end of an interval is that of a one-sided 97.5 % interval."""
CHUNK_CELLS = 1_000_000
"""Resamples x rows in memory at once."""


def resampled(
    models: dict[str, Scored], groups: NDArray[Any], resamples: int = 1000, seed: int = 0
) -> dict[str, dict[str, Array]]:
    """Return each model's metrics over resamples of groups: model → metric → (resamples,).

    All models must score the same rows in the same order; ``groups`` (rows,) names their groups.
    """
    metrics = {name: weighted_metrics(rows) for name, rows in models.items()}
    parts: dict[str, list[dict[str, Array]]] = {name: [] for name in models}
    for weights in group_weights(groups, resamples, seed):
        for name, of_weights in metrics.items():
            parts[name].append(of_weights(weights))
    return {
        name: {metric: np.concatenate([part[metric] for part in found]) for metric in found[0]}
        for name, found in parts.items()
    }


def group_weights(groups: NDArray[Any], resamples: int, seed: int) -> Iterator[Array]:
    """Yield how often each resample draws each row, in chunks of shape (rows, some resamples)."""
    _, index = np.unique(groups, return_inverse=True)
    count = int(index.max()) + 1
    rng = np.random.Generator(np.random.PCG64(seed))
    step = max(1, CHUNK_CELLS // len(groups))
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        drawn = rng.integers(0, count, size=(size, count)) + np.arange(size)[:, None] * count
        by_group = np.bincount(drawn.ravel(), minlength=size * count).reshape(size, count)
        yield np.ascontiguousarray(by_group.T, dtype=np.float64)[index]


def interval(values: Array) -> tuple[float, float]:
    """Return the two-sided percentile interval of a metric's resamples at ``LEVEL``.

    Resamples of which the metric is NaN, as they lack a class, are left out.
    """
    tail = (1 - LEVEL) / 2
    low, high = np.nanquantile(values, [tail, 1 - tail])
    return float(low), float(high)
