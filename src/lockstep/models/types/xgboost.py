"""XGBoost, by its scikit-learn classes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Set
from ctypes import POINTER, byref, c_float, c_uint64, c_void_p, string_at
from math import prod
from threading import local
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
from lockstep.models.types._booster import WIDE, Booster

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

FIXED = frozenset(
    """
    callbacks device enable_categorical eval_metric feature_types tree_method verbosity
    """.split()  # noqa: SIM905
)
"""Arguments of the constructor that a training sets."""


class Type(Booster):
    """Histogram boosting with native categories."""

    place = 4
    registered_part = "XGBoost"
    short_name = "xgb"
    estimators = ("xgboost.sklearn.XGBClassifier", "xgboost.sklearn.XGBRegressor")
    classes = ("xgboost.core.Booster",)
    distributions: ClassVar[Mapping[str, str]] = {
        "xgboost-cpu": "sys_platform != 'darwin'",
        "xgboost": "sys_platform == 'darwin'",
    }
    objectives: ClassVar[Mapping[str, frozenset[str]]] = {
        "binary": frozenset({"binary:logistic"}),
        "multiclass": frozenset({"multi:softprob"}),
        "regression": frozenset(
            {"reg:absoluteerror", "reg:pseudohubererror", "reg:quantileerror",
             "reg:squarederror", "reg:squaredlogerror"}
        ),
    }  # fmt: skip
    draft = Draft(
        params={
            "n_estimators": 1000,
            "learning_rate": 0.06,
            "max_depth": 5,
            "min_child_weight": 5,
            "subsample": 0.8,
            "colsample_bytree": 0.5,
            "reg_lambda": 10.0,
            "max_cat_to_onehot": 4,
        },
        space={
            "learning_rate": {"low": 0.02, "high": 0.2, "log": True},
            "max_depth": {"low": 3, "high": 8},
            "min_child_weight": {"low": 1.0, "high": 50.0, "log": True},
            "colsample_bytree": {"low": 0.2, "high": 0.9},
            "reg_lambda": {"low": 1.0, "high": 100.0, "log": True},
        },
        trials=12,
        early_stopping_rounds=30,
    )

    def known(self, task: str) -> Set[str]:
        """Return the constructor's names without those that a training sets."""
        return constructor_names("xgboost", "sklearn.py", "XGBModel") - FIXED

    def build(self, recipe: Recipe) -> Any:
        """Return the estimator, with the schema's categories and directions."""
        from xgboost import XGBClassifier, XGBRegressor

        kind, metric = {
            "regression": (XGBRegressor, "rmse"),
            "binary": (XGBClassifier, "logloss"),
            "multiclass": (XGBClassifier, "mlogloss"),
        }[recipe.task]
        ways, kinds = recipe.columns.directions, recipe.columns.kinds.values()
        return kind(
            tree_method="hist",
            enable_categorical=True,
            feature_types=["c" if one == "categorical" else "q" for one in kinds],
            monotone_constraints=f"({','.join(map(str, ways))})" if any(ways) else None,
            eval_metric=metric,
            random_state=recipe.seed,
            n_jobs=recipe.n_jobs,
            **recipe.params,
        )

    def fit(
        self, recipe: Recipe, train: Matrix, stop: Matrix, rounds: int, on_step: OnStep
    ) -> Fitted:
        """Boost until the loss on ``stop`` has not fallen for ``rounds`` iterations."""
        from xgboost.callback import EarlyStopping, TrainingCallback

        model = self.build(self.with_weight(recipe, train.target))
        metric, total = model.eval_metric, model.get_num_boosting_rounds()

        class Progress(TrainingCallback):
            def after_iteration(self, _: Any, epoch: int, evals_log: dict[str, Any]) -> bool:
                on_step(epoch + 1, total, float(evals_log["validation_1"][metric][-1]))
                return False

        callbacks: list[TrainingCallback] = [Progress()]
        if rounds:
            watched = {"data_name": "validation_1", "metric_name": metric}
            callbacks.append(EarlyStopping(rounds=rounds, save_best=True, **watched))
        model.set_params(callbacks=callbacks)
        parts = [(part.features, part.target) for part in (train, stop)]
        model.fit(train.features, train.target, eval_set=parts, verbose=False)
        losses = [model.evals_result()[f"validation_{k}"][metric] for k in (0, 1)]
        best = int(model.best_iteration) + 1 if rounds else None
        _keep_trees_only(model)
        return Fitted(model, best, history(losses[0], losses[1], recipe.task))

    def refusals(self, recipe: Recipe) -> tuple[type[Exception], ...]:
        """Return the errors by which its library refuses the value of a hyperparameter."""
        from xgboost.core import XGBoostError

        return (*super().refusals(recipe), XGBoostError)

    def most_rounds(self, recipe: Recipe) -> int:
        """Return the bound, which the estimator does not hold where the recipe sets none."""
        return int(self.build(recipe).get_num_boosting_rounds())

    def importance(self, estimator: Any, features: pd.DataFrame) -> dict[str, float]:
        """Return each column's total gain."""
        gains = estimator.get_booster().get_score(importance_type="total_gain")
        return {str(name): float(gains.get(str(name), 0.0)) for name in features}

    def scorer(self, estimator: Any, task: str) -> FastScorer:
        """Return predictions of two boosters: few rows on one thread, many on all.

        They are copies, as the given booster's settings are part of its digest. Each row's sum is
        its own, so the thread count changes no bit.
        """
        import numpy as np
        from xgboost import DMatrix

        given = estimator.get_booster()
        best = given.attr("best_iteration")
        one_thread, all_threads = _copy_of(given, 1), _copy_of(given, 0)
        rounds = (0, int(best) + 1) if best is not None else (0, 0)
        predict = dense_prediction(rounds)

        def as_read(encoded: Floats) -> NDArray[np.float32]:
            with np.errstate(over="ignore"):  # the booster too takes what is too large as infinite
                return np.ascontiguousarray(encoded, dtype=np.float32)

        def outputs(encoded: Floats, margin: bool = False) -> NDArray[np.float32]:
            booster = one_thread if len(encoded) < WIDE else all_threads
            return predict(booster.handle, as_read(encoded), margin)

        def parts(encoded: Floats) -> Parts:
            kinds = one_thread.feature_types
            settings = {"feature_types": kinds, "enable_categorical": True, "nthread": 1}
            rows = DMatrix(as_read(encoded), **settings)
            options = {"strict_shape": True, "validate_features": False, "iteration_range": rounds}
            found = one_thread.predict(rows, pred_contribs=True, **options).astype(np.float64)
            return found[0, :, -1], found[:, :, :-1]

        return FastScorer(
            outputs, outputs, lambda encoded: outputs(encoded, margin=True), lambda: parts
        )

    def native(self, estimator: Any) -> Native:
        """Return the booster's own JSON, of which MLflow's loader makes the class again."""
        import xgboost

        content = bytes(estimator.get_booster().save_raw("json"))
        options = {"xgb_version": xgboost.__version__, "model_format": "json"}
        return Native("xgboost", "xgboost.json", content, class_path(estimator), options)


