"""The linear view takes whatever the encoder gives, and its figures are rounded."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.linear_model import Ridge

from lockstep.errors import DataError
from lockstep.models import linear
from lockstep.models.matrices import Columns
from lockstep.models.model_type import Recipe
from lockstep.models.rounding import significant
from lockstep.models.types import model_type


@pytest.fixture(scope="module")
def model(columns, train):
    recipe = Recipe("binary", columns, {"C": 0.3})
    return linear.fit_linear(
        model_type("logistic_regression"), recipe, train.features, train.target
    )


def test_the_view_is_sparse_so_that_scores_need_no_blas(model, choose) -> None:
    assert sparse.issparse(model.named_steps["view"].transform(choose.features))


def test_coefficients_and_statistics_are_rounded(model) -> None:
    coefficients = model.named_steps["estimator"].coef_
    assert (coefficients == significant(coefficients, 6)).all()
    scale = model.named_steps["view"].named_transformers_["line"].named_steps["scale"].scale_
    assert (scale == significant(scale, 8)).all()


def test_the_solver_has_converged(model, train) -> None:
    matrix = model.named_steps["view"].transform(train.features)
    estimator = model.named_steps["estimator"]
    gap = estimator.predict_proba(matrix)[:, 1] - train.target
    gradient = matrix.T @ gap + estimator.coef_[0] / estimator.C
    assert np.abs(gradient).max() < 1e-2  # what rounding the coefficients leaves
    assert abs(gap.sum()) < 1e-2


def test_unknown_levels_missing_values_and_numbers_out_of_range_score(model, choose) -> None:
    rows = choose.features.head(3).copy()
    rows.loc[rows.index[0], "road"] = 99.0
    rows.loc[rows.index[1], ["age", "speed", "light"]] = np.nan
    rows.loc[rows.index[2], "speed"] = 1e6
    assert np.isfinite(model.predict_proba(rows)).all()


def test_constant_and_empty_columns_are_left_out(train) -> None:
    features = train.features.assign(constant=1.0, empty=np.nan)
    columns = Columns({**dict.fromkeys(features, "numeric")})
    model = linear.fit_linear(
        model_type("logistic_regression"), Recipe("binary", columns), features, train.target
    )
    names = model.named_steps["view"].get_feature_names_out()
    assert not [name for name in names if "constant" in name or "empty" in name]


def test_contributions_belong_to_the_columns_they_come_from(model, choose) -> None:
    added = linear.spreads(model, choose.features)
    assert set(added) == set(choose.features)
    alone = {}
    for name in choose.features:  # hold all others still: what varies is this column's share
        rows = pd.concat([choose.features.iloc[[0]]] * len(choose), ignore_index=True)
        rows[name] = choose.features[name].to_numpy()
        alone[name] = model.decision_function(rows).std()
    assert added == pytest.approx(alone)


@pytest.mark.parametrize(
    ("column", "owner"),
    [
        ("level__dep_75.0", "dep"),
        ("level__dep_infrequent_sklearn", "dep"),
        ("step__com_rate_3.0", "com_rate"),
        ("line__missingindicator_com_rate", "com_rate"),
        ("line__com", "com"),
    ],
)
def test_owner_is_the_longest_name_that_fits(column: str, owner: str) -> None:
    assert linear.owner_of(column, ["com", "com_rate", "dep"]) == owner


def test_significant_digits() -> None:
    assert significant(np.array([[123456.7, -0.000123456789]]), 3).tolist() == [
        [123000.0, -0.000123]
    ]


@pytest.mark.parametrize("alpha", [0.01, 1.0, 1000.0])
def test_ridge_solved_sparse_is_scikit_learns_exact_one(alpha: float) -> None:
    rng = np.random.default_rng(3)
    steps = np.eye(12)[
        rng.integers(0, 12, 4000)
    ]  # steps of one column sum to one: collinear with the intercept
    dense = np.hstack([steps, rng.normal(size=(4000, 5)), np.ones((4000, 1))])
    target = dense @ rng.normal(size=18) + rng.normal(size=4000) + 1e4
    ours, exact = Ridge(alpha=alpha), Ridge(alpha=alpha, solver="cholesky").fit(dense, target)
    linear.fit_ridge(ours, sparse.csr_matrix(dense), target)
    assert ours.predict(sparse.csr_matrix(dense)) == pytest.approx(exact.predict(dense), abs=1e-6)
    assert ours.coef_ == pytest.approx(exact.coef_, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("second", [np.ones(50), np.arange(50.0) * 3 + 1])
def test_columns_that_depend_on_each_other_need_a_penalty(second) -> None:
    matrix = sparse.csr_matrix(np.column_stack([np.arange(50.0), second]))
    with pytest.raises(DataError, match=r"depend on each other.*set a larger alpha \(ridge\)"):
        linear.fit_ridge(Ridge(alpha=0.0), matrix, np.arange(50.0))


def regression_of(target, train, columns):
    return linear.fit_linear(
        model_type("ridge"), Recipe("regression", columns), train.features, target
    )


@pytest.mark.parametrize("middle", [-2_459_123.0, 2_459_123.0, 1e9])
def test_a_target_far_from_0_has_no_bias(middle: float, columns, train) -> None:
    spread = 50 * np.random.default_rng(5).normal(size=len(train.features))
    model = regression_of(middle + spread, train, columns)
    assert abs((middle + spread - model.predict(train.features)).mean()) < 0.05
    coefficients = model.named_steps["estimator"].coef_
    assert (coefficients == significant(coefficients, 6)).all()


def test_an_intercept_near_its_coefficients_has_their_digits(columns, train) -> None:
    target = 200 + 50 * np.random.default_rng(5).normal(size=len(train.features))
    intercept = regression_of(target, train, columns).named_steps["estimator"].intercept_
    assert intercept == significant(intercept, 6)


def test_a_target_that_never_varies_is_its_own_prediction(columns, train) -> None:
    model = regression_of(np.full(len(train.features), 7.0), train, columns)
    assert model.predict(train.features) == pytest.approx(7.0)


def test_what_a_solver_leaves_in_place_of_nothing_is_nothing() -> None:
    kept = linear.without_noise(np.array([[-3.8e-14, 2.0, -1e-3, 0.0]]))
    assert kept.tolist() == [[0.0, 2.0, -1e-3, 0.0]]
    assert linear.without_noise(np.zeros(3)).tolist() == [0.0, 0.0, 0.0]
