"""XGBoost, trained on Spark; the model is that of `xgboost.py`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from lockstep.models.matrices import Matrix
from lockstep.models.model_type import Fitted, ModelType, OnStep, Recipe
from lockstep.models.types import xgboost
from lockstep.models.types._spark import BoosterOnSpark


class Type(BoosterOnSpark, xgboost.Type):
    """What `xgboost.py` declares, under a name of its own in the registry."""

    place = 14
    registered_part = "Spark_XGBoost"
    short_name = "spark_xgb"
    network = "collective"

    def of_classes(self, weights: Sequence[float]) -> ModelType:
        """Return the type that knows how many classes there are."""
        return _OfClasses(len(weights))


class _OfClasses(xgboost.Type):
    """A classifier with the fit of its base class, which leaves the target as it is."""

    def __init__(self, count: int) -> None:
        self.count = count

    def build(self, recipe: Recipe) -> Any:
        from xgboost import XGBModel

        model = super().build(recipe)
        model.n_classes_ = self.count
        if self.count > 2:
            model.set_params(objective="multi:softprob", num_class=self.count)
        model.fit = partial(XGBModel.fit, model)
        return model

    def fit(
        self, recipe: Recipe, train: Matrix, stop: Matrix, rounds: int, on_step: OnStep
    ) -> Fitted:
        fitted = super().fit(recipe, train, stop, rounds, on_step)
        for name in ("fit", "kwargs"):  # kwargs hold num_class, which the classifier itself derives
            fitted.estimator.__dict__.pop(name, None)
        return fitted
