"""How the threshold between two classes is chosen, by policy.

A candidate threshold takes the rows at it and above it, as ``DecisionRule.apply`` does.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lockstep.config.params import Decision
from lockstep.decision.policies import Array, declared, policy_of
from lockstep.errors import DataError

DIGITS = 6


def choose_threshold(decision: Decision, target: NDArray[Any], score: Array) -> float:
    """Return the policy's threshold on the scale of ``score``, with 6 decimals.

    ``f1`` maximises F1. ``cost`` minimises the declared costs. ``approval_rate`` leaves that share
    of the rows below the threshold. ``fixed`` is the declared threshold.
    """
    policy = policy_of(decision, "binary")
    if policy == "fixed":
        return declared(decision.threshold, "fixed", "threshold")
    if len(score) == 0:
        raise DataError("no rows to choose a threshold on; raise problems.NAME.split.validation")
    if policy == "approval_rate":
        rate = declared(decision.approval_rate, "approval_rate", "approval_rate")
        cuts, _, taken = _cuts(np.zeros_like(score), score)
        return float(cuts[np.argmin(np.abs(1 - taken / len(score) - rate))])
    cuts, hits, taken = _cuts(target == 1, score)
    positives = hits[-1]
    if policy == "f1":
        return float(cuts[np.argmax(2 * hits / (taken + positives))])
    false_alarms, missed = taken - hits, positives - hits
    cost = decision.cost_false_positive * false_alarms + decision.cost_false_negative * missed
    return float(cuts[np.argmin(cost)])


def rates(target: NDArray[Any], decided: NDArray[Any]) -> dict[str, float]:
    """Return the shares that are decided 0 (approved) and 1 (rejected), and positives in both."""
    rejected, positive = decided == 1, target == 1
    share = float(rejected.mean())
    return {
        "approval_rate": 1 - share,
        "reject_rate": share,
        "positive_rate_approved": float(np.mean(positive[~rejected])) if share < 1 else 0.0,
        "positive_rate_rejected": float(np.mean(positive[rejected])) if share > 0 else 0.0,
    }


def _cuts(target: NDArray[Any], score: Array) -> tuple[Array, Array, Array]:
    """Return candidate thresholds from high to low, and the positives and rows at or above each.

    A candidate lies halfway to the next lower score. It is rounded, so rows are counted by the
    rounded value. The first candidate takes no row, the last one takes all.
    """
    levels = np.unique(score)
    middle = np.round((levels[1:] + levels[:-1]) / 2, DIGITS)
    lowest, highest = min(0.0, levels[0]), np.round(levels[-1], DIGITS) + 10**-DIGITS
    cuts = np.unique(np.concatenate([[lowest], middle, [highest]]))[::-1]
    order = np.argsort(-score, kind="stable")
    taken = np.searchsorted(-score[order], -cuts, side="right")
    cumulated = np.concatenate([[0.0], np.cumsum(target[order].astype(np.float64))])
    return cuts, cumulated[taken], taken.astype(np.float64)
