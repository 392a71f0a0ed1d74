"""Score a table with a model file, with another environment's Python and another commit's package.

    python -P score_rows.py model.joblib rows.parquet scores.npy

It imports nothing of this package: what the model needs is that of the commit it was made from.
"""

from __future__ import annotations

import sys

import joblib
import numpy as np
import pandas as pd


def main(model: str, rows: str, scores: str) -> None:
    """Write the model's probabilities (regression: values) of all rows, float64."""
    # joblib closes what it opens before lz4 flushes it, which Python 3.13 prints as an error.
    with open(model, "rb") as file:
        pipeline = joblib.load(file)
    table = pd.read_parquet(rows)
    predict = getattr(pipeline, "predict_proba", pipeline.predict)
    np.save(scores, np.asarray(predict(table), dtype="float64"))


if __name__ == "__main__":
    main(*sys.argv[1:])
