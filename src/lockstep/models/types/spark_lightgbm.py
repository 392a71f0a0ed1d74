"""LightGBM, trained on Spark; the model is that of `lightgbm.py`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lockstep.models.matrices import Matrix
from lockstep.models.model_type import Fitted, ModelType, OnStep, Recipe
from lockstep.models.types import lightgbm
from lockstep.models.types._spark import BoosterOnSpark


class Type(BoosterOnSpark, lightgbm.Type):
    """What `lightgbm.py` declares, under a name of its own in the registry."""

    place = 15
    registered_part = "Spark_LightGBM"
    short_name = "spark_lgb"
    network = "sockets"

    def of_classes(self, weights: Sequence[float]) -> ModelType:
        """Return the type that knows the classes and their weights."""
        return _OfClasses(weights)


class _OfClasses(lightgbm.Type):
    """A classifier with the fit of its base class, which leaves the target as it is."""

    def __init__(self, weights: Sequence[float]) -> None:
        self.weights = weights

    def build(self, recipe: Recipe) -> Any:
        import numpy as np
        from lightgbm import LGBMModel
        from lightgbm.sklearn import _LGBMLabelEncoder

        model, count = super().build(recipe), len(self.weights)
        # The matrices' own types of numbers, so that the estimator is that of one machine.
        places = np.arange(count, dtype=np.int8 if count < 128 else np.int16)
        model._le = _LGBMLabelEncoder().fit(places)
        classes = model._classes = model._le.classes_
        model._n_classes = count
        model._class_map = dict(zip(classes, model._le.transform(classes), strict=True))
        if model.class_weight is not None:
            model._class_weight = dict(enumerate(self.weights))

        def fit(features: Any, target: Any, **options: Any) -> None:
            # As the classifier's own fit does: the loss of the same array would have the weights.
            LGBMModel.fit(model, features, target.copy(), **options)

        model.fit = fit
        return model

    def fit(
        self, recipe: Recipe, train: Matrix, stop: Matrix, rounds: int, on_step: OnStep
    ) -> Fitted:
        fitted = super().fit(recipe, train, stop, rounds, on_step)
        del fitted.estimator.fit
        fitted.estimator._class_weight = fitted.estimator.class_weight
        return fitted
