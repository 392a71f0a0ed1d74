"""The model types: for each, its estimator, the hyperparameters it knows, and the tasks it can do.

To add a type: write its ``build`` and ``known`` functions, put one entry into ``TYPES``, and say in
``training.FITTERS`` how it is fitted where a plain ``fit`` is not enough.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Callable, Set
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lockstep.errors import ConfigError, UsageError, nearest, unknown
from lockstep.models.matrices import Columns

VIEW_DEFAULTS = {"bins": 16, "min_frequency": 10}
"""The linear view's own hyperparameters: steps a numeric column, rows a level needs for a column of its own."""

OWN_KEYS = {
    "random_state": "seed",
    "seed": "seed",
    "early_stopping_rounds": "early_stopping_rounds",
    "n_jobs": "nothing: all cores train, and no thread count is kept",
    "monotone_constraints": "monotone in the problem's schema",
    "monotonic_cst": "monotone in the problem's schema",
}
"""Hyperparameters that are set elsewhere, and where."""

LIGHTGBM_MORE = frozenset(
    """
    bagging_fraction bagging_freq boosting cat_l2 cat_smooth extra_trees feature_fraction feature_fraction_bynode
    is_unbalance lambda_l1 lambda_l2 linear_lambda max_bin max_cat_threshold max_cat_to_onehot max_delta_step
    min_data_in_bin min_data_in_leaf min_data_per_group min_gain_to_split min_sum_hessian_in_leaf path_smooth
    scale_pos_weight
    """.split()  # noqa: SIM905
)
"""LightGBM's hyperparameters beyond the signature of its scikit-learn class."""


@dataclass(frozen=True)
class Recipe:
    """What an estimator is built from."""

    task: str
    columns: Columns
    params: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    n_jobs: int = 1


@dataclass(frozen=True)
class ModelType:
    """One entry of the zoo."""

    tasks: tuple[str, ...]
    build: Callable[[Recipe], Any]
    known: Callable[[str], Set[str]]


def cores() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0))


def model_type(name: str) -> ModelType:
    """Return a type's entry; an unknown name is a UsageError with the nearest known one."""
    if name not in TYPES:
        raise UsageError(unknown("model type", name, TYPES))
    return TYPES[name]


def build(name: str, recipe: Recipe) -> Any:
    """Return a type's estimator, not fitted; a wrong task or hyperparameter is a ConfigError with the fix."""
    entry = model_type(name)
    if recipe.task not in entry.tasks:
        able = [other for other, e in TYPES.items() if recipe.task in e.tasks]
        raise ConfigError(f"{name} can't do {recipe.task}; types that can: {', '.join(able)}")
    check_params(name, recipe)
    check_monotone(recipe)
    return entry.build(recipe)


def check_params(name: str, recipe: Recipe) -> None:
    """Raise a ConfigError for a hyperparameter the type has not, naming the nearest it has."""
    known = model_type(name).known(recipe.task) - set(OWN_KEYS)
    for key in recipe.params:
        if key in OWN_KEYS:
            raise ConfigError(
                f"params.yaml: {name} takes no hyperparameter '{key}' under params; set {OWN_KEYS[key]}"
            )
        if key not in known:
            raise ConfigError(
                f"params.yaml: {name} has no hyperparameter '{key}'{nearest(key, known)}"
            )


def check_monotone(recipe: Recipe) -> None:
    """Raise a ConfigError for a direction among several classes: there is no one margin that could rise."""
    if recipe.task == "multiclass" and recipe.columns.monotone:
        raise ConfigError(
            f"monotone is for two classes and for numbers; take it from {', '.join(recipe.columns.monotone)} in "
            "the problem's schema.yaml"
        )


