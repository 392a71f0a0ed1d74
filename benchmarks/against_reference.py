"""Compare every trained type with scikit-learn's HistGradientBoosting on the same test rows.

The reference has its defaults and the raw columns.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from lockstep.config.layout import ProblemLayout, project_root
from lockstep.config.params import load_params
from lockstep.evaluation.bootstrap import interval, resampled
from lockstep.evaluation.metrics import Scored, evaluate
from lockstep.problems.schema import load_schema

RESAMPLES = 2000
problem = sys.argv[1]
root: Path = project_root()
layout, schema = ProblemLayout(root, problem), load_schema(problem)
table = pd.read_parquet(layout.tidy)
IS_NUMBER = schema.task == "regression"
METRIC, SHOWN = (
    ("rmse", ("rmse", "mae", "r2"))
    if IS_NUMBER
    else ("roc_auc", ("roc_auc", "average_precision", "log_loss"))
)


def reference_scores(test_rows: np.ndarray) -> np.ndarray:
    """Return the reference's scores: fitted on all rows that are not test rows."""
    raw = table[schema.feature_names].apply(
        lambda c: c if c.dtype.kind in "fiu" else c.astype("category").cat.codes
    )
    train = np.setdiff1d(np.arange(len(table)), test_rows)
    kind = HistGradientBoostingRegressor if IS_NUMBER else HistGradientBoostingClassifier
    model = kind(random_state=0).fit(raw.iloc[train], table[schema.target].iloc[train])
    rows = raw.iloc[test_rows]
    return model.predict(rows) if IS_NUMBER else model.predict_proba(rows)[:, 1]


def line(name: str, rows: Scored) -> str:
    """Return a model's figures on the test rows."""
    found = evaluate(rows)
    return f"{name:22s} " + "  ".join(f"{metric} {found[metric]:.4f}" for metric in SHOWN)


reference = None
for model_type in load_params(root).problem(problem).model_types:
    scores = pd.read_parquet(layout.scores(model_type)).query("part == 'test'")
    y, threshold = scores["__target__"].to_numpy(), None if IS_NUMBER else 0.5
    if reference is None:
        reference = Scored(y, reference_scores(scores["__row__"].to_numpy()), threshold)
        print(line("reference", reference))
    ours = Scored(y, scores["score"].to_numpy(), threshold)
    drawn = resampled(
        {"ours": ours, "reference": reference}, scores["__group__"].to_numpy(), RESAMPLES
    )
    low, high = interval(drawn["ours"][METRIC] - drawn["reference"][METRIC])
    print(f"{line(model_type, ours)}  {METRIC} minus the reference's: [{low:+.4f}, {high:+.4f}]")
