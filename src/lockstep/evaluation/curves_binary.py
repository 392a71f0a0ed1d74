"""Curves of two classes as small tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from lockstep.evaluation.plot_data import confusions, thinned
from lockstep.evaluation.scored_rows import Scored

if TYPE_CHECKING:
    from numpy.typing import NDArray

CALIBRATION_GROUPS = 15


def tables(rows: Scored) -> dict[str, pd.DataFrame]:
    """Return the curves of scored rows by name."""
    return {
        "roc": roc(rows),
        "ks": ks(rows),
        "pr": precision_recall(rows),
        "calibration": calibration(rows),
        "confusion_matrix": confusion(rows),
    }


def roc(rows: Scored) -> pd.DataFrame:
    """Return the ROC curve: columns fpr, tpr, threshold, from (0, 0) to (1, 1)."""
    score, hits, taken = _by_threshold(rows)
    misses = taken - hits
    curve = pd.DataFrame(
        {
            "fpr": np.concatenate([[0.0], misses / max(misses[-1], 1)]),
            "tpr": np.concatenate([[0.0], hits / max(hits[-1], 1)]),
            "threshold": np.concatenate([[1.0], score]),
        }
    )
    return thinned(curve)


def ks(rows: Scored) -> pd.DataFrame:
    """Return the Kolmogorov-Smirnov curve: columns score, positives, negatives (shares below it), difference.

    The largest difference is the KS of the metrics.
    """
    score, hits, taken = _by_threshold(rows)
    misses = taken - hits
    below = 1 - hits / max(hits[-1], 1), 1 - misses / max(misses[-1], 1)
    told = pd.DataFrame(
        {
            "score": score,
            "positives": below[0],
            "negatives": below[1],
            "difference": below[1] - below[0],
        }
    )
    best = int(np.argmax(told["difference"].to_numpy()))
    kept = pd.concat([thinned(told), told.iloc[[best]]]).drop_duplicates("score")
    return kept.sort_values("score", ascending=False, ignore_index=True)


def precision_recall(rows: Scored) -> pd.DataFrame:
    """Return the precision-recall curve: columns recall, precision, threshold."""
    score, hits, taken = _by_threshold(rows)
    curve = {"recall": hits / max(hits[-1], 1), "precision": hits / taken, "threshold": score}
    return thinned(pd.DataFrame(curve))


def calibration(rows: Scored) -> pd.DataFrame:
    """Return mean score and observed rate of equally large groups by score: columns predicted, observed, rows."""
    order = np.argsort(rows.score, kind="stable")
    groups = [part for part in np.array_split(order, CALIBRATION_GROUPS) if len(part)]
    return pd.DataFrame(
        {
            "predicted": [float(rows.score[part].mean()) for part in groups],
            "observed": [float((rows.target[part] == 1).mean()) for part in groups],
            "rows": [len(part) for part in groups],
        }
    )


def confusion(rows: Scored) -> pd.DataFrame:
    """Return how often each class meets each decision: columns actual, predicted, rows."""
    return confusions(rows.target, rows.score >= (rows.threshold or 0.0))


def _by_threshold(rows: Scored) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return distinct scores from high to low, and the positives and rows at or above each."""
    order = np.argsort(-rows.score, kind="stable")
    score = rows.score[order]
    ends = np.flatnonzero(np.append(np.diff(score) != 0, True))
    hits = np.cumsum(rows.target[order] == 1)[ends]
    return score[ends], hits.astype(np.float64), (ends + 1).astype(np.float64)
