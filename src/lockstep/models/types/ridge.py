"""Ridge regression, solved from the sparse view."""

from __future__ import annotations

from collections.abc import Set
from typing import TYPE_CHECKING, Any

from lockstep.models.model_type import Draft, Recipe, validated
from lockstep.models.types._linear import VIEW_DEFAULTS, Linear, without_view

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Type(Linear):
    """A value as a sum over the view."""

    place = 2
    tasks = ("regression",)
    registered_part = "Ridge"
    short_name = "ridge"
    estimators = ("sklearn.linear_model._ridge.Ridge",)
    draft = Draft(
        params={"alpha": 1.0, **VIEW_DEFAULTS},
        space={"alpha": {"low": 0.01, "high": 100.0, "log": True}, "bins": {"low": 6, "high": 32}},
        trials=8,
    )

    def known(self, task: str) -> Set[str]:
        """Return the estimator's and the view's hyperparameters."""
        return {"alpha", *VIEW_DEFAULTS}

    def build(self, recipe: Recipe) -> Any:
        """Return the estimator; ``solve`` fits it."""
        from sklearn.linear_model import Ridge

        return validated(Ridge(solver="cholesky", **without_view(recipe.params)))

    def solve(self, estimator: Any, matrix: Any, target: NDArray[Any]) -> None:
        """Solve the normal equations, the same on every processor."""
        from lockstep.models.linear import fit_ridge

        fit_ridge(estimator, matrix, target)
