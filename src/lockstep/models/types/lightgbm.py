"""LightGBM, by its scikit-learn classes."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Set
from typing import TYPE_CHECKING, Any, ClassVar

from lockstep.models.matrices import Matrix
from lockstep.models.model_type import (
    Draft,
    FastScorer,
    Fitted,
    Floats,
    Native,
    OnStep,
    Parts,
    Recipe,
    class_path,
    constructor_names,
    history,
)
from lockstep.models.types._booster import Booster

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

MORE = frozenset(
    """
    bagging_fraction bagging_freq boosting cat_l2 cat_smooth extra_trees feature_fraction
    feature_fraction_bynode is_unbalance lambda_l1 lambda_l2 linear_lambda max_bin max_cat_threshold
    max_cat_to_onehot max_delta_step min_data_in_bin min_data_in_leaf min_data_per_group
    min_gain_to_split min_sum_hessian_in_leaf path_smooth scale_pos_weight
    """.split()  # noqa: SIM905
)
"""Hyperparameters beyond the signature of the scikit-learn class."""
WATCHED = ["training", "stop"]
"""The parts whose losses are watched; early stopping leaves out the first one by this name."""


class Type(Booster):
    """Leaf-wise histogram boosting with native categories."""

    place = 5
    registered_part = "LightGBM"
    short_name = "lgb"
    estimators = ("lightgbm.sklearn.LGBMClassifier", "lightgbm.sklearn.LGBMRegressor")
    classes = ("collections.OrderedDict", "lightgbm.basic.Booster")
    distributions: ClassVar[Mapping[str, str]] = {"lightgbm": ""}
    objectives: ClassVar[Mapping[str, frozenset[str]]] = {
        "binary": frozenset({"binary"}),
        "multiclass": frozenset({"multiclass", "softmax"}),
        "regression": frozenset(
            {"fair", "huber", "l1", "l2", "mae", "mape", "mse", "quantile", "regression",
             "regression_l1", "regression_l2", "rmse"}
        ),
    }  # fmt: skip
    draft = Draft(
        params={
            "n_estimators": 1000,
            "learning_rate": 0.06,
            "num_leaves": 15,
            "min_child_samples": 20,
            "subsample": 0.8,
            "subsample_freq": 1,
            "colsample_bytree": 0.5,
            "reg_lambda": 10.0,
            "cat_smooth": 40,
            "cat_l2": 20,
            "max_cat_to_onehot": 12,
        },
        space={
            "learning_rate": {"low": 0.02, "high": 0.2, "log": True},
            "num_leaves": {"low": 7, "high": 63, "log": True},
            "min_child_samples": {"low": 10, "high": 200, "log": True},
            "colsample_bytree": {"low": 0.2, "high": 0.9},
            "reg_lambda": {"low": 1.0, "high": 100.0, "log": True},
        },
        trials=12,
        early_stopping_rounds=30,
    )

    def known(self, task: str) -> Set[str]:
        """Return the constructor's names and the library's further ones."""
        return constructor_names("lightgbm", "sklearn.py", "LGBMClassifier") | MORE

    def build(self, recipe: Recipe) -> Any:
        """Return the estimator, with the schema's directions; it gives the same bits every time."""
        from lightgbm import LGBMClassifier, LGBMRegressor

        kind = LGBMRegressor if recipe.task == "regression" else LGBMClassifier
        ways = recipe.columns.directions
        constraints: dict[str, Any] = {"monotone_constraints": ways} if any(ways) else {}
        return kind(
            deterministic=True,
            force_row_wise=True,
            verbose=-1,
            random_state=recipe.seed,
            n_jobs=recipe.n_jobs,
            **constraints,
            **recipe.params,
        )

    def fit(
        self, recipe: Recipe, train: Matrix, stop: Matrix, rounds: int, on_step: OnStep
    ) -> Fitted:
        """Boost until the loss on ``stop`` has not fallen for ``rounds`` iterations."""
        from lightgbm import early_stopping

        model = self.build(self.with_weight(recipe, train.target))
        losses = {"binary": "binary_logloss", "multiclass": "multi_logloss", "regression": "rmse"}
        metric, total = losses[recipe.task], model.n_estimators

        def progress(env: Any) -> None:
            by_part = {name: value for name, _, value, *_ in env.evaluation_result_list}
            on_step(env.iteration + 1, total, float(by_part["stop"]))

        with warnings.catch_warnings():
            # The learning curve needs the training part; LightGBM then warns of a duplicate.
            warnings.filterwarnings("ignore", message="Found .* in params")
            model.fit(
                train.features,
                train.target,
                eval_X=(train.features, stop.features),
                eval_y=(train.target, stop.target),
                eval_names=WATCHED,
                eval_metric=metric,
                categorical_feature=recipe.columns.categorical,
                callbacks=[progress, *([early_stopping(rounds, verbose=False)] if rounds else [])],
            )
        curves = [model.evals_result_[part][metric] for part in WATCHED]
        best = int(model.best_iteration_) if rounds else None
        _keep_trees_only(model, best)
        return Fitted(model, best, history(curves[0], curves[1], recipe.task))

    def refusals(self, recipe: Recipe) -> tuple[type[Exception], ...]:
        """Return the errors by which its library refuses the value of a hyperparameter."""
        from lightgbm.basic import LightGBMError

        return (*super().refusals(recipe), LightGBMError)

    def importance(self, estimator: Any, features: pd.DataFrame) -> dict[str, float]:
        """Return each column's total gain."""
        gains = estimator.booster_.feature_importance("gain")
        return {str(name): float(gain) for name, gain in zip(features, gains, strict=True)}

    def scorer(self, estimator: Any, task: str) -> FastScorer:
        """Return the booster's predictions on one thread."""
        booster = estimator.booster_
        width = booster.num_feature() + 1
        # Boosted as a forest, trees are averaged, but margins and contributions come as sums.
        is_mean = "\naverage_output\n" in booster.model_to_string(num_iteration=1)
        trees = booster.current_iteration() if is_mean else 1

        def outputs(encoded: Floats) -> NDArray[Any]:
            return booster.predict(encoded, num_threads=1)

        def raw(encoded: Floats) -> NDArray[Any]:
            return booster.predict(encoded, raw_score=True, num_threads=1)

        def margins(encoded: Floats) -> NDArray[Any]:
            return raw(encoded) / trees

        def parts(encoded: Floats) -> Parts:
            found = booster.predict(encoded, pred_contrib=True, num_threads=1)
            by_class = found.reshape(len(encoded), -1, width) / trees
            return by_class[0, :, -1], by_class[:, :, :-1]

        # Since 4.7 classifiers have a decision function, which scikit-learn prefers to calibrate.
        responses = raw if hasattr(estimator, "decision_function") else outputs
        return FastScorer(outputs, responses, margins, lambda: parts)

    def native(self, estimator: Any) -> Native:
        """Return the estimator as skops; LightGBM's text would come back without its class."""
        import lightgbm

        from lockstep.models.artifact import allowed_types, canonical_bytes

        options = {
            "lgb_version": lightgbm.__version__,
            "serialization_format": "skops",
            "skops_trusted_types": list(allowed_types()),
        }
        content = canonical_bytes(estimator)
        return Native("lightgbm", "lightgbm.skops", content, class_path(estimator), options)

    def positive_weight(self, params: Mapping[str, Any], balanced: float) -> float:
        """Return what the hyperparameters of a booster and ``is_unbalance`` declare."""
        own = balanced if params.get("is_unbalance") else 1.0
        return own * super().positive_weight(params, balanced)


def _keep_trees_only(model: Any, best: int | None) -> None:
    """Remove trees after the best iteration, thread count and history."""
    trees = model.booster_
    text = trees.model_to_string(num_iteration=best or -1)
    text = re.sub(r"\[num_threads: \d+\]", "[num_threads: 0]", text)
    model._Booster = type(trees)(model_str=text)
    model._evals_result, model._best_score = None, {}
    model.set_params(n_jobs=None)
