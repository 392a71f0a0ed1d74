"""The report by class, as scikit-learn's, from the counts of a confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from lockstep.evaluation.metrics_multiclass import of_counts
from lockstep.evaluation.scored_rows import ratio

FIGURES = ["precision", "recall", "f1-score"]


def classification_report(confusion: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Return a row a class, then accuracy, macro avg and weighted avg, as scikit-learn's report.

    ``confusion`` has the columns actual, predicted (both labels as text) and rows; a pair without
    rows may be missing. Columns: class, precision, recall, f1-score, support.
    """
    labels = list(classes)
    counts = confusion.pivot_table("rows", "actual", "predicted", aggfunc="sum", fill_value=0)
    table = counts.reindex(index=labels, columns=labels, fill_value=0).to_numpy(np.float64)
    actual, hit = table.sum(axis=1), np.diag(table)
    found = of_counts(actual, table.sum(axis=0), hit)
    figures = np.column_stack([found[name] for name in ("precision", "recall", "f1")])
    total = actual.sum()
    below = [
        np.full(3, ratio(hit.sum(), total)),
        figures.mean(axis=0),
        ratio(actual @ figures, total),
    ]
    report = pd.DataFrame(np.vstack([figures, *below]), columns=FIGURES)
    report.insert(0, "class", [*labels, "accuracy", "macro avg", "weighted avg"])
    return report.assign(support=[*actual.astype(int), *[int(total)] * 3])
