"""One fit on Spark, by the kind of model type."""

from __future__ import annotations

from pyspark.sql import SparkSession

from lockstep.engines.boosters import fit_booster
from lockstep.engines.forest import fit_forest
from lockstep.engines.linear import fit_linear_on_spark
from lockstep.engines.partitions import TrainingRows
from lockstep.engines.scratch import scratch_folder
from lockstep.models.model_type import Fitted, ModelType, Recipe
from lockstep.models.training import refusing
from lockstep.models.types import check_recipe, model_type
from lockstep.models.types._booster import Booster
from lockstep.models.types._linear import Linear


def fit_on_spark(
    spark: SparkSession, name: str, recipe: Recipe, rows: TrainingRows, rounds: int = 0
) -> Fitted:
    """Fit a type whose name begins with spark_; see ``ModelType.fit``."""
    kind = model_type(name)
    check_recipe(kind, recipe)
    with refusing(kind, recipe):
        return _fitted(spark, kind, recipe, rows, rounds)


def _fitted(
    spark: SparkSession, kind: ModelType, recipe: Recipe, rows: TrainingRows, rounds: int
) -> Fitted:
    if isinstance(kind, Booster):
        weighted = kind.with_weight(recipe, rows.target)
        return fit_booster(spark, kind.name, weighted, rows, rounds)
    if isinstance(kind, Linear):
        return fit_linear_on_spark(spark, kind, recipe, rows)
    # Executors write the model there, so it lies beside the rows that they read.
    with scratch_folder(rows.train.parent.parent, "forest") as folder:
        return fit_forest(spark, kind, recipe, rows, folder / "model")