@cache
def _signature(package: str, module: str, name: str) -> frozenset[str]:
    """Return what a class's constructor takes, read from its source.

    Names are checked before anything runs, and importing the three packages for that would take seconds.
    """
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise ConfigError(f"the package {package} is not installed; run `make env`")
    source = (Path(spec.origin).parent / module).read_text(encoding="utf-8")
    classes = [node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)]
    body = next(node.body for node in classes if node.name == name)
    init = next(
        node for node in body if isinstance(node, ast.FunctionDef) and node.name == "__init__"
    )
    return frozenset(argument.arg for argument in init.args.args + init.args.kwonlyargs) - {"self"}


def _logistic_regression(recipe: Recipe) -> Any:
    from sklearn.linear_model import LogisticRegression

    # Of several classes the exact Hessian has (classes x columns) squared entries; newton-cg never holds it.
    solver = "newton-cg" if recipe.task == "multiclass" else "newton-cholesky"
    fixed = {"solver": solver, "tol": 1e-10, "max_iter": 200}
    return LogisticRegression(**fixed, **_without_view(recipe.params))


def _ridge(recipe: Recipe) -> Any:
    from sklearn.linear_model import Ridge

    return Ridge(solver="cholesky", **_without_view(recipe.params))


def _without_view(params: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in params.items() if key not in VIEW_DEFAULTS}


def _random_forest(recipe: Recipe) -> Any:
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    kind = RandomForestRegressor if recipe.task == "regression" else RandomForestClassifier
    ways = recipe.columns.directions if any(recipe.columns.directions) else None
    return kind(random_state=recipe.seed, n_jobs=recipe.n_jobs, monotonic_cst=ways, **recipe.params)


def _xgboost(recipe: Recipe) -> Any:
    from xgboost import XGBClassifier, XGBRegressor

    kind, metric = {
        "regression": (XGBRegressor, "rmse"),
        "binary": (XGBClassifier, "logloss"),
        "multiclass": (XGBClassifier, "mlogloss"),
    }[recipe.task]
    ways = recipe.columns.directions
    return kind(
        tree_method="hist",
        enable_categorical=True,
        feature_types=["c" if k == "categorical" else "q" for k in recipe.columns.kinds.values()],
        monotone_constraints=f"({','.join(map(str, ways))})" if any(ways) else None,
        eval_metric=metric,
        random_state=recipe.seed,
        n_jobs=recipe.n_jobs,
        **recipe.params,
    )


def _lightgbm(recipe: Recipe) -> Any:
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


def _logistic_known(_: str) -> Set[str]:
    return {"C", "class_weight", *VIEW_DEFAULTS}


def _ridge_known(_: str) -> Set[str]:
    return {"alpha", *VIEW_DEFAULTS}


def _forest_known(task: str) -> Set[str]:
    kind = "RandomForestRegressor" if task == "regression" else "RandomForestClassifier"
    return _signature("sklearn", "ensemble/_forest.py", kind) - {
        "warm_start",
        "verbose",
        "oob_score",
    }


def _xgboost_known(_: str) -> Set[str]:
    ours = {
        "callbacks",
        "enable_categorical",
        "feature_types",
        "eval_metric",
        "tree_method",
        "device",
        "verbosity",
    }
    return _signature("xgboost", "sklearn.py", "XGBModel") - ours


def _lightgbm_known(_: str) -> Set[str]:
    return _signature("lightgbm", "sklearn.py", "LGBMClassifier") | LIGHTGBM_MORE


TYPES: dict[str, ModelType] = {
    "logistic_regression": ModelType(
        ("binary", "multiclass"), _logistic_regression, _logistic_known
    ),
    "ridge": ModelType(("regression",), _ridge, _ridge_known),
    "random_forest": ModelType(
        ("binary", "multiclass", "regression"), _random_forest, _forest_known
    ),
    "xgboost": ModelType(("binary", "multiclass", "regression"), _xgboost, _xgboost_known),
    "lightgbm": ModelType(("binary", "multiclass", "regression"), _lightgbm, _lightgbm_known),
}
"""Every model type the project can train."""
