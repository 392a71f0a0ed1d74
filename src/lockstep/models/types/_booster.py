"""What xgboost and lightgbm share: the weight of the positive class, and drafts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from lockstep.decision.score_scale import BALANCED, balance
from lockstep.errors import ConfigError
from lockstep.models.model_type import ModelType, Recipe

if TYPE_CHECKING:
    from numpy.typing import NDArray

WIDE = 256
"""From this many rows on, scoring uses all cores; for fewer, waking them takes longer."""


class Booster(ModelType):
    """Boosted trees of a library of their own, with native categories.

    Weights of the positive class multiply, as the libraries multiply them.
    """

    objectives: ClassVar[Mapping[str, frozenset[str]]]
    """By task: what fits what scores and margins mean, as the margin of a regression its value."""
    tasks = ("binary", "multiclass", "regression")
    rounds_key = "n_estimators"

    def positive_weight(self, params: Mapping[str, Any], balanced: float) -> float:
        """Return what ``scale_pos_weight: balanced``, the classes' weights or a number declare."""
        declared = params.get("scale_pos_weight")
        own = balanced if declared == BALANCED else float(declared or 1.0)
        return own * super().positive_weight(params, balanced)

    def check_params(self, task: str, params: Mapping[str, Any]) -> None:
        """Raise ConfigError for an unknown hyperparameter, or a value that it can't have.

        Another objective would change what a score and a margin are.
        """
        super().check_params(task, params)
        wanted = params.get("objective")
        allowed = self.objectives[task]
        if wanted is not None and wanted not in allowed:
            known = f"give {' or '.join(sorted(allowed))}, or "
            raise ConfigError(
                f"params.yaml: {self.name}: objective {wanted!r} would change what scores and "
                f"contributions mean; {known}remove it"
            )

    def with_weight(self, recipe: Recipe, target: NDArray[Any]) -> Recipe:
        """Return the recipe with ``scale_pos_weight: balanced`` as its number for these rows."""
        if recipe.params.get("scale_pos_weight") != BALANCED:
            return recipe
        return replace(recipe, params={**recipe.params, "scale_pos_weight": balance(target)})

    def draft_params(self, task: str, rows: float) -> tuple[dict[str, Any], str]:
        """Return the draft's hyperparameters: larger steps for several classes."""
        params, remark = super().draft_params(task, rows)
        return ({**params, "learning_rate": 0.1} if task == "multiclass" else params), remark
