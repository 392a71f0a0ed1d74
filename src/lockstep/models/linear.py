"""The linear models' own view of the matrix, and a fit whose figures agree between processors.

The view is sparse and made of scikit-learn's own transformers: a column a frequent level, steps and a
standardised line for every numeric column, and a column where values are missing; one that the schema declares
monotone has its line only, because steps are free to go up and down. A score is then a sparse
product, which needs no BLAS; what is learned with BLAS is rounded before anything is evaluated.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import KBinsDiscretizer, OneHotEncoder, StandardScaler

from lockstep.errors import DataError
from lockstep.models import zoo
from lockstep.models.matrices import Columns
from lockstep.models.zoo import VIEW_DEFAULTS, Recipe

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

COEFFICIENT_DIGITS = {"binary": 6, "regression": 6, "multiclass": 5}
"""Significant digits of coefficients: fewer where the solver leaves processors further apart (6e-12, else 1e-15)."""
STATISTIC_DIGITS = 8
NOUGHT = 1e-9
"""What a coefficient is at least, as a share of the largest: one below is what the solver leaves in place of 0."""


def fit_linear(name: str, recipe: Recipe, features: pd.DataFrame, target: NDArray[Any]) -> Any:
    """Return a fitted Pipeline(view, estimator) with rounded statistics and coefficients.

    A column with a direction is one standardised line; where the rows would turn it round, it is left out.
    """
    model = _fit_once(name, recipe, features, target)
    contrary = _contrary(model, recipe.columns.monotone)
    if not contrary:
        return model
    kinds = {
        column: kind for column, kind in recipe.columns.kinds.items() if column not in contrary
    }
    return fit_linear(
        name, replace(recipe, columns=Columns(kinds, recipe.columns.monotone)), features, target
    )


def _contrary(model: Any, monotone: dict[str, int]) -> list[str]:
    """Return the constrained columns whose coefficient goes against their direction: the best allowed one is 0."""
    names = list(model.named_steps["view"].get_feature_names_out())
    weights = dict(zip(names, model.named_steps["estimator"].coef_.ravel(), strict=False))
    return [
        column for column, way in monotone.items() if weights.get(f"line__{column}", 0.0) * way < 0
    ]


def _fit_once(name: str, recipe: Recipe, features: pd.DataFrame, target: NDArray[Any]) -> Any:
    estimator = zoo.build(name, recipe)
    options = {**VIEW_DEFAULTS, **{k: v for k, v in recipe.params.items() if k in VIEW_DEFAULTS}}
    view = fit_view(recipe, features, **options)
    matrix = view.transform(features)
    if name == "ridge":
        fit_ridge(estimator, matrix, target)
    else:
        estimator.fit(matrix, target)
    digits = COEFFICIENT_DIGITS[recipe.task]
    estimator.coef_ = without_noise(estimator.coef_)
    for attribute in ("coef_", "intercept_"):
        setattr(estimator, attribute, significant(getattr(estimator, attribute), digits))
    return Pipeline([("view", view), ("estimator", estimator)])


def without_noise(coefficients: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return coefficients with 0 for those that are the solver's error alone, as of a column that never varies."""
    return np.where(np.abs(coefficients) < NOUGHT * np.abs(coefficients).max(), 0.0, coefficients)


def fit_ridge(estimator: Any, matrix: Any, target: NDArray[np.float64]) -> None:
    """Solve ridge's normal equations, with the intercept left free, from the sparse matrix's own products.

    scikit-learn's exact solver wants the matrix dense, which is 7 GB for two million rows of 24 numbers.
    """
    rows = matrix.shape[0]
    center, level = np.asarray(matrix.sum(axis=0)).ravel() / rows, float(target.mean())
    products = (matrix.T @ matrix).toarray() - rows * np.multiply.outer(center, center)
    np.fill_diagonal(products, products.diagonal() + estimator.alpha)
    estimator.coef_ = refined_solution(products, matrix.T @ (target - level))
    estimator.intercept_ = level - float((center * estimator.coef_).sum())
    estimator.n_features_in_ = matrix.shape[1]


