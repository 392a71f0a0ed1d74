"""Test AUC of two partitions on Spark and of one machine, on the sample of params.yaml.

Some minutes: `make check-spark-quality`. The tests of the suite compare small samples.
"""

from dataclasses import replace
from importlib import import_module
from typing import Any

import pytest
from sklearn.metrics import roc_auc_score
from tests.engines.prepared import Given, Prepared, prepare_given, same_cells, settings

from lockstep.engines.fitting import fit_on_spark
from lockstep.models.training import fit, scores
from lockstep.problems.schema import load_schema

pytestmark = pytest.mark.timeout(900)
PROBLEM = "accidents"
TOLERANCES = {"logistic_regression": 0.0005, "xgboost": 0.001, "lightgbm": 0.001}
FOREST = {"n_estimators": 50, "min_samples_leaf": 5, "max_features": 0.2, "max_depth": 12}
"""Hyperparameters that both libraries have."""
FOREST_TOLERANCE = 0.005
"""spark.ml draws other bootstrap samples and looks at 64 bins a column."""


@pytest.fixture(scope="module")
def found(spark: Any, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """The whole sample, prepared both ways."""
    root, section = tmp_path_factory.mktemp("accidents"), settings(PROBLEM)
    given = Given(load_schema(PROBLEM), section, root / "sample")
    sample = import_module(f"lockstep.problems.{PROBLEM}.sample")
    sample.write_sample(section.source.sample, given.raw)
    return prepare_given(spark, given, root, chunk_rows=20_000)


def aucs(
    spark: Any, found: Prepared, name: str, params: dict[str, Any] | None = None
) -> tuple[float, float]:
    """Return the test AUC of one machine and of Spark, with the training's own settings."""
    job = found.job(name)
    recipe, rounds = job.recipe, job.training.early_stopping_rounds
    recipe = replace(recipe, params=recipe.params if params is None else params)
    here = fit(name, recipe, job.parts["train"], job.parts["stop"], rounds)
    there = fit_on_spark(spark, f"spark_{name}", recipe, found.rows, rounds)
    test = job.parts["test"]
    found_aucs = [
        float(roc_auc_score(test.target, scores(one.estimator, test.features, "binary")))
        for one in (here, there)
    ]
    print(f"{name}: {found_aucs[0]:.5f} on this machine, {found_aucs[1]:.5f} on Spark")
    return found_aucs[0], found_aucs[1]


def test_all_cells_are_the_same(found: Prepared) -> None:
    same_cells(found)
    assert len(found.table) > 40_000


@pytest.mark.parametrize("name", TOLERANCES)
def test_two_partitions_are_as_good_as_one_machine(spark: Any, found: Prepared, name: str) -> None:
    here, there = aucs(spark, found, name)
    assert there == pytest.approx(here, abs=TOLERANCES[name])


def test_a_forest_of_spark_is_as_good_as_scikit_learn_s(spark: Any, found: Prepared) -> None:
    here, there = aucs(spark, found, "random_forest", FOREST)
    assert there == pytest.approx(here, abs=FOREST_TOLERANCE)
