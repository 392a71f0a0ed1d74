"""The functions of the pipeline's nodes."""

from pathlib import Path

import work

RAW = Path("data/raw")


def tidy(data):
    """Write the raw files and return the tidy table."""
    work.import_raw(data, RAW)
    return work.preprocess(data, RAW)


def train(training, matrices, encoder):
    """Return a fitted model of one type, its metrics, and these as kedro-mlflow logs them."""
    pipeline = work.fit(training, matrices, encoder)
    found = work.metrics(training, pipeline, matrices)
    return pipeline, found, {name: {"value": value, "step": 0} for name, value in found.items()}


def champion(trainings, *metrics):
    """Return the type with the best validation ROC AUC."""
    return {"type": work.champion(dict(zip(trainings, metrics, strict=True)))}
