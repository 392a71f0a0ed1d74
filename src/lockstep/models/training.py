"""From a type's recipe and the encoded matrices to one fitted, calibrated, scored pipeline."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from lockstep.config.params import Training
from lockstep.decision.score_scale import resolved_weights
from lockstep.errors import DataError
from lockstep.evaluation.metrics import SCORE_DECIMALS, Scored, evaluate
from lockstep.models import zoo
from lockstep.models.matrices import Matrix
from lockstep.models.zoo import Recipe

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

OnStep = Callable[[int, int, float | None], None]
"""Called while a type trains: iterations done, all of them, and the loss on the stop part where known."""

FOREST_BATCHES = 10


@dataclass(frozen=True)
class Fitted:
    """A fitted estimator and how its training went."""

    estimator: Any
    best_iteration: int | None = None
    history: dict[str, list[float]] = field(default_factory=dict)


def silent(done: int, total: int, loss: float | None) -> None:
    """Report nothing."""


def fit(
    name: str,
    recipe: Recipe,
    train: Matrix,
    stop: Matrix,
    early_stopping_rounds: int = 0,
    on_step: OnStep = silent,
) -> Fitted:
    """Fit one model type on ``train``; ``stop`` ends boosting and is scored by iteration.

    The fitted estimator keeps no thread count, no training rows and no trees past the best iteration.
    """
    recipe = replace(recipe, params=resolved_weights(recipe.params, train.target))
    if name in ("logistic_regression", "ridge"):
        return _fit_linear(name, recipe, train, on_step)
    estimator = zoo.build(name, recipe)
    if name == "random_forest":
        grow = _fit_filled_forest if recipe.columns.monotone else _fit_forest
        return grow(estimator, recipe.task, train, stop, on_step)
    fitter = _fit_xgboost if name == "xgboost" else _fit_lightgbm
    return fitter(estimator, recipe, train, stop, early_stopping_rounds, on_step)


def _fit_linear(name: str, recipe: Recipe, train: Matrix, on_step: OnStep) -> Fitted:
    from lockstep.models.linear import fit_linear

    on_step(0, 1, None)
    model = fit_linear(name, recipe, train.features, train.target)
    on_step(1, 1, None)
    return Fitted(model)


def _fit_forest(forest: Any, task: str, train: Matrix, stop: Matrix, on_step: OnStep) -> Fitted:
    """Grow the forest batch by batch, which gives the same trees as at once, and a figure after each."""
    import numpy as np

    total = forest.n_estimators
    rows = np.ascontiguousarray(stop.features, dtype=np.float32)
    summed: Any = 0.0
    losses, sizes = [], _batch_ends(total)
    for grown in sizes:
        forest.set_params(n_estimators=grown, warm_start=True)
        before = len(getattr(forest, "estimators_", []))
        with warnings.catch_warnings():
            # Every batch sees all rows, so balanced weights are the same each time.
            warnings.filterwarnings(
                "ignore", message="class_weight presets .* are not recommended for warm_start"
            )
            forest.fit(train.features, train.target)
        summed = summed + sum(
            _tree_output(tree, rows, task) for tree in forest.estimators_[before:]
        )
        losses.append(_loss(stop.target, summed / grown, task))
        on_step(grown, total, losses[-1])
    forest.set_params(n_estimators=total, warm_start=False, n_jobs=None)
    return Fitted(
        forest, None, {"iteration": [float(s) for s in sizes], f"stop_{_loss_name(task)}": losses}
    )


def _fit_filled_forest(
    forest: Any, task: str, train: Matrix, stop: Matrix, on_step: OnStep
) -> Fitted:
    """Grow a forest with monotone columns, for which scikit-learn's takes no missing values: filled, and told of.

    Medians stand in for them, and a column more says where; neither has a direction of its own.
    """
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import Pipeline

    fill = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True).fit(
        train.features
    )
    told = len(fill.indicator_.features_)
    forest.set_params(monotonic_cst=[*forest.monotonic_cst, *[0] * told])
    train, stop = (replace(part, features=fill.transform(part.features)) for part in (train, stop))
    grown = _fit_forest(forest, task, train, stop, on_step)
    return replace(grown, estimator=Pipeline([("fill", fill), ("estimator", grown.estimator)]))


def _batch_ends(total: int) -> list[int]:
    return sorted(
        {max(1, round(total * part / FOREST_BATCHES)) for part in range(1, FOREST_BATCHES + 1)}
    )


def _tree_output(tree: Any, rows: NDArray[np.float32], task: str) -> NDArray[Any]:
    if task == "regression":
        return tree.predict(rows, check_input=False)
    return tree.predict_proba(rows, check_input=False)


def _loss_name(task: str) -> str:
    return "rmse" if task == "regression" else "log_loss"


def _loss(target: NDArray[Any], output: Any, task: str) -> float:
    """Return RMSE or log loss; a forest's zero is read as half a row in its training leaf would be."""
    import numpy as np

    if task == "regression":
        return float(np.sqrt(np.mean((target - output) ** 2)))
    chance = output[np.arange(len(target)), target.astype(np.int64)]
    return float(-np.mean(np.log(np.clip(chance, 1e-6, 1))))


