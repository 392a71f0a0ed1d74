"""Curves and bars of one model type as small tables, the files that `dvc plots show` draws."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lockstep.models.evaluation import Scored

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

POINTS = 200
"""The most points a curve keeps."""
CALIBRATION_GROUPS = 15


def tables(
    rows: Scored, importance: dict[str, float], history: dict[str, list[float]]
) -> dict[str, pd.DataFrame]:
    """Return every table of a model type by its name: that of the file without ``.csv``."""
    found = {"importance": importance_table(importance)}
    if rows.threshold is not None:
        found |= {
            "roc": roc(rows),
            "pr": precision_recall(rows),
            "calibration": calibration(rows),
            "confusion_matrix": confusion(rows),
        }
    if history:
        found["history"] = history_table(history)
    return found


def roc(rows: Scored) -> pd.DataFrame:
    """Return the ROC curve: columns fpr, tpr, threshold, from (0, 0) to (1, 1)."""
    import numpy as np
    import pandas as pd

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


def precision_recall(rows: Scored) -> pd.DataFrame:
    """Return the precision-recall curve: columns recall, precision, threshold."""
    import pandas as pd

    score, hits, taken = _by_threshold(rows)
    curve = {"recall": hits / max(hits[-1], 1), "precision": hits / taken, "threshold": score}
    return thinned(pd.DataFrame(curve))


def calibration(rows: Scored) -> pd.DataFrame:
    """Return mean score and observed rate of equally large groups by score: columns predicted, observed, rows."""
    import numpy as np
    import pandas as pd

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
    """Return actual and predicted class of every row, sorted: what DVC's confusion template counts."""
    import pandas as pd

    chosen = (rows.score >= (rows.threshold or 0.0)).astype(int)
    pairs = pd.DataFrame({"actual": rows.target.astype(int), "predicted": chosen})
    return pairs.sort_values(["actual", "predicted"], ignore_index=True)


def importance_table(importance: dict[str, float]) -> pd.DataFrame:
    """Return columns feature and importance, shares of the whole, the largest first."""
    import pandas as pd

    total = sum(importance.values()) or 1.0
    shares = {name: value / total for name, value in importance.items()}
    ordered = sorted(shares.items(), key=lambda item: (-item[1], item[0]))[:POINTS]
    return pd.DataFrame(ordered, columns=["feature", "importance"])


def history_table(history: dict[str, list[float]]) -> pd.DataFrame:
    """Return the losses by iteration: columns iteration, then one a part."""
    import pandas as pd

    table = thinned(pd.DataFrame(history))
    return table.astype({"iteration": int})


def thinned(table: pd.DataFrame, points: int = POINTS) -> pd.DataFrame:
    """Return at most so many rows, evenly spaced, first and last among them."""
    import numpy as np

    if len(table) <= points:
        return table
    keep = np.unique(np.round(np.linspace(0, len(table) - 1, points)).astype(int))
    return table.iloc[keep].reset_index(drop=True)


def importance(model: Any, features: pd.DataFrame) -> dict[str, float]:
    """Return each encoded column's importance: gain (boosters), impurity (forest), spread of the margin (linear)."""
    names = [str(name) for name in features]
    if hasattr(model, "named_steps"):
        from lockstep.models.linear import contributions

        return contributions(model, features)
    if hasattr(model, "get_booster"):
        gains = model.get_booster().get_score(importance_type="total_gain")
        return {name: float(gains.get(name, 0.0)) for name in names}
    if hasattr(model, "booster_"):
        gains = model.booster_.feature_importance("gain")
        return {name: float(gain) for name, gain in zip(names, gains, strict=True)}
    return {name: float(share) for name, share in zip(names, model.feature_importances_, strict=True)}


def _by_threshold(rows: Scored) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return distinct scores from high to low, and the positives and rows at or above each."""
    import numpy as np

    order = np.argsort(-rows.score, kind="stable")
    score = rows.score[order]
    ends = np.flatnonzero(np.append(np.diff(score) != 0, True))
    hits = np.cumsum(rows.target[order] == 1)[ends]
    return score[ends], hits.astype(np.float64), (ends + 1).astype(np.float64)
