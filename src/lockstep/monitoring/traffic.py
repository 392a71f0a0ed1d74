"""Champion and challenger on the same live requests: agreement, changed decisions, latency."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lockstep.errors import DataError
from lockstep.evaluation.paired_comparison import Difference, paired_difference
from lockstep.evaluation.scored_rows import Scored
from lockstep.monitoring.window import is_known

MOST_SLICES = 8
FEWEST_LABELS, FEWEST_ROWS = 200, 30

Cut = Callable[[str, pd.Series], Iterable[tuple[str, NDArray[np.bool_]]]]
"""From a column and its values to the names of its slices and their rows."""


@dataclass(frozen=True)
class Pairs:
    """Rows that both scored. ``request`` (rows,) numbers their requests; label -1 is unknown.

    Scores (rows,) are probabilities of the positive class, or predictions of a regression; of
    several classes they are (rows, classes).
    """

    task: str
    champion: NDArray[np.float64]
    challenger: NDArray[np.float64]
    decided: NDArray[np.int64]
    would_decide: NDArray[np.int64]
    label: NDArray[Any]
    request: NDArray[np.int64]
    slices: dict[str, NDArray[Any]] = field(default_factory=dict)
    thresholds: tuple[float | None, float | None] = (None, None)
    seconds: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    """Seconds a row of the challenger's, for each request."""


def joined(parts: list[Pairs], task: str) -> Pairs:
    """Return all rows of several parts together, with the last part's thresholds."""
    if not parts:
        none, whole = np.zeros(0), np.zeros(0, dtype=np.int64)
        return Pairs(task, none, none, whole, whole, whole, whole)

    def all_of(name: str) -> NDArray[Any]:
        return np.concatenate([getattr(part, name) for part in parts])

    return Pairs(
        task=task,
        champion=all_of("champion"),
        challenger=all_of("challenger"),
        decided=all_of("decided"),
        would_decide=all_of("would_decide"),
        label=all_of("label"),
        request=all_of("request"),
        slices={name: np.concatenate([p.slices[name] for p in parts]) for name in parts[0].slices},
        thresholds=parts[-1].thresholds,
        seconds=all_of("seconds"),
    )


@dataclass(frozen=True)
class Traffic:
    """What live traffic says of two versions."""

    rows: int
    requests: int
    agreement: float | None
    """The share of rows that both decide alike; for a regression the scores' correlation.

    None where there is no correlation: of one row, or of scores that are all equal.
    """
    changes: dict[str, int]
    """How many rows change, by `from → to`."""
    slices: pd.DataFrame
    """Columns slice, rows and changed (a share); the most changed first."""
    milliseconds: float
    """The challenger's time a row: the median over requests."""
    labelled: int
    difference: Difference | None
    why: str = ""


def compare_traffic(
    pairs: Pairs, metric: str, words: list[str], cut: Cut, seed: int = 0
) -> Traffic:
    """Return how two versions differ on the same rows; with enough labels by a paired bootstrap."""
    if not len(pairs.champion):
        raise DataError("the challenger has scored no request that the champion answered")
    changed = pairs.decided != pairs.would_decide
    agreement: float | None = float(1 - changed.mean())
    if pairs.task == "regression":
        agreement = _correlation(pairs.champion, pairs.challenger)
    difference, why = _difference(pairs, metric, seed)
    return Traffic(
        len(changed),
        len(np.unique(pairs.request)),
        agreement,
        _changes(pairs, words),
        _slices(pairs, changed, cut),
        float(np.median(pairs.seconds) * 1000) if len(pairs.seconds) else float("nan"),
        int(is_known(pairs.label).sum()),
        difference,
        why,
    )


def _correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float | None:
    if not (np.ptp(one) and np.ptp(other)):
        return None
    return float(np.corrcoef(one, other)[0, 1])


def _changes(pairs: Pairs, words: list[str]) -> dict[str, int]:
    found = Counter(zip(pairs.decided.tolist(), pairs.would_decide.tolist(), strict=True))
    return {
        f"{words[one]} → {words[other]}": many
        for (one, other), many in found.most_common()
        if one != other
    }


def _slices(pairs: Pairs, changed: NDArray[np.bool_], cut: Cut) -> pd.DataFrame:
    rows = [
        {"slice": label, "rows": int(mask.sum()), "changed": float(changed[mask].mean())}
        for name, values in pairs.slices.items()
        for label, mask in cut(name, pd.Series(values))
        if mask.sum() >= FEWEST_ROWS
    ]
    table = pd.DataFrame(rows, columns=["slice", "rows", "changed"])
    return table.sort_values("changed", ascending=False, kind="stable").head(MOST_SLICES)


def _difference(pairs: Pairs, metric: str, seed: int) -> tuple[Difference | None, str]:
    known = is_known(pairs.label)
    if known.sum() < FEWEST_LABELS:
        return None, f"{int(known.sum())} labels, fewer than {FEWEST_LABELS}"
    label, several = pairs.label[known], pairs.task == "multiclass"
    if pairs.task == "binary":
        label = label.astype(np.int64)
    one, other = (
        Scored(label, score[known], threshold, decided[known] if several else None)
        for score, threshold, decided in zip(
            (pairs.champion, pairs.challenger),
            pairs.thresholds,
            (pairs.decided, pairs.would_decide),
            strict=True,
        )
    )
    try:
        return paired_difference(other, one, pairs.request[known], metric, seed=seed), ""
    except DataError as error:
        return None, str(error)
