"""Curves of two classes as small tables."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lockstep.evaluation.plot_data import confusions, thinned
from lockstep.evaluation.scored_rows import Array, Scored

CALIBRATION_GROUPS = 15


def tables(rows: Scored, uncalibrated: Array | None = None) -> dict[str, pd.DataFrame]:
    """Return the curves of scored rows by name; ``uncalibrated`` are scores before calibration."""
    return {
        "roc": roc(rows),
        "ks": ks(rows),
        "pr": precision_recall(rows),
        "calibration": calibration(rows, uncalibrated),
        "confusion_matrix": confusion(rows),
    }


def roc(rows: Scored) -> pd.DataFrame:
    """Return the ROC curve: columns fpr, tpr, threshold, from (0, 0) to (1, 1)."""
    score, hits, taken = _by_threshold(rows)
    misses = taken - hits
    curve = {
        "fpr": np.concatenate([[0.0], misses / max(misses[-1], 1)]),
        "tpr": np.concatenate([[0.0], hits / max(hits[-1], 1)]),
        "threshold": np.concatenate([[1.0], score]),
    }
    return thinned(pd.DataFrame(curve))


def ks(rows: Scored) -> pd.DataFrame:
    """Return the Kolmogorov-Smirnov curve: columns score, positives, negatives, difference.

    ``positives`` and ``negatives`` are shares below the score. The largest difference is the KS.
    """
    score, hits, taken = _by_threshold(rows)
    misses = taken - hits
    shares = {
        "positives": 1 - hits / max(hits[-1], 1),
        "negatives": 1 - misses / max(misses[-1], 1),
    }
    curve = pd.DataFrame({"score": score, **shares})
    curve["difference"] = curve["negatives"] - curve["positives"]
    best = int(np.argmax(curve["difference"].to_numpy()))
    points = pd.concat([thinned(curve), curve.iloc[[best]]]).drop_duplicates("score")
    return points.sort_values("score", ascending=False, ignore_index=True)


def precision_recall(rows: Scored) -> pd.DataFrame:
    """Return the precision-recall curve: columns recall, precision, threshold."""
    score, hits, taken = _by_threshold(rows)
    curve = {"recall": hits / max(hits[-1], 1), "precision": hits / taken, "threshold": score}
    return thinned(pd.DataFrame(curve))


def calibration(rows: Scored, uncalibrated: Array | None = None) -> pd.DataFrame:
    """Return a row for each of equal groups by score: columns predicted, observed, rows.

    With scores before calibration (rows,), uncalibrated_predicted and uncalibrated_observed are
    those of as many groups by these.
    """
    means = {**_grouped(rows.target, rows.score), "rows": _sizes(len(rows.score))}
    if uncalibrated is not None:
        before = _grouped(rows.target, uncalibrated)
        means |= {f"uncalibrated_{name}": values for name, values in before.items()}
    return pd.DataFrame(means)


def _grouped(target: NDArray[Any], score: Array) -> dict[str, list[float]]:
    """Return mean score and rate of positives of equal groups by score."""
    groups = np.split(np.argsort(score, kind="stable"), np.cumsum(_sizes(len(score)))[:-1])
    return {
        "predicted": [float(score[part].mean()) for part in groups],
        "observed": [float((target[part] == 1).mean()) for part in groups],
    }


def _sizes(rows: int) -> list[int]:
    """Return the rows of each group of a calibration curve."""
    parts = np.array_split(np.arange(rows), min(CALIBRATION_GROUPS, rows))
    return [len(part) for part in parts]


def confusion(rows: Scored) -> pd.DataFrame:
    """Return the counts of classes and decisions: columns actual, predicted, rows."""
    return confusions(rows.target, rows.decided)


def _by_threshold(rows: Scored) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return the scores from high to low, and the positives and rows at or above each."""
    order = np.argsort(-rows.score, kind="stable")
    score = rows.score[order]
    ends = np.flatnonzero(np.append(np.diff(score) != 0, True))
    hits = np.cumsum(rows.target[order] == 1)[ends]
    return score[ends], hits.astype(np.float64), (ends + 1).astype(np.float64)
