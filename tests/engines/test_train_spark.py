"""`python src/models/train_spark.py` in a clone: stages, versions, comparison, nothing twice."""

import json
import re

import pytest
import yaml
from tests.journey.conftest import Project, trained

__all__ = ["trained"]
TRAIN = "python src/models/train_spark.py --models logistic_regression xgboost"
REGISTRY = "python scripts/manage_model_registry.py"


@pytest.fixture(scope="module")
def project(trained: Project, tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, str]:
    """A project whose models were trained by both engines, and what the command said."""
    own = trained.copy(tmp_path_factory.mktemp("on spark") / "my project")
    # A few trees: the number of them is not what is tested.
    own.edit("params.yaml", r"(accidents-xgboost:\n(?:    .*\n)*?.*n_estimators: )3000", r"\g<1>40")
    return own, own.run(TRAIN)


def card(project: Project, path: str) -> dict:
    return json.loads((project.folder / "models/accidents" / f"{path}_model.json").read_text())


def test_the_first_run_writes_its_trainings_trains_registers_and_compares(
    project: tuple[Project, str],
) -> None:
    own, said = project
    params = yaml.safe_load((own.folder / "params.yaml").read_text())
    assert params["prepare_spark"] == {"accidents": {"partitions": 2}}
    assert set(params["train_spark"]) == {"accidents-logistic_regression", "accidents-xgboost"}
    assert (
        params["train_spark"]["accidents-xgboost"]["params"]
        == params["train"]["accidents-xgboost"]["params"]
    )
    for name in ("Logistic_Regression", "XGBoost"):
        assert f"Accident_Prediction_Spark_{name}  version 1  None  new" in said
    assert "Running stage 'spark/dvc.yaml:compare_engines@accidents'" in said
    table = (own.folder / "spark/metrics/accidents/model_comparison.csv").read_text()
    named = [line.partition(",")[0] for line in table.splitlines()[1:]]
    assert named[-2:] == ["spark_logistic_regression", "spark_xgboost"]
    assert set(named[:-2]) == set(params["problems"]["accidents"]["model_types"])


def test_both_engines_fit_the_same_logistic_regression(project: tuple[Project, str]) -> None:
    own, _ = project
    here, there = card(own, "logistic_regression"), card(own, "spark/logistic_regression")
    assert here["model_digest"] == there["model_digest"]
    assert there["registered_name"] == "Accident_Prediction_Spark_Logistic_Regression"
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
    assert "Accident_Prediction_Spark_XGBoost  version 1  None  known" in again


def test_its_version_is_loaded_promoted_and_verified_like_any_other(
    project: tuple[Project, str],
) -> None:
    own, _ = project
    name = "Accident_Prediction_Spark_XGBoost"
    own.run(f"{REGISTRY} promote --model-name {name} --stage Production --reason 'the first'")
    said = own.run(
        f"python src/models/predict_model.py src/models/test_features.json --model-name {name} "
        "--stage Production"
    )
    assert re.search(rf"{name} +1 +Production", said)
    assert "✗" not in own.run(f"{REGISTRY} verify --model-name {name} --version 1")


def test_a_training_that_params_no_longer_declare_so_is_not_registered(
    project: tuple[Project, str], tmp_path
) -> None:
    own = project[0].copy(tmp_path / "other")
    own.edit("params.yaml", r"(train_spark:\n(?:.*\n)*?      C: )0.1", r"\g<1>0.2")
    (own.folder / "mlflow.db").unlink()
    said = own.run("python -m lockstep.registry.register_models --problem accidents")
    assert "spark_logistic_regression was trained with other parameters or data" in said
    assert "Accident_Prediction_Spark_XGBoost  version 1" in said