def refined_solution(
    matrix: NDArray[np.float64], right: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Solve a positive definite system alike on every processor: what BLAS leaves is mended in longer numbers."""
    factor = cho_factor(matrix)
    found = cho_solve(factor, right)
    for _ in range(2):
        left = np.array([(row.astype(np.longdouble) * found).sum() for row in matrix])
        found = found + cho_solve(factor, (right - left).astype(np.float64))
    return np.asarray(found)


def fit_view(recipe: Recipe, features: pd.DataFrame, bins: int, min_frequency: int) -> Any:
    """Return the fitted view: DataFrame of encoded columns → sparse matrix (rows, columns of the model)."""
    varied = [name for name in recipe.columns.numeric if features[name].nunique() > 1]
    levels = OneHotEncoder(
        handle_unknown="infrequent_if_exist", min_frequency=min_frequency, dtype=np.float64
    )
    steps = KBinsDiscretizer(
        bins,
        strategy="quantile",
        encode="onehot",
        quantile_method="averaged_inverted_cdf",
        subsample=None,
    )
    filled = SimpleImputer(strategy="median", add_indicator=True)
    stepped = [name for name in varied if name not in recipe.columns.monotone]
    numeric = [
        ("step", Pipeline([("fill", SimpleImputer(strategy="median")), ("bin", steps)]), stepped),
        ("line", Pipeline([("fill", filled), ("scale", StandardScaler())]), varied),
    ]
    numeric = numeric if stepped else numeric[1:]
    told = [("level", levels, recipe.columns.categorical), *(numeric if varied else [])]
    if not (varied or recipe.columns.categorical):
        raise DataError(
            "no column varies in the training rows, so there is nothing to learn; add columns or rows"
        )
    view = ColumnTransformer(told, sparse_threshold=1.0)
    with warnings.catch_warnings():
        # Many equal values make quantiles coincide; the discretizer then merges the bins, as is wanted.
        warnings.filterwarnings("ignore", message="Bins whose width are too small")
        view.fit(features)
    if varied:
        _round_scaler(view.named_transformers_["line"].named_steps["scale"])
    return view


def _round_scaler(scaler: Any) -> None:
    for attribute in ("mean_", "var_", "scale_"):
        setattr(scaler, attribute, significant(getattr(scaler, attribute), STATISTIC_DIGITS))


def significant(values: NDArray[np.float64], digits: int) -> NDArray[np.float64]:
    """Return an array with every number rounded to so many significant digits."""
    flat = [float(f"{value:.{digits}g}") for value in np.ravel(values)]
    return np.array(flat).reshape(np.shape(values))


def contributions(pipeline: Any, features: pd.DataFrame) -> dict[str, float]:
    """Return for each encoded column the standard deviation of what it adds to the margin of these rows.

    Of several classes the mean over their margins.
    """
    names = [str(name) for name in features]
    matrix = pipeline.named_steps["view"].transform(features).tocsc()
    owners = [
        owner_of(name, names) for name in pipeline.named_steps["view"].get_feature_names_out()
    ]
    found = [
        _spreads(matrix, weights, owners, names)
        for weights in np.atleast_2d(pipeline.named_steps["estimator"].coef_)
    ]
    return {name: sum(one[name] for one in found) / len(found) for name in names}


def _spreads(
    matrix: Any, weights: NDArray[Any], owners: list[str], names: list[str]
) -> dict[str, float]:
    """Return each encoded column's spread in one margin."""
    added = {name: np.zeros(matrix.shape[0]) for name in names}
    for j, owner in enumerate(owners):
        column = matrix[:, [j]]
        added[owner][column.indices] += column.data * weights[j]
    return {name: float(values.std()) for name, values in added.items()}


def owner_of(view_name: str, names: list[str]) -> str:
    """Return the encoded column that a column of the view was made from."""
    bare = view_name.split("__", 1)[1].removeprefix("missingindicator_")
    fits = [name for name in names if bare == name or bare.startswith(f"{name}_")]
    return max(fits, key=len)
