"""Calibration of fitted classifiers on rows they were not fitted on."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit, softmax
from sklearn.calibration import CalibratedClassifierCV, _convert_to_logits
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import KFold

from lockstep.errors import ConfigError
from lockstep.models.rounding import significant

DIGITS = 8
TEMPERATURES = (0.05, 20.0)
"""The least and the largest inverse temperature."""


def calibrated(
    method: str, estimator: Any, features: pd.DataFrame, target: NDArray[Any], task: str
) -> Any:
    """Return the estimator (``none``), or a CalibratedClassifierCV of it fitted on these rows.

    For several classes ``sigmoid`` and ``isotonic`` calibrate each against the others.
    ``temperature`` calibrates all with one number, which also works for rare classes. All numbers
    are rounded. Sigmoid and temperature are first refined to their optimum, because scikit-learn's
    optimizer stops where the last bits of the processor let it.
    """
    if method == "none":
        return estimator
    check_calibration(method, task)
    rows = _with_every_class(features, target, len(estimator.classes_))
    # The estimator is fitted, so any folds give the same predictions; the default folds need five
    # rows of every class.
    folds = list(KFold(2).split(rows[0]))
    model = CalibratedClassifierCV(FrozenEstimator(estimator), method=method, cv=folds)
    with warnings.catch_warnings():
        # It then ignores weights, as it should.
        warnings.filterwarnings("ignore", message="Since FrozenEstimator does not appear to accept")
        model.fit(*rows)
    model.cv = None
    fitted = model.calibrated_classifiers_[0].calibrators
    _settle(method, fitted, _input_scores(estimator, features), target)
    return model


def check_calibration(method: str, task: str) -> None:
    """Raise ConfigError for a calibration that the task doesn't support."""
    if task == "regression" and method != "none":
        raise ConfigError(f"calibration {method} needs classes; set calibration: none")
    if task == "binary" and method == "temperature":
        raise ConfigError(
            "calibration temperature is for three classes and more; set calibration: sigmoid"
        )


def _with_every_class(
    features: pd.DataFrame, target: NDArray[Any], classes: int
) -> tuple[pd.DataFrame, NDArray[Any]] | tuple[pd.DataFrame, NDArray[Any], NDArray[Any]]:
    """Return rows, target and, if a class is missing, weights: it gets a row of weight 0.

    Otherwise scikit-learn would not know the class.
    """
    missing = np.setdiff1d(np.arange(classes), target)
    if not len(missing):
        return features, target
    added = features.iloc[np.zeros(len(missing), dtype=int)]
    rows = pd.concat([features, added], ignore_index=True)
    weights = np.append(np.ones(len(target)), np.zeros(len(missing)))
    return rows, np.append(target, missing.astype(target.dtype)), weights


def base_estimator(model: Any) -> Any:
    """Return the estimator without its calibration."""
    return model.estimator.estimator if isinstance(model, CalibratedClassifierCV) else model


def _settle(
    method: str, calibrators: list[Any], scores: NDArray[np.float64], target: NDArray[Any]
) -> None:
    """Refine and round the fitted calibrators: one, one a class, or one temperature."""
    if method == "temperature":
        _settle_temperature(calibrators[0], scores, target)
        return
    for place, calibrator in enumerate(calibrators):
        if method == "isotonic":
            _round_isotonic(calibrator)
        elif len(calibrators) == 1:
            _settle_sigmoid(calibrator, scores, target)
        else:
            _settle_sigmoid(calibrator, scores[:, place], (target == place).astype(np.int8))


def _input_scores(estimator: Any, features: pd.DataFrame) -> NDArray[np.float64]:
    """Return what scikit-learn calibrates: the decision function, or else probabilities.

    Binary: the positive class's (rows,). Multiclass: (rows, classes).
    """
    if hasattr(estimator, "decision_function"):
        return np.asarray(estimator.decision_function(features), dtype=np.float64)
    chances = np.asarray(estimator.predict_proba(features), dtype=np.float64)
    return chances[:, 1] if chances.shape[1] == 2 else chances


def _settle_sigmoid(calibrator: Any, scores: NDArray[np.float64], target: NDArray[Any]) -> None:
    """Refine Platt's sigmoid (2000), P = 1 / (1 + exp(a s + b)), by Newton's method."""
    positives = float((target == 1).sum())
    negatives = len(target) - positives
    goal = np.where(target == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    a, b = float(calibrator.a_), float(calibrator.b_)
    for _ in range(20):
        chance = expit(-(a * scores + b))
        gap, spread = goal - chance, chance * (1 - chance)
        g_a, g_b = float((gap * scores).sum()), float(gap.sum())
        h_aa, h_ab = float((spread * scores**2).sum()), float((spread * scores).sum())
        h_bb = float(spread.sum())
        det = h_aa * h_bb - h_ab**2
        if det <= 0:  # the scores don't vary: keep what the optimizer found
            break
        a, b = a - (h_bb * g_a - h_ab * g_b) / det, b - (h_aa * g_b - h_ab * g_a) / det
    calibrator.a_, calibrator.b_ = (np.float64(v) for v in significant(np.array([a, b]), DIGITS))


def _round_isotonic(calibrator: Any) -> None:
    calibrator.y_thresholds_ = significant(calibrator.y_thresholds_, DIGITS)
    calibrator._build_f(calibrator.X_thresholds_, calibrator.y_thresholds_)


def _settle_temperature(calibrator: Any, scores: NDArray[np.float64], target: NDArray[Any]) -> None:
    """Refine the inverse temperature of the least log loss (Guo et al. 2017) by Newton's method.

    Without bounds there is no least loss if the scores separate the classes perfectly.
    """
    logits = _convert_to_logits(scores)
    right = logits[np.arange(len(target)), target]
    low, high = TEMPERATURES
    beta = float(np.clip(calibrator.beta_, low, high))
    for _ in range(50):
        chance = softmax(beta * logits, axis=1)
        mean = (chance * logits).sum(axis=1)
        slope = float((mean - right).mean())
        curve = float(((chance * logits**2).sum(axis=1) - mean**2).mean())
        if curve <= 0:
            break
        beta = float(np.clip(beta - slope / curve, max(low, beta / 2), min(high, beta * 2)))
    calibrator.beta_ = np.float64(significant(np.array(beta), DIGITS))
