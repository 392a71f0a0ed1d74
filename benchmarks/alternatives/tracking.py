"""One MLflow run and registered version of a trained model, as MLflow's documentation has it.

Requirements and serialization are given: without them MLflow starts a process for each model that
infers them, which takes seconds, and refuses to save an encoder of one's own.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import mlflow

PACKAGES = ("scikit-learn", "xgboost-cpu", "lightgbm", "pandas", "numpy")


def requirements() -> list[str]:
    """Return the pins of the packages that a model needs."""
    return [f"{name}=={version(name)}" for name in PACKAGES]


def log_training(training: dict[str, Any], metrics: dict[str, float]) -> None:
    """Log hyperparameters and metrics to the run that is open."""
    mlflow.log_params({**training["params"], "seed": training["seed"], "type": training["type"]})
    mlflow.log_metrics(metrics)


def log_model(training: dict[str, Any], pipeline: Any) -> None:
    """Log the model to the run that is open and register it."""
    mlflow.sklearn.log_model(
        pipeline,
        name="model",
        serialization_format="cloudpickle",
        pip_requirements=requirements(),
        registered_model_name=f"accidents-{training['type']}",
    )
