"""The metrics agree with scikit-learn's, weighted or not, ties or not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from lockstep.errors import ConfigError
from lockstep.evaluation.metrics import (
    BINARY,
    Scored,
    best_of,
    better,
    check_metric,
    evaluate,
    metric_names,
    weighted_metrics,
)


def _rows(seed: int, rows: int = 400, digits: int = 8) -> Scored:
    rng = np.random.default_rng(seed)
    score = np.round(rng.beta(2, 3, rows), digits)
    target = (rng.random(rows) < score).astype(np.int8)
    target[:2] = (0, 1)
    return Scored(target, score, 0.4)


def _reference(rows: Scored, weights: np.ndarray) -> dict[str, float]:
    y, p = rows.target, rows.score
    chosen = p >= rows.threshold
    w = {"sample_weight": weights}
    fpr, tpr, _ = reference.roc_curve(y, p, drop_intermediate=False, **w)
    return {
        "roc_auc": reference.roc_auc_score(y, p, **w),
        "average_precision": reference.average_precision_score(y, p, **w),
        "f1": reference.f1_score(y, chosen, **w),
        "precision": reference.precision_score(y, chosen, **w),
        "recall": reference.recall_score(y, chosen, **w),
        "accuracy": reference.accuracy_score(y, chosen, **w),
        "log_loss": reference.log_loss(y, p, **w),
        "brier": reference.brier_score_loss(y, p, **w),
        "ks": float(np.abs(tpr - fpr).max()),
    }


@pytest.mark.parametrize("digits", [8, 2, 1])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_binary_metrics_equal_scikit_learn(seed: int, digits: int) -> None:
    rows = _rows(seed, digits=digits)
    weights = np.random.default_rng(seed).integers(0, 4, size=(3, len(rows.target)))
    found = weighted_metrics(rows)(weights.T.astype(float))
    assert tuple(found) == BINARY
    for i in range(3):
        for name, value in _reference(rows, weights[i].astype(float)).items():
            assert found[name][i] == pytest.approx(value, abs=1e-9), name


def test_one_weighting_of_ones_is_the_plain_figure() -> None:
    rows = _rows(3)
    found = evaluate(rows)
    for name, value in _reference(rows, np.ones(len(rows.target))).items():
        assert found[name] == pytest.approx(value, abs=1e-9), name


def test_calibration_error_is_the_weighted_gap_of_each_bin() -> None:
    # two bins: .1 against a rate of 1/2 (2 rows), .9 against a rate of 1 (2 rows)
    rows = Scored(np.array([0, 1, 1, 1]), np.array([0.1, 0.1, 0.9, 0.9]), 0.5)
    assert evaluate(rows)["calibration_error"] == pytest.approx((2 * 0.4 + 2 * 0.1) / 4)


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_ranking_metrics_ignore_a_monotone_change_of_scale(seed: int) -> None:
    rows = _rows(seed, rows=60, digits=2)
    squeezed = Scored(rows.target, rows.score**3, rows.threshold**3)
    for name in ("roc_auc", "average_precision", "ks", "f1"):
        assert evaluate(rows)[name] == pytest.approx(evaluate(squeezed)[name])


def test_regression_metrics_equal_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    target = rng.normal(2, 1, 300)
    rows = Scored(target, target + rng.normal(0, 0.5, 300))
    weights = rng.integers(0, 3, 300)
    found = weighted_metrics(rows)(weights[:, None].astype(float))
    w = {"sample_weight": weights}
    assert found["rmse"][0] == pytest.approx(
        reference.root_mean_squared_error(target, rows.score, **w)
    )
    assert found["mae"][0] == pytest.approx(reference.mean_absolute_error(target, rows.score, **w))
    assert found["r2"][0] == pytest.approx(reference.r2_score(target, rows.score, **w))


def test_nothing_chosen_gives_zeros_and_no_warning() -> None:
    rows = Scored(np.array([0, 1]), np.array([0.1, 0.2]), 0.9)
    found = evaluate(rows)
    assert (found["f1"], found["precision"], found["recall"]) == (0, 0, 0)


def test_unknown_metric_and_task_name_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'roc_auc'"):
        check_metric("roc_acu", "binary")
    with pytest.raises(ConfigError, match="unknown task"):
        metric_names("ranking")


def test_better_knows_the_direction() -> None:
    assert better("roc_auc", 0.9, 0.8)
    assert better("log_loss", 0.3, 0.4)
    assert not better("roc_auc", 0.8, 0.8)


def test_the_best_of_values_goes_by_the_metric_and_ties_to_the_first() -> None:
    values = {"one": 0.2, "two": 0.3, "three": 0.3}
    assert best_of(values, "roc_auc") == "two"
    assert best_of(values, "log_loss") == "one"


@pytest.mark.parametrize("level", [0.0, 0.1, 1 / 3, 1e9 + 0.1])
def test_equal_targets_have_no_explained_variance(level: float) -> None:
    target = np.full(7, level)
    assert evaluate(Scored(target, target))["r2"] == 1.0
    assert evaluate(Scored(target, target + 0.5))["r2"] == 0.0
    assert evaluate(Scored(target[:1], target[:1] - 2.0))["r2"] == 0.0
    rows = Scored(np.append(target, level + 3), np.append(target, level) + 0.5)
    weights = np.ones((8, 2))
    weights[7, 1] = 0  # a resample of equal targets only
    whole, equal = weighted_metrics(rows)(weights)["r2"]
    assert whole == pytest.approx(reference.r2_score(rows.target, rows.score))
    assert equal == 0.0
