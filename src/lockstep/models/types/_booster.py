"""What xgboost and lightgbm share: the weight of the positive class, and drafts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lockstep.decision.score_scale import BALANCED, balance
from lockstep.models.model_type import ModelType, Recipe

if TYPE_CHECKING:
    from numpy.typing import NDArray

WIDE = 256
"""From this many rows on, scoring uses all cores; for fewer, waking them takes longer."""


class Booster(ModelType):
    """Boosted trees of a library of their own, with native categories."""

    tasks = ("binary", "multiclass", "regression")
    rounds_key = "n_estimators"

    def positive_weight(self, params: Mapping[str, Any], balanced: float) -> float:
        """Return what ``scale_pos_weight: balanced``, the classes' weights or a number declare."""
        declared = params.get("scale_pos_weight")
        if declared == BALANCED:
            return balanced
        if params.get("class_weight"):
            return super().positive_weight(params, balanced)
        return float(declared or 1.0)

    def with_weight(self, recipe: Recipe, target: NDArray[Any]) -> Recipe:
        """Return the recipe with ``scale_pos_weight: balanced`` as its number for these rows."""
        if recipe.params.get("scale_pos_weight") != BALANCED:
            return recipe
        return replace(recipe, params={**recipe.params, "scale_pos_weight": balance(target)})

    def draft_params(self, task: str, rows: float) -> tuple[dict[str, Any], str]:
        """Return the draft's hyperparameters: larger steps for several classes."""
        params, remark = super().draft_params(task, rows)
        return ({**params, "learning_rate": 0.1} if task == "multiclass" else params), remark