def _fit_xgboost(
    model: Any, recipe: Recipe, train: Matrix, stop: Matrix, rounds: int, on_step: OnStep
) -> Fitted:
    from xgboost.callback import EarlyStopping, TrainingCallback

    metric, total = model.eval_metric, model.n_estimators or 100

    class Watch(TrainingCallback):
        def after_iteration(self, _: Any, epoch: int, evals_log: dict[str, Any]) -> bool:
            on_step(epoch + 1, total, float(evals_log["validation_1"][metric][-1]))
            return False

    early = [
        EarlyStopping(rounds=rounds, save_best=True, data_name="validation_1", metric_name=metric)
    ]
    model.set_params(callbacks=[Watch(), *(early if rounds else [])])
    parts = [(part.features, part.target) for part in (train, stop)]
    model.fit(train.features, train.target, eval_set=parts, verbose=False)
    results = model.evals_result()
    history = _history(
        results["validation_0"][metric], results["validation_1"][metric], recipe.task
    )
    best = int(model.best_iteration) + 1 if rounds else None
    _settle_xgboost(model)
    return Fitted(model, best, history)


def _settle_xgboost(model: Any) -> None:
    """Leave the booster's trees only: no thread count, no callbacks, no history."""
    from xgboost import Booster

    bare = Booster()
    bare.load_model(model.get_booster().save_raw("ubj"))
    model._Booster = bare
    model.evals_result_ = {}
    model.set_params(callbacks=None, n_jobs=None)


def _fit_lightgbm(
    model: Any, recipe: Recipe, train: Matrix, stop: Matrix, rounds: int, on_step: OnStep
) -> Fitted:
    from lightgbm import early_stopping

    metric, total = _lightgbm_metric(recipe.task), model.n_estimators

    def watch(env: Any) -> None:
        losses = {name: value for name, _, value, *_ in env.evaluation_result_list}
        on_step(env.iteration + 1, total, float(losses["stop"]))

    early = [early_stopping(rounds, verbose=False)] if rounds else []
    with warnings.catch_warnings():
        # The training part is also watched, for the learning curve; LightGBM then speaks of a duplicate.
        warnings.filterwarnings("ignore", message="Found .* in params")
        model.fit(
            train.features,
            train.target,
            eval_X=(train.features, stop.features),
            eval_y=(train.target, stop.target),
            eval_names=["train", "stop"],
            eval_metric=metric,
            categorical_feature=recipe.columns.categorical,
            callbacks=[watch, *early],
        )
    results = model.evals_result_
    history = _history(results["train"][metric], results["stop"][metric], recipe.task)
    best = int(model.best_iteration_) if rounds else None
    _settle_lightgbm(model, best)
    return Fitted(model, best, history)


def _lightgbm_metric(task: str) -> str:
    return {"binary": "binary_logloss", "multiclass": "multi_logloss", "regression": "rmse"}[task]


def _settle_lightgbm(model: Any, best: int | None) -> None:
    """Leave the booster's trees up to the best iteration: no thread count, no history."""
    from lightgbm import Booster

    text = model.booster_.model_to_string(num_iteration=best or -1)
    model._Booster = Booster(model_str=re.sub(r"\[num_threads: \d+\]", "[num_threads: 0]", text))
    model._evals_result, model._best_score = None, {}
    model.set_params(n_jobs=None)


def _history(train: list[float], stop: list[float], task: str) -> dict[str, list[float]]:
    loss = _loss_name(task)
    steps = [float(i + 1) for i in range(len(stop))]
    return {
        "iteration": steps,
        f"train_{loss}": [float(v) for v in train],
        f"stop_{loss}": [float(v) for v in stop],
    }


