"""Who defaults: a known model, so that the best reachable score is known."""

from __future__ import annotations

import math

import numpy as np

from lockstep.problems.credit_risk.sample.applicants import calibration
from lockstep.problems.draws import MILLION, Columns

DRIFT_EFFECT = 0.02
"""Logits a month by which a drift of strength 1 raises every risk."""
DRIFT_BURDEN = 0.01
"""Share a month by which a loan weighs more on an income at drift 1: a dearer living."""
LEVELS = [round(-8 + 0.01 * i, 2) for i in range(1601)]
CHANCES = [round(1 / (1 + math.exp(-level)), 6) for level in LEVELS]
"""Log-odds from -8 to 8 and their probabilities."""


def true_probability(applicants: Columns, gaps: Columns, drift: float) -> np.ndarray:
    """Return each application's probability of default, looked up: equal on every machine."""
    shifted = logits(applicants, gaps, drift) + DRIFT_EFFECT * drift
    return np.round(np.interp(shifted, LEVELS, CHANCES) * MILLION) / MILLION


def logits(applicants: Columns, gaps: Columns, drift: float = 0.0) -> np.ndarray:
    """Return the log-odds of default: risks added up, and beyond a knee each weighs more.

    As in the public table, few applications lie beyond the knee, and most of them default.
    """
    effects = calibration()["effects"]
    risk = numeric_risk(applicants, drift)
    for column in ("purpose", "housing", "earlier_default"):
        for level, effect in effects[column].items():
            risk = risk + effect * (applicants[column] == level)
    risk = risk + effects["employment_untold"] * gaps["employment_years"]
    beyond = np.maximum(0.0, risk - effects["knee"])
    odds = effects["base"] + effects["below"] * risk + effects["beyond"] * beyond
    return np.minimum(odds, effects["most"])


def numeric_risk(applicants: Columns, drift: float) -> np.ndarray:
    """Return the risk of the numbers, and of the loan's share of income: steep from .3 on."""
    effects, total = calibration()["effects"], np.zeros(len(applicants["income"]))
    for name, (center, slope, most) in effects["numbers"].items():
        total = total + slope * np.clip((applicants[name] - center) / abs(most - center), -1.5, 1.0)
    share, burden = applicants["loan_amount"] / applicants["income"], effects["burden"]
    share = share * (1 + DRIFT_BURDEN * drift)
    return total + np.interp(share, burden["share"], burden["risk"])
