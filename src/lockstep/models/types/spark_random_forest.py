"""spark.ml's random forest; the model is scikit-learn's, with the same trees."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
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
VALUES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "max_depth": (lambda v: _is_whole(v) and v <= DEEPEST, f"a number, at most {DEEPEST}"),
    "min_samples_leaf": (lambda v: _is_whole(v), "a number of rows"),
    "max_samples": (lambda v: isinstance(v, float) and 0 < v <= 1, "a share above 0, at most 1.0"),
    "class_weight": (lambda v: v != "balanced_subsample", "balanced, or a weight by class"),
}
"""Where spark.ml takes fewer values than scikit-learn: which, and how an error names them."""


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and value > 0


class Type(OnSpark, random_forest.Type):
    """Trees with a limited depth, over bins of each column."""

    place = 13
    registered_part = "Spark_Random_Forest"
    short_name = "spark_rf"

    def known(self, task: str) -> Set[str]:
        """Return the hyperparameters that spark.ml has."""
        return KNOWN

    def check_params(self, task: str, params: Mapping[str, Any]) -> None:
        """Raise ConfigError for an unknown hyperparameter, or a value that spark.ml lacks."""
        super().check_params(task, params)
        for key, (is_known, known) in VALUES.items():
            if key in params and not is_known(params[key]):
                raise ConfigError(f"params.yaml: {self.name}: on Spark, {key} is {known}")

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
