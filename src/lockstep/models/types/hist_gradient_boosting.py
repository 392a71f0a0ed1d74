"""scikit-learn's histogram-based gradient boosting.

Codes are numbers to it, as they are to a forest: its native categories would put a function into
the artifact, and SHAP can't split their margins.
"""

from __future__ import annotations

from collections.abc import Set
from typing import TYPE_CHECKING, Any

from lockstep.models.matrices import Matrix
from lockstep.models.model_type import (
    Draft,
    FastScorer,
    Fitted,
    Floats,
    ModelType,
    OnStep,
    Recipe,
    constructor_names,
    history,
)

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

SOURCE = "ensemble/_hist_gradient_boosting/gradient_boosting.py"
FIXED = frozenset(
    """
    categorical_features early_stopping loss n_iter_no_change quantile scoring tol
    validation_fraction verbose warm_start
    """.split()  # noqa: SIM905
)
"""Arguments of the constructors that a training sets, or that would change what a margin is."""


class Type(ModelType):
    """Histogram boosting that ends by the loss on the early stopping part."""

    place = 7
    tasks = ("binary", "multiclass", "regression")
    registered_part = "Hist_Gradient_Boosting"
    short_name = "hgb"
    estimators = (
        "sklearn.ensemble._hist_gradient_boosting.gradient_boosting.HistGradientBoostingClassifier",
        "sklearn.ensemble._hist_gradient_boosting.gradient_boosting.HistGradientBoostingRegressor",
    )
    rounds_key = "max_iter"
    classes = ("sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",)
    draft = Draft(
        params={
            "max_iter": 1000,
            "learning_rate": 0.06,
            "max_leaf_nodes": 15,
            "min_samples_leaf": 20,
            "max_features": 0.5,
            "l2_regularization": 10.0,
        },
        space={
            "learning_rate": {"low": 0.02, "high": 0.2, "log": True},
            "max_leaf_nodes": {"low": 7, "high": 63, "log": True},
            "min_samples_leaf": {"low": 10, "high": 200, "log": True},
            "max_features": {"low": 0.2, "high": 0.9},
            "l2_regularization": {"low": 1.0, "high": 100.0, "log": True},
        },
        trials=12,
        early_stopping_rounds=30,
        included=False,
    )

    def known(self, task: str) -> Set[str]:
        """Return the constructor's names without those that a training sets."""
        return constructor_names("sklearn", SOURCE, self.estimator_name(task)) - FIXED

    def build(self, recipe: Recipe) -> Any:
        """Return the estimator, with the schema's directions."""
        from sklearn import ensemble

        ways = recipe.columns.directions
        return getattr(ensemble, self.estimator_name(recipe.task))(
            categorical_features=None,
            monotonic_cst=ways if any(ways) else None,
            early_stopping=False,
            random_state=recipe.seed,
            **recipe.params,
        )

    def fit(
        self, recipe: Recipe, train: Matrix, stop: Matrix, rounds: int, on_step: OnStep
    ) -> Fitted:
        """Boost until the loss on ``stop`` has not fallen for ``rounds`` iterations.

        scikit-learn keeps the trees after the best iteration, so the best ones are fitted again.
        """
        model = self.build(recipe)
        total = model.max_iter
        on_step(0, total, None)
        model.set_params(early_stopping=True, scoring="loss", n_iter_no_change=rounds or total)
        model.fit(train.features, train.target, X_val=stop.features, y_val=stop.target)
        curves = [
            _losses(scores[1:], recipe.task)
            for scores in (model.train_score_, model.validation_score_)
        ]
        best = curves[1].index(min(curves[1])) + 1 if rounds else None
        model.set_params(early_stopping=False, scoring="loss", n_iter_no_change=10)
        if best:
            model.set_params(max_iter=best).fit(train.features, train.target)
        model._bin_mapper.set_params(n_threads=None)
        on_step(total, total, min(curves[1]) if best else curves[1][-1])
        return Fitted(model, best, history(curves[0], curves[1], recipe.task))

    def importance(self, estimator: Any, features: pd.DataFrame) -> dict[str, float]:
        """Return the mean absolute contribution to the margin: scikit-learn stores no gains."""
        from lockstep.models.tree_explainer import tree_explainer

        _, parts = tree_explainer(estimator)(features.to_numpy())
        means = abs(parts).mean(axis=(0, 1)).tolist()
        return {str(name): mean for name, mean in zip(features, means, strict=True)}

    def scorer(self, estimator: Any, task: str) -> FastScorer:
        """Return the estimator's own methods, over a table with its column names."""
        import pandas as pd

        from lockstep.models.tree_explainer import tree_explainer

        names = estimator.feature_names_in_

        def table(encoded: Floats) -> pd.DataFrame:
            return pd.DataFrame(encoded, columns=names)

        def values(encoded: Floats) -> NDArray[Any]:
            return estimator.predict(table(encoded))

        def chances(encoded: Floats) -> NDArray[Any]:
            found = estimator.predict_proba(table(encoded))
            return found[:, 1] if task == "binary" else found

        def margins(encoded: Floats) -> NDArray[Any]:
            return estimator.decision_function(table(encoded))

        if task == "regression":
            return FastScorer(values, values, values, lambda: tree_explainer(estimator))
        return FastScorer(chances, margins, margins, lambda: tree_explainer(estimator))


def _losses(scores: NDArray[Any], task: str) -> list[float]:
    """Return log losses or RMSE of scikit-learn's scores: minus log losses or half squares."""
    return [(-2 * score) ** 0.5 if task == "regression" else -score for score in scores.tolist()]
