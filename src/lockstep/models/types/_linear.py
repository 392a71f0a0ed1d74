"""What linear models share: their view of the matrix, rounded figures, sparse products."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lockstep.models.matrices import Matrix
from lockstep.models.model_type import FastScorer, Fitted, ModelType, OnStep, Recipe

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

VIEW_DEFAULTS = {"bins": 16, "min_frequency": 10}
"""The view's own hyperparameters: steps of a numeric column, and a level's least number of rows."""


def without_view(params: dict[str, Any]) -> dict[str, Any]:
    """Return the estimator's own hyperparameters."""
    return {key: value for key, value in params.items() if key not in VIEW_DEFAULTS}


class Linear(ModelType):
    """A linear model over a sparse view of the encoded columns."""

    has_history = False
    classes = (
        "sklearn.compose._column_transformer.ColumnTransformer",
        "sklearn.impute._base.MissingIndicator",
        "sklearn.impute._base.SimpleImputer",
        "sklearn.preprocessing._data.StandardScaler",
        "sklearn.preprocessing._discretization.KBinsDiscretizer",
        "sklearn.preprocessing._encoders.OneHotEncoder",
    )

    def solve(self, estimator: Any, matrix: Any, target: NDArray[Any]) -> None:
        """Fit the estimator on the view's sparse matrix."""
        estimator.fit(matrix, target)

    def fit(
        self, recipe: Recipe, train: Matrix, stop: Matrix, rounds: int, on_step: OnStep
    ) -> Fitted:
        """Fit view and estimator."""
        from lockstep.models.linear import fit_linear

        on_step(0, 1, None)
        model = fit_linear(self, recipe, train.features, train.target)
        on_step(1, 1, None)
        return Fitted(model)

    def importance(self, estimator: Any, features: pd.DataFrame) -> dict[str, float]:
        """Return the spread of what each column adds to the margin."""
        from lockstep.models.linear import spreads

        return spreads(estimator, features)

    def scorer(self, estimator: Any, task: str) -> FastScorer:
        """Return the view and the product as one sparse product."""
        from lockstep.models.scoring.linear_scorer import LinearScorer

        return LinearScorer(estimator, task).scorer
