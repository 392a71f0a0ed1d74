"""The stages of dvc.yaml, each a process of its own; `train` logs to MLflow and registers."""

import json
import sys
from pathlib import Path

import joblib
import pandas as pd
import work

from lockstep.config.layout import PARTS

RAW, TIDY, FEATURES = Path("data/raw"), Path("data/tidy.parquet"), Path("data/features")


def import_raw(params):
    """Write the raw files."""
    work.import_raw(params["data"], RAW)


def preprocess(params):
    """Write the tidy table."""
    work.preprocess(params["data"], RAW).to_parquet(TIDY)


def features(params):
    """Write the encoded rows of each part and the encoder."""
    matrices, encoder = work.features(params["data"], pd.read_parquet(TIDY))
    FEATURES.mkdir(parents=True, exist_ok=True)
    for part, matrix in matrices.items():
        matrix.to_parquet(FEATURES / f"{part}.parquet")
    joblib.dump(encoder, FEATURES / "encoder.joblib")


def train(params, name):
    """Fit one type; write model and metrics, log and register them."""
    import mlflow
    from tracking import log_model, log_training

    training = params["train"][name]
    matrices = {part: pd.read_parquet(FEATURES / f"{part}.parquet") for part in PARTS}
    pipeline = work.fit(training, matrices, joblib.load(FEATURES / "encoder.joblib"))
    found = work.metrics(training, pipeline, matrices)
    for file in (Path(f"models/{name}.joblib"), Path(f"metrics/{name}.json")):
        file.parent.mkdir(exist_ok=True)
    joblib.dump(pipeline, f"models/{name}.joblib")
    Path(f"metrics/{name}.json").write_text(json.dumps(found, indent=2))
    mlflow.set_tracking_uri("sqlite:///mlflow.db")
    mlflow.set_experiment("accidents")
    with mlflow.start_run(run_name=name):
        log_training(training, found)
        log_model(training, pipeline)


def compare(params):
    """Write the champion's name."""
    files = {name: Path(f"metrics/{name}.json") for name in params["train"]}
    found = {name: json.loads(file.read_text()) for name, file in files.items()}
    Path("champion.json").write_text(json.dumps({"type": work.champion(found)}))


if __name__ == "__main__":
    stages = {one.__name__: one for one in (import_raw, preprocess, features, train, compare)}
    stages[sys.argv[1]](work.read_params(Path("params.yaml")), *sys.argv[2:])
