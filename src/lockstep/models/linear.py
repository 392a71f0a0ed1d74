"""The linear models' view of the matrix, and a fit whose figures agree between processors.

The view is sparse and made of scikit-learn's transformers: a column for each frequent level, steps
and a standardised line for each numeric column, and a column for missing values. A column that the
schema declares monotone has its line only, because steps can go up and down. A score is a sparse
product, which needs no BLAS. What BLAS contributes is rounded before anything is evaluated.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import KBinsDiscretizer, OneHotEncoder, StandardScaler

from lockstep.errors import DataError
from lockstep.models.matrices import Columns
from lockstep.models.model_type import Recipe
from lockstep.models.rounding import significant
from lockstep.models.types._linear import VIEW_DEFAULTS, Linear

COEFFICIENT_DIGITS = {"binary": 6, "regression": 6, "multiclass": 5}
"""Significant digits: processors differ by 6e-12 for several classes, else by 1e-15."""
STATISTIC_DIGITS = 8
MOST_MORE_DIGITS = 7
"""With more, an intercept would show in what processors differ."""
LEAST_SHARE = 1e-9
"""The least coefficient, as a share of the largest: a smaller one is the solver's error."""

LEAST_PIVOT = 1e-13
"""The least share of a column's sum of squares that the columns before it may leave."""


def fit_linear(kind: Linear, recipe: Recipe, features: pd.DataFrame, target: NDArray[Any]) -> Any:
    """Return a fitted Pipeline(view, estimator) with rounded statistics and coefficients."""

    def solve(estimator: Any, view: Any) -> None:
        kind.solve(estimator, view.transform(features), target)

    return solved_linear(kind, recipe, features, solve)


def solved_linear(
    kind: Linear, recipe: Recipe, features: pd.DataFrame, solve: Callable[[Any, Any], None]
) -> Any:
    """Return the same; ``solve`` fits the estimator on the rows that a fitted view shows.

    A column with a direction is one standardised line. If its coefficient goes against the
    direction, the best allowed one is 0, so the column is left out.
    """
    estimator, view = kind.build(recipe), fit_view(recipe, features)
    solve(estimator, view)
    estimator.coef_ = without_noise(estimator.coef_)
    digits = COEFFICIENT_DIGITS[recipe.task]
    estimator.coef_ = significant(estimator.coef_, digits)
    if recipe.task == "regression":
        digits += _more_digits(estimator.intercept_, estimator.coef_)
    estimator.intercept_ = significant(estimator.intercept_, digits)
    weights = dict(zip(view.get_feature_names_out(), estimator.coef_.ravel(), strict=False))
    monotone = recipe.columns.monotone
    contrary = [name for name, way in monotone.items() if weights.get(f"line__{name}", 0) * way < 0]
    if not contrary:
        return Pipeline([("view", view), ("estimator", estimator)])
    rest = {name: how for name, how in recipe.columns.kinds.items() if name not in contrary}
    return solved_linear(kind, replace(recipe, columns=Columns(rest, monotone)), features, solve)


def _more_digits(intercept: float, coefficients: NDArray[np.float64]) -> int:
    """Return how many more digits a regression's intercept needs, far from 0 as it may be.

    Rounded as the coefficients are, that of 2,459,123 ± 50 would shift every value by up to 5.
    """
    largest = np.abs(coefficients).max()
    if not intercept or not largest:
        return 0
    apart = math.floor(math.log10(abs(intercept))) - math.floor(math.log10(largest))
    return min(max(0, apart - 2), MOST_MORE_DIGITS)


