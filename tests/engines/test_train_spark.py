"""`python src/models/train_spark.py` in a clone: stages, versions, comparison, nothing twice."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy.stats import rankdata
from tests.journey.conftest import Project, trained

from lockstep.io import read_parquet

__all__ = ["trained"]
TRAIN = "python src/models/train_spark.py --models logistic_regression random_forest"
FOREST = "Accident_Prediction_Spark_Random_Forest"
LINEAR = "Accident_Prediction_Spark_Logistic_Regression"
REGISTRY = "python scripts/manage_model_registry.py"


@pytest.fixture(scope="module")
def project(trained: Project, tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, str]:
    """A project whose models were trained by both engines, and what the command said."""
    own = trained.copy(tmp_path_factory.mktemp("on spark") / "my project")
    # A few trees: the number of them is not what is tested.
    own.edit(
        "params.yaml", r"(accidents-random_forest:\n(?:    .*\n)*?.*n_estimators: )\d+", r"\g<1>8"
    )
    return own, own.run(TRAIN)


def card(project: Project, path: str) -> dict:
    return json.loads((project.folder / "models/accidents" / f"{path}_model.json").read_text())


def test_the_first_run_writes_its_trainings_trains_registers_and_compares(
    project: tuple[Project, str],
) -> None:
    own, said = project
    params = yaml.safe_load((own.folder / "params.yaml").read_text())
    assert params["prepare_spark"] == {"accidents": {"partitions": 2}}
    types = {"logistic_regression", "random_forest"}
    assert set(params["train_spark"]) == {f"accidents-{name}" for name in types}
    assert (
        params["train_spark"]["accidents-logistic_regression"]["params"]
        == params["train"]["accidents-logistic_regression"]["params"]
    )
    for name in (LINEAR, FOREST):
        assert f"{name}  version 1  None  new" in said
    assert "Running stage 'spark/dvc.yaml:compare_engines@accidents'" in said
    table = (own.folder / "spark/metrics/accidents/model_comparison.csv").read_text()
    named = [line.partition(",")[0] for line in table.splitlines()[1:]]
    assert set(named[-len(types) :]) == {f"spark_{name}" for name in types}
    assert set(named[: -len(types)]) == set(params["problems"]["accidents"]["model_types"])


def test_both_engines_fit_the_same_logistic_regression(project: tuple[Project, str]) -> None:
    own, _ = project
    here, there = card(own, "logistic_regression"), card(own, "spark/logistic_regression")
    assert here["model_digest"] == there["model_digest"]
    assert there["registered_name"] == LINEAR
    assert (here["type"], there["type"]) == ("logistic_regression", "spark_logistic_regression")


def test_a_plain_repro_and_a_second_training_run_nothing_on_spark(
    project: tuple[Project, str],
) -> None:
    own, _ = project
    said = own.run("dvc repro", JAVA_HOME="/nonexistent")
    assert "spark" not in said.replace("Accident_Prediction_Spark", "")
    again = own.run(TRAIN)
    for stage in ("prepare_spark", "train_spark"):
        assert f"Running stage 'spark/dvc.yaml:{stage}" not in again
    assert f"{FOREST}  version 1  None  known" in again


def test_its_version_is_loaded_promoted_and_verified_like_any_other(
    project: tuple[Project, str],
) -> None:
    own, _ = project
    name = FOREST
    own.run(f"{REGISTRY} promote --model-name {name} --stage Production --reason 'the first'")
    said = own.run(
        f"python src/models/predict_model.py src/models/test_features.json --model-name {name} "
        "--stage Production"
    )
    assert re.search(rf"{name} +1 +Production", said)
    assert "✗" not in own.run(f"{REGISTRY} verify --model-name {name} --version 1")


@pytest.mark.long
def test_a_training_that_params_no_longer_declare_so_is_not_registered(
    project: tuple[Project, str], tmp_path
) -> None:
    own = project[0].copy(tmp_path / "other")
    own.edit("params.yaml", r"(train_spark:\n(?:.*\n)*?      C: )0.1", r"\g<1>0.2")
    (own.folder / "mlflow.db").unlink()
    said = own.run("python -m lockstep.registry.register_models --problem accidents")
    assert "spark_logistic_regression was trained with other parameters, data or code" in said
    assert f"{FOREST}  version 1" in said


@pytest.mark.soak
def test_a_trial_on_spark_is_trained_apart_and_registers_nothing(
    project: tuple[Project, str],
) -> None:
    own, _ = project
    before = own.run("git status --short"), own.run(f"{REGISTRY} list-models")
    said = own.run("python src/models/train_spark.py --env dev --models xgboost lightgbm")
    assert "Trained apart in .lockstep/dev (--env dev); nothing is registered." in said
    apart = own.folder / ".lockstep" / "dev"
    for name in ("xgboost", "lightgbm"):
        assert (apart / f"models/accidents/spark/{name}_model.joblib").is_file()
    assert yaml.safe_load((apart / "params.yaml").read_text())["prepare_spark"]
    assert (own.run("git status --short"), own.run(f"{REGISTRY} list-models")) == before


LOADED = """
import json, sys
import mlflow.spark
import numpy as np
import pandas as pd
from pyspark.sql.functions import col, struct
from lockstep.engines.session import spark_session

mlflow.set_tracking_uri("sqlite:///mlflow.db")
with spark_session("local[1]") as spark:
    rows = spark.read.parquet("data/accidents/spark/features/test")
    model = mlflow.spark.load_model(sys.argv[1])
    spread = model.transform(rows).orderBy("__row__").toPandas()["probability"]
    record = json.load(open("src/models/test_features.json"))
    records = spark.createDataFrame(pd.DataFrame([record]))
    score = mlflow.pyfunc.spark_udf(
        spark, sys.argv[2], "array<double>", env_manager="local"
    )
    numbers = records.select(*[col(name).cast("double").alias(name) for name in records.columns])
    scored = numbers.withColumn("probability", score(struct(*numbers.columns))[1])
    found = {"forest": [row[1] for row in spread], "raw": scored.toPandas()["probability"].tolist()}
    print("found", json.dumps(found))
"""


@pytest.mark.long
def test_other_spark_programs_load_versions(project: tuple[Project, str], tmp_path: Path) -> None:
    own, _ = project
    log = f"python src/models/log_spark_model.py --version 1 --model-name {FOREST}"
    said = own.run(log)
    address = re.fullmatch(rf"{FOREST} version 1 for Spark: .*\('(runs:/.*)'\)\n", said)[1]
    assert own.run(log) == said  # it is there already
    (tmp_path / "loaded.py").write_text(LOADED)
    loaded = own.run(f"python {tmp_path}/loaded.py {address} models:/{FOREST}/1")
    found = json.loads(re.search(r"^found (.*)$", loaded, re.M)[1])
    scores = read_parquet(own.folder / "data/accidents/spark/scores/random_forest.parquet")
    tested = scores.loc[scores["part"] == "test"].sort_values("__row__")
    assert np.corrcoef(rankdata(found["forest"]), rankdata(tested["score"]))[0, 1] > 0.999
    said = own.run(
        "python src/models/predict_model.py src/models/test_features.json --json "
        f"--model-name {FOREST} --version 1"
    )
    assert found["raw"] == [
        pytest.approx(json.loads(said)[0]["probability"], abs=1e-8)
    ]  # it is printed so
    refused = own.run(log.replace(FOREST, LINEAR), code=2)
    assert "is no forest, so spark.ml has no form of it; use `mlflow.pyfunc.spark_udf`" in refused
