"""Compare every trained type with HistGradientBoostingClassifier (defaults, raw columns) on the same test rows."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score

from lockstep.config.layout import ProblemLayout, project_root
from lockstep.config.params import load_params
from lockstep.models.bootstrap import interval, resampled
from lockstep.models.evaluation import Scored
from lockstep.problems.schema import load_schema

RESAMPLES = 2000
problem = sys.argv[1]
root: Path = project_root()
layout, schema = ProblemLayout(root, problem), load_schema(problem)
table = pd.read_parquet(layout.tidy)


def reference_scores(test_rows: np.ndarray) -> np.ndarray:
    """Return the reference's scores: fitted on all rows that are not test rows."""
    raw = table[schema.feature_names].apply(
        lambda c: c if c.dtype.kind in "fiu" else c.astype("category").cat.codes
    )
    train = np.setdiff1d(np.arange(len(table)), test_rows)
    model = HistGradientBoostingClassifier(random_state=0).fit(
        raw.iloc[train], table[schema.target].iloc[train]
    )
    return model.predict_proba(raw.iloc[test_rows])[:, 1]


def line(name: str, y: np.ndarray, score: np.ndarray) -> str:
    """Return a model's figures on the test rows."""
    auc, precision = roc_auc_score(y, score), average_precision_score(y, score)
    return f"{name:22s} AUC {auc:.4f}  AP {precision:.4f}  log loss {log_loss(y, score):.4f}"


reference = None
for model_type in load_params(root).problem(problem).model_types:
    scores = pd.read_parquet(layout.scores(model_type)).query("part == 'test'")
    y, ours = scores["__target__"].to_numpy(), scores["score"].to_numpy()
    if reference is None:
        reference = reference_scores(scores["__row__"].to_numpy())
        print(
            f"{'reference':22s} AUC {roc_auc_score(y, reference):.4f}  AP {average_precision_score(y, reference):.4f}"
        )
    rows = {"ours": Scored(y, ours, 0.5), "reference": Scored(y, reference, 0.5)}
    drawn = resampled(rows, scores["__group__"].to_numpy(), RESAMPLES)
    low, high = interval(drawn["ours"]["roc_auc"] - drawn["reference"]["roc_auc"])
    print(f"{line(model_type, y, ours)}  AUC over the reference: [{low:+.4f}, {high:+.4f}]")
