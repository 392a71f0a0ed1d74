"""What Spark prepares and fits is what one machine does: cells, encoders and models."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.engines.prepared import SAMPLES, Prepared, check_conversion, digest, prepare, same_cells

from lockstep.engines import forest
from lockstep.engines.fitting import fit_on_spark
from lockstep.engines.spark_ml import check_predictions, spark_pipeline
from lockstep.errors import ConfigError, UsageError
from lockstep.models.matrices import Columns
from lockstep.models.model_type import Recipe
from lockstep.models.scoring.prediction import Model
from lockstep.models.training import fit, pipeline_of
from lockstep.models.types import model_type

FEW = {"n_estimators": 12}
FOREST = {"n_estimators": 6, "max_depth": 6, "min_samples_leaf": 5, "max_features": 0.3}


@pytest.fixture(scope="module")
def prepared(spark: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Prepared]:
    """Every problem, prepared both ways."""
    return {
        name: prepare(spark, name, tmp_path_factory.mktemp(f"data of {name}")) for name in SAMPLES
    }


@pytest.mark.parametrize("problem", SAMPLES)
def test_rows_cells_and_encoder_are_the_same(prepared: dict[str, Prepared], problem: str) -> None:
    same_cells(prepared[problem])


def test_the_source_of_two_years_is_read_in_two_tasks(prepared: dict[str, Prepared]) -> None:
    assert len(list(prepared["accidents"].layout.tidy.iterdir())) == 2
    assert len(list(prepared["credit_risk"].layout.tidy.iterdir())) == 1


@pytest.mark.parametrize(
    ("problem", "name"),
    [
        ("accidents", "logistic_regression"),
        ("credit_risk", "logistic_regression"),
        ("california_housing", "ridge"),
    ],
)
def test_linear_models_are_the_same_to_the_bit(
    spark: Any, prepared: dict[str, Prepared], problem: str, name: str
) -> None:
    found = prepared[problem]
    job = found.job(name)
    here = fit(name, job.recipe, job.parts["train"], job.parts["stop"]).estimator
    there = fit_on_spark(spark, f"spark_{name}", found.recipe(name), found.rows).estimator
    assert digest(found, here) == digest(found, there)


@pytest.mark.parametrize("name", ["xgboost", "lightgbm"])
def test_boosters_in_one_task_are_the_same_to_the_bit(
    spark: Any, prepared: dict[str, Prepared], name: str, tmp_path: Path
) -> None:
    one = prepare(spark, "california_housing", tmp_path, partitions=1)
    job = one.job(name, **FEW)
    here = fit(name, job.recipe, job.parts["train"], job.parts["stop"], 5).estimator
    there = fit_on_spark(spark, f"spark_{name}", one.recipe(name, **FEW), one.rows, 5).estimator
    assert digest(one, here) == digest(one, there)


@pytest.mark.parametrize("name", ["xgboost", "lightgbm"])
def test_boosters_in_two_tasks_are_the_same_every_time(
    spark: Any, prepared: dict[str, Prepared], name: str
) -> None:
    found = prepared["accidents"]
    train = partial(fit_on_spark, spark, f"spark_{name}", found.recipe(name, **FEW), found.rows, 5)
    first, second = train(), train()
    assert digest(found, first.estimator) == digest(found, second.estimator)
    job = found.job(name, **FEW)
    here = fit(name, job.recipe, job.parts["train"], job.parts["stop"], 5)
    losses = [one.history["stop_log_loss"][-1] for one in (first, here)]
    assert losses[0] == pytest.approx(losses[1], abs=0.03)


@pytest.mark.parametrize("problem", ["accidents", "california_housing"])
def test_a_forest_of_spark_and_its_conversion_predict_alike(
    spark: Any,
    prepared: dict[str, Prepared],
    problem: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    found = prepared[problem]
    own = check_conversion(spark, found, FOREST, monkeypatch).estimator
    whole = pipeline_of(found.encoder, own)
    model = Model(whole, found.schema, None, "a forest", type="spark_random_forest")
    pipeline = spark_pipeline(spark, model, tmp_path / "a forest")
    check_predictions(spark, model, pipeline)
    stop = found.rows.read_stop().features
    assert stop.isna().any(axis=None) or problem != "accidents"
    column, ask = "prediction", own.predict
    if found.schema.task != "regression":
        column, ask = "probability", own.predict_proba
    rows = pipeline.transform(spark.read.parquet(str(found.layout.matrix("stop"))))
    theirs = np.array([row[0] for row in rows.select(column).collect()])
    np.testing.assert_allclose(theirs, ask(stop), rtol=0, atol=1e-9)


def test_models_without_a_form_of_spark_ml_are_refused(
    spark: Any, prepared: dict[str, Prepared], tmp_path: Path
) -> None:
    found = prepared["accidents"]
    for name, params, told in (
        ("logistic_regression", {}, "is no forest"),
        ("random_forest", {"n_estimators": 2}, "decide on missing values themselves"),
    ):
        job = found.job(name, **params)
        fitted = fit(name, job.recipe, job.parts["train"], job.parts["stop"]).estimator
        model = Model(pipeline_of(found.encoder, fitted), found.schema, None, name, type=name)
        with pytest.raises(UsageError, match=rf"{told}.*; use `mlflow.pyfunc.spark_udf`"):
            spark_pipeline(spark, model, tmp_path / name)


def test_a_forest_with_a_monotone_column_is_refused(
    spark: Any, prepared: dict[str, Prepared]
) -> None:
    found = prepared["credit_risk"]
    recipe = found.recipe("random_forest")
    recipe = type(recipe)(recipe.task, recipe.columns, FOREST, recipe.seed)
    with pytest.raises(ConfigError, match=r"knows no monotone columns \(credit_score\); leave it"):
        fit_on_spark(spark, "spark_random_forest", recipe, found.rows)


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"max_depth": None}, "max_depth is a number, at most 30"),
        ({"max_depth": 31}, "max_depth is a number, at most 30"),
        ({"min_samples_leaf": 0.01}, "min_samples_leaf is a number of rows"),
        ({"max_samples": 500}, r"max_samples is a share above 0, at most 1\.0"),
        ({"class_weight": "balanced_subsample"}, "class_weight is balanced, or a weight by class"),
    ],
)
def test_values_that_only_scikit_learn_s_forest_takes_are_refused(
    params: dict[str, Any], told: str
) -> None:
    with pytest.raises(ConfigError, match=f"spark_random_forest: on Spark, {told}"):
        model_type("spark_random_forest").check_params("binary", params)


@pytest.mark.usefixtures("spark")
def test_a_forest_of_all_columns_is_one_there_too() -> None:
    recipe = Recipe("binary", Columns({}), {"max_features": None})
    assert forest._estimator(recipe).getFeatureSubsetStrategy() == "all"
