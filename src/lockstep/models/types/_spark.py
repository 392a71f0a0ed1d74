"""What the types that are trained on Spark share: the room `engines` fits them, not their files."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from lockstep.errors import ConfigError
from lockstep.models.matrices import Matrix
from lockstep.models.model_type import Fitted, ModelType, OnStep, Recipe


class OnSpark(ModelType):
    """A type whose training is a stage of spark/dvc.yaml."""

    engine = "spark"

    def fit(
        self, recipe: Recipe, train: Matrix, stop: Matrix, rounds: int, on_step: OnStep
    ) -> Fitted:
        """Refuse: one machine's training is that of the type without ``spark_``."""
        raise ConfigError(
            f"{self.name} is trained on Spark; use {self.name.removeprefix('spark_')} here, or "
            "`python src/models/train_spark.py`"
        )

    def first_params(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return the hyperparameters to begin with, from those of one machine's training."""
        return dict(params)


class BoosterOnSpark(OnSpark):
    """A type that several tasks fit together, each on its own part of the training rows."""

    @abstractmethod
    def of_classes(self, weights: Sequence[float]) -> ModelType:
        """Return one machine's type for rows that may lack a class; ``weights`` are by class.

        The libraries take the classes that occur for all there are, so their tasks would disagree.
        """