def scores(model: Any, features: pd.DataFrame, task: str) -> NDArray[Any]:
    """Return what is evaluated, with ``SCORE_DECIMALS`` decimals.

    The positive class's probability (rows,), those of all classes (rows, classes), or the prediction (rows,).
    """
    import numpy as np

    raw: Any = model.predict(features) if task == "regression" else model.predict_proba(features)
    raw = raw[:, 1] if task == "binary" else raw
    return np.round(np.asarray(raw, dtype=np.float64), SCORE_DECIMALS)


def pipeline_of(encoder: Any, model: Any) -> Any:
    """Return the one artifact: raw features in, prediction out."""
    from sklearn.pipeline import Pipeline

    return Pipeline([("encoder", encoder), ("model", model)])


def resolved_params(estimator: Any) -> dict[str, Any]:
    """Return an estimator's hyperparameters as JSON values, unset ones left out."""
    own = estimator.named_steps["estimator"] if hasattr(estimator, "named_steps") else estimator
    found = {
        key: value
        for key, value in own.get_params(deep=False).items()
        if key not in ("n_jobs", "callbacks")
    }
    plain = (bool, int, float, str, list)
    return {k: v for k, v in sorted(found.items()) if isinstance(v, plain) and v == v}


def fold_ids(group: NDArray[Any], folds: int) -> NDArray[np.int64]:
    """Return each row's fold: blocks of whole groups in the order of the table, which is that of time."""
    import numpy as np

    _, first, index = np.unique(group, return_index=True, return_inverse=True)
    place = np.empty(len(first), dtype=np.int64)
    place[np.argsort(first)] = np.arange(len(first))
    return place[index] * folds // len(first)


def dealt_fold_ids(group: NDArray[Any], target: NDArray[Any], folds: int) -> NDArray[np.int64]:
    """Return each row's fold: whole groups dealt round, the classes of the target one after the other.

    A group counts for the rarest class among its rows, so that this one is in as many folds as it can be.
    """
    import numpy as np

    _, index = np.unique(group, return_inverse=True)
    rarity = np.argsort(np.argsort(np.bincount(target.astype(np.int64)), kind="stable"))
    own = np.full(index.max() + 1, len(rarity))
    np.minimum.at(own, index, rarity[target.astype(np.int64)])
    fold = np.empty(len(own), dtype=np.int64)
    fold[np.argsort(own, kind="stable")] = np.arange(len(own)) % folds
    return fold[index]


def folds_of(train: Matrix, folds: int, task: str) -> NDArray[np.int64]:
    """Return each training row's fold; among several classes each is in the rows of every fold's model.

    Blocks where that is so, else dealt by class; a class in one fold only is a DataError.
    """
    ids = fold_ids(train.group, folds)
    if task != "multiclass" or _all_learned(train.target, ids):
        return ids
    dealt = dealt_fold_ids(train.group, train.target, folds)
    if not _all_learned(train.target, dealt):
        raise DataError(
            "a class has training rows in one group only, so cross-validation can't learn it without them; "
            "set cv_folds: 0, or merge or drop the class"
        )
    return dealt


def _all_learned(target: NDArray[Any], ids: NDArray[np.int64]) -> bool:
    """Tell whether every class occurs outside of each fold."""
    import numpy as np

    classes = np.unique(target)
    return all(len(np.unique(target[ids != fold])) == len(classes) for fold in np.unique(ids))


def fold_metrics(
    training: Training,
    recipe: Recipe,
    parts: dict[str, Matrix],
    scored: Callable[[NDArray[Any], Any], Scored],
) -> list[dict[str, float]]:
    """Return the metrics of ``cv_folds`` blocks of the training rows, each scored by a model of the others.

    ``scored`` makes scored rows of a target and its scores. The encoder is the one fitted on all training rows,
    where its learned columns are out of fold.
    """
    found: list[dict[str, float]] = []
    if not training.cv_folds:
        return found
    ids = folds_of(parts["train"], training.cv_folds, recipe.task)
    for fold in range(training.cv_folds):
        rest, held = parts["train"].take(ids != fold), parts["train"].take(ids == fold)
        model = fit(
            training.type, recipe, rest, parts["stop"], training.early_stopping_rounds
        ).estimator
        rows = scored(held.target, scores(model, held.features, recipe.task))
        found.append({"fold": fold + 1, **evaluate(rows)})
    return found
