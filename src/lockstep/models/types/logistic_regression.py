"""scikit-learn's logistic regression."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

from lockstep.models.model_type import Draft, Recipe, validated
from lockstep.models.types._linear import VIEW_DEFAULTS, Linear, without_view


class Type(Linear):
    """Log-odds, or for several classes logits, as a sum over the view."""

    place = 1
    tasks = ("binary", "multiclass")
    registered_part = "Logistic_Regression"
    short_name = "lr"
    estimators = ("sklearn.linear_model._logistic.LogisticRegression",)
    draft = Draft(
        params={"C": 0.1, **VIEW_DEFAULTS},
        space={"C": {"low": 0.001, "high": 10.0, "log": True}, "bins": {"low": 6, "high": 32}},
        trials=8,
    )

    def known(self, task: str) -> Set[str]:
        """Return the hyperparameters that leave the solver exact, and the view's."""
        return {"C", "class_weight", *VIEW_DEFAULTS}

    def build(self, recipe: Recipe) -> Any:
        """Return the estimator with a solver that converges to the optimum."""
        from sklearn.linear_model import LogisticRegression

        # For several classes the exact Hessian has (classes x columns) squared entries, which
        # newton-cg never stores.
        solver = "newton-cg" if recipe.task == "multiclass" else "newton-cholesky"
        fixed = {"solver": solver, "tol": 1e-10, "max_iter": 200}
        return validated(LogisticRegression(**fixed, **without_view(recipe.params)))
