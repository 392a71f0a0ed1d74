"""All four types on a real cluster of two workers: the same models as on this machine's cores."""

import threading
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.engines.cluster import wait_for
from tests.engines.prepared import Prepared, prepare

from lockstep.engines.executors import executors
from lockstep.engines.fitting import fit_on_spark
from lockstep.engines.session import spark_session
from lockstep.models.artifact import model_digest
from lockstep.models.training import pipeline_of

SETTINGS: dict[str, dict[str, Any]] = {
    "logistic_regression": {},
    "random_forest": {"n_estimators": 4, "max_depth": 5},
    "xgboost": {"n_estimators": 8},
    "lightgbm": {"n_estimators": 8},
}

TREES = {"xgboost": 400, "lightgbm": 8000}
"""Enough for a fit of some seconds, in which something can happen."""


def digests(spark: Any, found: Prepared) -> dict[str, str]:
    """Return the digest of each type, fitted in this session."""
    made = {}
    for name, params in SETTINGS.items():
        recipe = found.recipe(name, **params)
        if name == "random_forest":
            recipe = type(recipe)(recipe.task, recipe.columns, params, recipe.seed)
        fitted = fit_on_spark(spark, f"spark_{name}", recipe, found.rows, 3)
        made[name] = model_digest(pipeline_of(found.encoder, fitted.estimator))
    return made


def test_every_type_has_the_same_digest_on_a_cluster_and_on_two_cores(
    whole_cluster: Any, tmp_path: Path
) -> None:
    with spark_session("local[2]", slots=2) as spark:
        found = prepare(spark, "accidents", tmp_path)
        here = digests(spark, found)
    with spark_session(whole_cluster.url, slots=2) as spark:
        assert spark.sparkContext.master == whole_cluster.url
        assert digests(spark, found) == here


@pytest.mark.parametrize("name", ["xgboost", "lightgbm"])
def test_an_executor_killed_amid_a_fit_costs_a_second_fit_with_the_same_digest(
    whole_cluster: Any, tmp_path: Path, name: str
) -> None:
    with spark_session(whole_cluster.url, slots=2) as spark:
        found = prepare(spark, "california_housing", tmp_path)
        recipe = found.recipe(name, n_estimators=TREES[name])
        fit = partial(fit_on_spark, spark, f"spark_{name}", recipe, found.rows)
        undisturbed, before = fit().estimator, {one.place for one in executors(spark)}
        killer = threading.Thread(target=kill_at_work, args=(spark, whole_cluster))
        killer.start()
        disturbed = fit().estimator
        killer.join()
        assert before - {one.place for one in executors(spark)}, "no executor was lost"
    assert model_digest(pipeline_of(found.encoder, disturbed)) == model_digest(
        pipeline_of(found.encoder, undisturbed)
    )


def kill_at_work(spark: Any, cluster: Any) -> None:
    """Kill an executor as soon as two tasks run."""
    status = spark.sparkContext.statusTracker()

    def two_run() -> bool:
        stages = [status.getStageInfo(stage) for stage in status.getActiveStageIds()]
        return any(stage and stage.numActiveTasks == 2 for stage in stages)

    wait_for(two_run, "the start of the tasks")
    worker = psutil.Process(cluster.workers[0].pid)
    for process in worker.children():
        process.kill()
