"""Calibration mends a score's scale, and its figures don't depend on where an optimizer stopped."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit, xlogy

from lockstep.errors import ConfigError
from lockstep.evaluation.metrics import Scored, evaluate
from lockstep.models import calibration as calibrate
from lockstep.models import training
from lockstep.models.linear import significant
from lockstep.models.model_type import Recipe


@pytest.fixture(scope="module")
def overfitted(columns, train, stop):
    params = {"n_estimators": 150, "learning_rate": 0.3, "max_depth": 6}
    return training.fit("xgboost", Recipe("binary", columns, params), train, stop).estimator


def test_none_is_the_estimator_itself(overfitted, stop) -> None:
    assert (
        calibrate.calibrated("none", overfitted, stop.features, stop.target, "binary") is overfitted
    )
    assert calibrate.base_estimator(overfitted) is overfitted


@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
def test_a_scale_that_is_off_is_mended_on_rows_not_used_for_it(
    method: str, overfitted, stop, choose
) -> None:
    model = calibrate.calibrated(method, overfitted, stop.features, stop.target, "binary")
    before, after = (
        evaluate(Scored(choose.target, training.scores(m, choose.features, "binary"), 0.5))
        for m in (overfitted, model)
    )
    assert after["calibration_error"] < before["calibration_error"] / 2
    assert calibrate.base_estimator(model) is overfitted


def test_the_sigmoid_is_at_the_optimum_of_its_loss(overfitted, stop) -> None:
    model = calibrate.calibrated("sigmoid", overfitted, stop.features, stop.target, "binary")
    found = model.calibrated_classifiers_[0].calibrators[0]
    score = overfitted.predict_proba(stop.features)[:, 1].astype(float)
    positives = stop.target.sum()
    goal = np.where(
        stop.target == 1, (positives + 1) / (positives + 2), 1 / (len(stop) - positives + 2)
    )

    def loss(x: np.ndarray) -> float:
        p = expit(-(x[0] * score + x[1]))
        return -float((xlogy(goal, p) + xlogy(1 - goal, 1 - p)).sum())

    best = minimize(
        loss, [found.a_, found.b_], method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-10}
    )
    assert [found.a_, found.b_] == pytest.approx(best.x, rel=1e-4)
    assert found.a_ == significant(np.array([found.a_]), 8)[0]


def test_a_start_elsewhere_ends_at_the_same_figures(overfitted, stop) -> None:
    model = calibrate.calibrated("sigmoid", overfitted, stop.features, stop.target, "binary")
    found = model.calibrated_classifiers_[0].calibrators[0]
    a, b = found.a_, found.b_
    found.a_, found.b_ = a * (1 + 1e-4), b * (1 - 1e-4)
    calibrate._settle_sigmoid(
        found, overfitted.predict_proba(stop.features)[:, 1].astype(float), stop.target
    )
    assert (found.a_, found.b_) == (a, b)


def test_isotonic_steps_are_rounded_and_never_fall(overfitted, stop, choose) -> None:
    model = calibrate.calibrated("isotonic", overfitted, stop.features, stop.target, "binary")
    steps = model.calibrated_classifiers_[0].calibrators[0].y_thresholds_
    assert (steps == significant(steps, 8)).all()
    order = np.argsort(overfitted.predict_proba(choose.features)[:, 1])
    assert (np.diff(model.predict_proba(choose.features)[order, 1]) >= 0).all()


def test_regression_is_not_calibrated(overfitted, stop) -> None:
    with pytest.raises(ConfigError, match="set calibration: none"):
        calibrate.calibrated("sigmoid", overfitted, stop.features, stop.target, "regression")


@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
def test_few_rows_of_a_class_are_enough(method: str, overfitted, stop, choose) -> None:
    for positives in (0, 1, 3):
        chosen = np.append(
            np.flatnonzero(stop.target == 1)[:positives], np.flatnonzero(stop.target == 0)[:4]
        )
        few = stop.take(np.isin(np.arange(len(stop.target)), chosen))
        model = calibrate.calibrated(method, overfitted, few.features, few.target, "binary")
        found = training.scores(model, choose.features, "binary")
        assert ((found >= 0) & (found <= 1)).all()
