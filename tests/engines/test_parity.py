"""What Spark prepares and fits is what one machine does: cells, encoders and models."""

import io
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.engines.prepared import SAMPLES, Prepared, prepare

from lockstep.config.layout import PARTS
from lockstep.engines.fitting import fit_on_spark
from lockstep.engines.spark_ml import check_predictions, spark_pipeline
from lockstep.errors import ConfigError, UsageError
from lockstep.io import read_parquet
from lockstep.joblib_files import write_joblib
from lockstep.models.artifact import model_digest
from lockstep.models.scoring.prediction import Model
from lockstep.models.training import fit, pipeline_of

FOREST_TYPE = "spark_random_forest"
FEW = {"n_estimators": 12}
FOREST = {"n_estimators": 6, "max_depth": 6, "min_samples_leaf": 5, "max_features": 0.3}


@pytest.fixture(scope="module")
def prepared(spark: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Prepared]:
    """Every problem, prepared both ways."""
    return {
        name: prepare(spark, name, tmp_path_factory.mktemp(f"data of {name}")) for name in SAMPLES
    }


def digest(found: Prepared, estimator: Any) -> str:
    return model_digest(pipeline_of(found.encoder, estimator))


@pytest.mark.parametrize("problem", SAMPLES)
def test_rows_cells_and_encoder_are_the_same(prepared: dict[str, Prepared], problem: str) -> None:
    found = prepared[problem]
    pd.testing.assert_frame_equal(read_parquet(found.layout.tidy), found.table, check_exact=True)
    assert found.spark_quality == found.quality
    for part in PARTS:
        there = read_parquet(found.layout.matrix(part)).sort_values("__row__", ignore_index=True)
        pd.testing.assert_frame_equal(there, found.matrices[part], check_exact=True)
    streams = [io.BytesIO(), io.BytesIO()]
    for stream, encoder in zip(streams, (found.encoder, found.spark_encoder), strict=True):
        write_joblib(stream, encoder)
    assert streams[0].getvalue() == streams[1].getvalue()


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
    from lockstep.engines import forest

    found, models = prepared[problem], []
    build = forest._estimator

    def kept(recipe: Any) -> Any:
        estimator = build(recipe)
        monkeypatch.setattr(
            estimator,
            "fit",
            lambda table: models.append((e := type(estimator).fit(estimator, table), table)) or e,
        )
        return estimator

    monkeypatch.setattr(forest, "_estimator", kept)
    recipe = found.recipe("random_forest")
    recipe = type(recipe)(recipe.task, recipe.columns, FOREST, recipe.seed)
    fits = [fit_on_spark(spark, "spark_random_forest", recipe, found.rows) for _ in range(2)]
    assert digest(found, fits[0].estimator) == digest(found, fits[1].estimator)
    model, table = models[0]
    column = "prediction" if recipe.task == "regression" else "probability"
    theirs = np.array([row[0] for row in model.transform(table).select(column).collect()])
    features = pd.concat([found.rows.read_partition(number).features for number in range(2)])
    ask = (
        fits[0].estimator.predict
        if recipe.task == "regression"
        else fits[0].estimator.predict_proba
    )
    np.testing.assert_allclose(ask(features), theirs, rtol=0, atol=1e-9)
    assert len(next(iter(fits[0].history.values()))) == FOREST["n_estimators"]

    model = Model(
        pipeline_of(found.encoder, fits[0].estimator),
        found.schema,
        None,
        "a forest",
        type=FOREST_TYPE,
    )
    pipeline = spark_pipeline(spark, model, tmp_path / "a forest")
    check_predictions(spark, model, pipeline)
    stop = found.rows.read_stop().features
    rows = spark.read.parquet(str(found.layout.matrix("stop")))
    own = np.array([row[0] for row in pipeline.transform(rows).select(column).collect()])
    assert stop.isna().any(axis=None) or problem != "accidents"
    asked = fits[0].estimator
    ours = asked.predict(stop) if recipe.task == "regression" else asked.predict_proba(stop)
    np.testing.assert_allclose(own, ours, rtol=0, atol=1e-9)


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
