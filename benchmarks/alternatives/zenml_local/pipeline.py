"""A ZenML pipeline on a local stack, with MLflow as experiment tracker and registry.

Steps are cached by their parameters and inputs, as ZenML does by default.
"""

from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import work
from tracking import log_model, log_training
from zenml import pipeline, step

RAW = Path("data/raw")


@step
def import_raw(data: dict[str, Any]) -> Annotated[str, "raw"]:
    """Write the raw files; return their folder."""
    work.import_raw(data, RAW)
    return str(RAW)


@step
def preprocess(data: dict[str, Any], raw: str) -> Annotated[pd.DataFrame, "tidy"]:
    """Return the tidy table."""
    return work.preprocess(data, Path(raw))


@step
def features(
    data: dict[str, Any], table: pd.DataFrame
) -> tuple[Annotated[dict[str, pd.DataFrame], "matrices"], Annotated[Any, "encoder"]]:
    """Return the encoded rows of each part, and the fitted encoder."""
    matrices, encoder = work.features(data, table)
    return matrices, encoder  # ZenML counts the values that it sees here


@step(experiment_tracker="mlflow_tracker", settings={"experiment_tracker": {"nested": True}})
def train(
    training: dict[str, Any], matrices: dict[str, pd.DataFrame], encoder: Any
) -> tuple[Annotated[Any, "model"], Annotated[dict[str, float], "metrics"]]:
    """Fit one type; log and register it."""
    fitted = work.fit(training, matrices, encoder)
    found = work.metrics(training, fitted, matrices)
    log_training(training, found)
    log_model(training, fitted)
    return fitted, found


@step
def compare(types: list[str], metrics: list[dict[str, float]]) -> Annotated[str, "champion"]:
    """Return the champion's name."""
    return work.champion(dict(zip(types, metrics, strict=True)))


@pipeline
def accidents(data: dict[str, Any], trainings: dict[str, dict[str, Any]]) -> None:
    """From raw files to registered models."""
    table = preprocess(data, import_raw(data))
    matrices, encoder = features(data, table)
    metrics = [
        train(one, matrices, encoder, id=f"train_{name}")[1] for name, one in trainings.items()
    ]
    compare(list(trainings), metrics)


if __name__ == "__main__":
    params = work.read_params(Path("params.yaml"))
    accidents(params["data"], params["train"])
