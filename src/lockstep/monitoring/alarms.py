"""When a change is an alarm: rules over windows, so that noise alone rarely raises one.

All windows are compared with one reference, so its error is the same in each of them: an unlucky
reference would raise alarms month after month. The limit grows with the reference's share of the
error, until noise alone raises at most MOST_FALSE alarms in FALSE_IN windows on average.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import comb

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm

from lockstep.config.monitoring import PerformanceSettings
from lockstep.monitoring.performance import Estimate, gap

ALARM, WARNING = "alarm", "warning"
FALSE_IN, MOST_FALSE = 200, 0.5
"""How many alarms noise alone may raise in so many windows, on average."""
MOST_RATIO = 100.0
"""From this ratio of errors on, the limit hardly grows."""


@dataclass(frozen=True)
class Finding:
    """An alarm or a warning: its rule, one line for people, and the features it concerns."""

    level: str
    rule: str
    message: str
    features: tuple[str, ...] = ()


def worse_windows(
    reference: Estimate, windows: Sequence[Estimate], settings: PerformanceSettings
) -> tuple[list[float], float, bool]:
    """Return each window's distance in standard errors, the limit, and whether it is an alarm.

    ``windows`` are in order, the newest last. The rule looks at those that are known: the labels
    of the newest month are late, and must not end an alarm.
    """
    distances = [gap(reference, one) if one.known else float("nan") for one in windows]
    known = [place for place, one in enumerate(windows) if one.known][-settings.of :]
    if not known or not reference.known:
        return distances, settings.z, False
    ratio = error_ratio(reference.error, [windows[place].error for place in known])
    limit = limit_for(round(ratio, 2), settings.windows, settings.of, settings.z)
    last = [distances[place] > limit for place in known]
    return distances, limit, last[-1] and sum(last) >= settings.windows


def error_ratio(reference: float, windows: Sequence[float]) -> float:
    """Return the reference's standard error over the windows' mean, at most MOST_RATIO.

    Windows have none where all scores are equal.
    """
    mean = float(np.mean(windows))
    return min(reference / mean, MOST_RATIO) if mean else MOST_RATIO


@lru_cache
def limit_for(ratio: float, windows: int, of: int, least: float) -> float:
    """Return by how many standard errors a window must be worse; at least ``least``.

    ``ratio`` is the reference's standard error over a window's.
    """
    if false_alarms(least, ratio, windows, of) <= MOST_FALSE:
        return least
    return float(brentq(lambda z: false_alarms(z, ratio, windows, of) - MOST_FALSE, least, 12))


def false_alarms(z: float, ratio: float, windows: int, of: int) -> float:
    """Return how many of FALSE_IN windows are alarms by noise alone, on average.

    The newest and at least ``windows`` - 1 of the ``of`` - 1 before it are beyond ``z``. Given the
    reference's error, the windows are independent; the mean is taken over that error.
    """
    points, weights = np.polynomial.hermite_e.hermegauss(101)
    beyond = norm.sf(z * np.hypot(1, ratio) - ratio * points)
    others = of - 1
    enough = sum(
        comb(others, k) * beyond**k * (1 - beyond) ** (others - k)
        for k in range(windows - 1, others + 1)
    )
    return float(FALSE_IN * (weights * beyond * enough).sum() / weights.sum())
