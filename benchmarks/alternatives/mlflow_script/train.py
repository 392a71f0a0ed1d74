"""A plain script with MLflow: all the work in one process, from raw files to registered models."""

from pathlib import Path

import mlflow
import work
from tracking import log_model, log_training


def main() -> None:
    """Train, log and register every type of params.yaml; print the champion."""
    params = work.read_params(Path("params.yaml"))
    mlflow.set_tracking_uri("sqlite:///mlflow.db")
    mlflow.set_experiment("accidents")
    work.import_raw(params["data"], Path("data/raw"))
    table = work.preprocess(params["data"], Path("data/raw"))
    matrices, encoder = work.features(params["data"], table)
    found = {}
    for name, training in params["train"].items():
        with mlflow.start_run(run_name=name):
            pipeline = work.fit(training, matrices, encoder)
            found[name] = work.metrics(training, pipeline, matrices)
            log_training(training, found[name])
            log_model(training, pipeline)
    print(work.champion(found))


if __name__ == "__main__":
    main()
