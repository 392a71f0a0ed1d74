"""What forests share, whatever splits their trees draw."""

from __future__ import annotations

from collections.abc import Set
from typing import TYPE_CHECKING, Any

from lockstep.models.matrices import Matrix
from lockstep.models.model_type import (
    FastScorer,
    Fitted,
    ModelType,
    OnStep,
    Recipe,
    constructor_names,
    validated,
)

if TYPE_CHECKING:
    import pandas as pd

IMPUTER_CLASSES = (
    "sklearn.impute._base.MissingIndicator",
    "sklearn.impute._base.SimpleImputer",
)
TREE_ROWS = 200_000
"""Rows that a tree sees at most in a draft: more make it slower and hardly better."""


class Forest(ModelType):
    """A forest of scikit-learn's trees."""

    tasks = ("binary", "multiclass", "regression")

    def known(self, task: str) -> Set[str]:
        """Return the constructor's names without those that a training sets."""
        names = constructor_names("sklearn", "ensemble/_forest.py", self.estimator_name(task))
        return names - {"warm_start", "verbose", "oob_score"}

    def build(self, recipe: Recipe) -> Any:
        """Return the forest, with the schema's directions if there are any."""
        from sklearn import ensemble

        kind = getattr(ensemble, self.estimator_name(recipe.task))
        ways = recipe.columns.directions if any(recipe.columns.directions) else None
        settings = {"random_state": recipe.seed, "n_jobs": recipe.n_jobs, "monotonic_cst": ways}
        return validated(kind(**settings, **recipe.params))

    def fit(
        self, recipe: Recipe, train: Matrix, stop: Matrix, rounds: int, on_step: OnStep
    ) -> Fitted:
        """Grow the forest; ``stop`` gives its learning curve only."""
        from lockstep.models.forests import fit_forest, fit_imputed_forest

        grow = fit_imputed_forest if recipe.columns.monotone else fit_forest
        return grow(self.build(recipe), recipe.task, train, stop, on_step)

    def refusals(self, recipe: Recipe) -> tuple[type[Exception], ...]:
        """Return the errors by which scikit-learn refuses values, also two that don't go together.

        For the latter it has ValueError alone.
        """
        return (*super().refusals(recipe), ValueError)

    def importance(self, estimator: Any, features: pd.DataFrame) -> dict[str, float]:
        """Return the impurity that each column takes out."""
        from lockstep.models.forests import importance

        return importance(estimator, [str(name) for name in features])

    def scorer(self, estimator: Any, task: str) -> FastScorer:
        """Return the sum over trees, as scikit-learn takes it in one job."""
        from lockstep.models.forests import ForestScorer

        return ForestScorer(estimator, task).scorer

    def draft_params(self, task: str, rows: float) -> tuple[dict[str, Any], str]:
        """Return the draft's hyperparameters; of many rows a tree sees a part."""
        if rows <= TREE_ROWS:
            return super().draft_params(task, rows)
        share = float(f"{TREE_ROWS / rows:.2g}")
        return {**self.draft.params, "max_samples": share}, f"a tree sees {TREE_ROWS:,} rows"