def _keep_trees_only(model: Any) -> None:
    """Remove thread count, callbacks and history."""
    trees = model.get_booster()
    bare = type(trees)()
    bare.load_model(trees.save_raw("ubj"))
    model._Booster = bare
    model.evals_result_ = {}
    model.set_params(callbacks=None, n_jobs=None)


def _copy_of(given: Any, threads: int) -> Any:
    """Return a copy of a booster that works on so many threads (0: all)."""
    booster = type(given)({"nthread": threads})
    booster.load_model(given.save_raw("ubj"))
    booster.set_param({"nthread": threads})
    return booster


def dense_prediction(
    rounds: tuple[int, int],
) -> Callable[[Any, NDArray[np.float32], bool], NDArray[np.float32]]:
    """Return a function of a booster's handle, C-contiguous rows, and whether margins are wanted.

    It calls the C function of ``Booster.inplace_predict``, whose wrapping adds 0.09 ms to the
    0.52 ms in which one row of accidents is scored (475 trees, processor time). Each thread keeps
    the proxy that holds the rows: to make one takes as long as 200 trees. This is the only use of
    xgboost's private names.
    """
    import numpy as np
    from xgboost.core import _LIB, _check_call

    class Proxy(local):
        def __init__(self) -> None:
            self.handle = c_void_p()
            _check_call(_LIB.XGProxyDMatrixCreate(byref(self.handle)))

        def __del__(self) -> None:
            _LIB.XGDMatrixFree(self.handle)

    settings: dict[str, Any] = {
        "training": False,
        "iteration_begin": rounds[0],
        "iteration_end": rounds[1],
    }
    settings |= {"missing": float("nan"), "strict_shape": False, "cache_id": 0}
    options = [json.dumps({"type": kind, **settings}).encode() for kind in (0, 1)]
    call, proxy = _LIB.XGBoosterPredictFromDense, Proxy()
    float_pointer, size_pointer = POINTER(c_float), POINTER(c_uint64)

    def predict(handle: Any, rows: NDArray[np.float32], margin: bool) -> NDArray[np.float32]:
        found, shape, dimensions = float_pointer(), size_pointer(), c_uint64()
        out = (byref(shape), byref(dimensions), byref(found))
        _check_call(call(handle, _array_interface(rows), options[margin], proxy.handle, *out))
        sizes = shape[: dimensions.value]
        # The booster uses its memory again, so the result is a copy.
        copy = bytearray(string_at(found, 4 * prod(sizes)))
        return np.frombuffer(copy, dtype=np.float32).reshape(sizes)

    return predict


def _array_interface(rows: NDArray[np.float32]) -> bytes:
    """Return where a C-contiguous array lies, in numpy's array interface protocol as JSON."""
    place, (height, width) = rows.__array_interface__["data"][0], rows.shape
    layout = f'"typestr": "{rows.dtype.str}", "shape": [{height}, {width}]'
    return f'{{"data": [{place}, true], "strides": null, {layout}, "version": 3}}'.encode()