def without_noise(coefficients: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return coefficients with 0 for the solver's error, as of a column that never varies."""
    least = LEAST_SHARE * np.abs(coefficients).max()
    return np.where(np.abs(coefficients) < least, 0.0, coefficients)


def fit_ridge(estimator: Any, matrix: Any, target: NDArray[np.float64]) -> None:
    """Solve ridge's normal equations, with a free intercept, from the sparse matrix's products.

    scikit-learn's exact solver needs the dense matrix: 7 GB for two million rows of 24 numbers.
    """
    rows = matrix.shape[0]
    center, level = np.asarray(matrix.sum(axis=0)).ravel() / rows, float(target.mean())
    products, right = (matrix.T @ matrix).toarray(), matrix.T @ (target - level)
    solve_ridge(estimator, rows, center, level, products, right)


def solve_ridge(
    estimator: Any,
    rows: int,
    center: NDArray[np.float64],
    level: float,
    products: NDArray[np.float64],
    right: NDArray[np.float64],
) -> None:
    """Solve ridge from sums over the rows: column means, target mean, X'X and X'(y - mean)."""
    products = products - rows * np.multiply.outer(center, center)
    np.fill_diagonal(products, products.diagonal() + estimator.alpha)
    estimator.coef_ = refined_solution(products, right)
    estimator.intercept_ = level - float((center * estimator.coef_).sum())
    estimator.n_features_in_ = len(center)


def refined_solution(
    matrix: NDArray[np.float64], right: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Solve a positive definite system, refined in longer numbers so that processors agree.

    DataError if it is singular.
    """
    factor = _factor(matrix)
    found = cho_solve(factor, right)
    for _ in range(2):
        left = np.array([(row.astype(np.longdouble) * found).sum() for row in matrix])
        found = found + cho_solve(factor, (right - left).astype(np.float64))
    return np.asarray(found)


def _factor(matrix: NDArray[np.float64]) -> Any:
    """Return Cholesky's factor; columns that depend on each other are a DataError."""
    try:
        factor = cho_factor(matrix)
    except LinAlgError:
        factor = None
    # Rounding may leave a pivot a little above 0, and then coefficients are noise.
    if factor is None or (np.diag(factor[0]) ** 2 < LEAST_PIVOT * np.diag(matrix)).any():
        raise DataError(
            "the linear model's columns depend on each other, so its coefficients are not "
            "determined; set a larger alpha (ridge) or a smaller C (logistic regression)"
        )
    return factor


def fit_view(recipe: Recipe, features: pd.DataFrame) -> Any:
    """Return the fitted view: DataFrame of encoded columns → sparse matrix (rows, view columns)."""
    varied = [name for name in recipe.columns.numeric if features[name].nunique() > 1]
    if not (varied or recipe.columns.categorical):
        raise DataError(
            "no column varies in the training rows, so there is nothing to learn; "
            "add columns or rows"
        )
    view = ColumnTransformer(_transformers(recipe, varied), sparse_threshold=1.0)
    with warnings.catch_warnings():
        # Many equal values make quantiles coincide; the discretizer then merges the bins.
        warnings.filterwarnings("ignore", message="Bins whose width are too small")
        view.fit(features)
    if varied:
        fitted = view.named_transformers_["line"].named_steps["scale"]
        for attribute in ("mean_", "var_", "scale_"):
            setattr(fitted, attribute, significant(getattr(fitted, attribute), STATISTIC_DIGITS))
    return view


def _transformers(recipe: Recipe, varied: list[str]) -> list[tuple[str, Any, list[str]]]:
    options = {key: recipe.params.get(key, default) for key, default in VIEW_DEFAULTS.items()}
    levels = OneHotEncoder(
        handle_unknown="infrequent_if_exist",
        min_frequency=options["min_frequency"],
        dtype=np.float64,
    )
    steps = KBinsDiscretizer(
        options["bins"],
        strategy="quantile",
        encode="onehot",
        quantile_method="averaged_inverted_cdf",
        subsample=None,
    )
    found: list[tuple[str, Any, list[str]]] = [("level", levels, recipe.columns.categorical)]
    stepped = [name for name in varied if name not in recipe.columns.monotone]
    if stepped:
        imputed = Pipeline([("fill", SimpleImputer(strategy="median")), ("bin", steps)])
        found.append(("step", imputed, stepped))
    if varied:
        filled = SimpleImputer(strategy="median", add_indicator=True)
        found.append(("line", Pipeline([("fill", filled), ("scale", StandardScaler())]), varied))
    return found


def spreads(pipeline: Any, features: pd.DataFrame) -> dict[str, float]:
    """Return the standard deviation of what each encoded column adds to the rows' margin.

    For several classes it is the mean over their margins.
    """
    names, view = [str(name) for name in features], pipeline.named_steps["view"]
    matrix = view.transform(features).tocsc()
    owners = [owner_of(name, names) for name in view.get_feature_names_out()]
    found = []
    for weights in np.atleast_2d(pipeline.named_steps["estimator"].coef_):
        added = {name: np.zeros(matrix.shape[0]) for name in names}
        for place, owner in enumerate(owners):
            column = matrix[:, [place]]
            added[owner][column.indices] += column.data * weights[place]
        found.append({name: float(values.std()) for name, values in added.items()})
    return {name: sum(one[name] for one in found) / len(found) for name in names}


def owner_of(view_name: str, names: list[str]) -> str:
    """Return the encoded column that a column of the view was made from."""
    bare = view_name.split("__", 1)[1].removeprefix("missingindicator_")
    fits = [name for name in names if bare == name or bare.startswith(f"{name}_")]
    return max(fits, key=len)
