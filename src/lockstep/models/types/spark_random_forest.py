"""spark.ml's random forest; the model is scikit-learn's, with the same trees."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

from lockstep.errors import ConfigError
from lockstep.models.model_type import Recipe
from lockstep.models.types import random_forest
from lockstep.models.types._spark import OnSpark

KNOWN = frozenset(
    """
    n_estimators max_depth min_samples_leaf max_features max_samples max_bins class_weight
    """.split()  # noqa: SIM905
)
"""scikit-learn's names of what spark.ml's forest has too, and its own ``max_bins``."""
DEEPEST = 30
"""The deepest trees that spark.ml grows."""


class Type(OnSpark, random_forest.Type):
    """Trees with a limited depth, over bins of each column."""

    place = 13
    registered_part = "Spark_Random_Forest"
    short_name = "spark_rf"

    def known(self, task: str) -> Set[str]:
        """Return the hyperparameters that spark.ml has."""
        return KNOWN

    def check_params(self, task: str, params: Mapping[str, Any]) -> None:
        """Raise ConfigError for an unknown hyperparameter or too deep trees."""
        super().check_params(task, params)
        if params.get("max_depth", 0) > DEEPEST:
            raise ConfigError(f"params.yaml: {self.name}: max_depth is at most {DEEPEST} on Spark")

    def check_columns(self, recipe: Recipe) -> None:
        """Raise ConfigError for monotone columns, which spark.ml's trees don't know."""
        if recipe.columns.monotone:
            names = ", ".join(recipe.columns.monotone)
            raise ConfigError(
                f"a random forest on Spark knows no monotone columns ({names}); leave it out of "
                "train_spark, or train random_forest with scikit-learn"
            )

    def first_params(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return the hyperparameters to begin with: a depth in place of a number of leaves."""
        kept = {key: value for key, value in params.items() if key in KNOWN}
        return {**kept, "max_depth": 12, "max_bins": 64}
