"""Calibration of fitted classifiers on rows they were not fitted on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lockstep.errors import ConfigError
from lockstep.models.linear import significant

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

DIGITS = 8


def calibrated(method: str, estimator: Any, features: pd.DataFrame, target: NDArray[Any], task: str) -> Any:
    """Return the estimator as it is (``none``), or inside a CalibratedClassifierCV fitted on these rows.

    The calibrator's figures are rounded, the sigmoid's after a run to its exact optimum, because the
    optimizer of scikit-learn stops wherever the last bits of the processor let it.
    """
    if method == "none":
        return estimator
    if task != "binary":
        raise ConfigError(f"calibration {method} needs a binary problem; set calibration: none")
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.frozen import FrozenEstimator

    model = CalibratedClassifierCV(FrozenEstimator(estimator), method=method).fit(features, target)
    calibrator = model.calibrated_classifiers_[0].calibrators[0]
    if method == "sigmoid":
        _settle_sigmoid(calibrator, _input_scores(estimator, features), target)
    else:
        _round_isotonic(calibrator)
    return model


def base_estimator(model: Any) -> Any:
    """Return the estimator below the calibration, if there is any."""
    from sklearn.calibration import CalibratedClassifierCV

    return model.estimator.estimator if isinstance(model, CalibratedClassifierCV) else model


def _input_scores(estimator: Any, features: pd.DataFrame) -> NDArray[np.float64]:
    """Return what scikit-learn calibrates: the decision function where there is one, else the probability."""
    import numpy as np

    if hasattr(estimator, "decision_function"):
        return np.asarray(estimator.decision_function(features), dtype=np.float64)
    return np.asarray(estimator.predict_proba(features)[:, 1], dtype=np.float64)


def _settle_sigmoid(calibrator: Any, scores: NDArray[np.float64], target: NDArray[Any]) -> None:
    """Run Newton's method from where the optimizer stopped: Platt (2000), P = 1 / (1 + exp(a s + b))."""
    import numpy as np
    from scipy.special import expit

    positives = float((target == 1).sum())
    negatives = len(target) - positives
    goal = np.where(target == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    a, b = float(calibrator.a_), float(calibrator.b_)
    for _ in range(20):
        chance = expit(-(a * scores + b))
        gap, spread = goal - chance, chance * (1 - chance)
        g_a, g_b = float((gap * scores).sum()), float(gap.sum())
        h_aa, h_ab, h_bb = (
            float((spread * scores**2).sum()),
            float((spread * scores).sum()),
            float(spread.sum()),
        )
        det = h_aa * h_bb - h_ab**2
        if det <= 0:  # scores without spread: what the optimizer found stands
            break
        a, b = a - (h_bb * g_a - h_ab * g_b) / det, b - (h_aa * g_b - h_ab * g_a) / det
    calibrator.a_, calibrator.b_ = (np.float64(v) for v in significant(np.array([a, b]), DIGITS))


def _round_isotonic(calibrator: Any) -> None:
    calibrator.y_thresholds_ = significant(calibrator.y_thresholds_, DIGITS)
    calibrator._build_f(calibrator.X_thresholds_, calibrator.y_thresholds_)
