"""What an alarm calls for: a retrain on newer data, or the version that was there before."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lockstep.monitoring.analysis import Analysis
from lockstep.monitoring.proposed_commands import RETRAIN, ROLLBACK


@dataclass(frozen=True)
class Proposal:
    """What to do, and why; a person decides."""

    action: str
    why: str


def propose(found: Analysis, can_go_back: bool) -> Proposal | None:
    """Return what the alarms call for; None without an alarm.

    A version that was worse from its first labelled month on, while no feature changed, was
    probably never as good as its test rows said: the version before it comes back, where
    ``can_go_back``. Otherwise the world changed, and newer data are the remedy.
    """
    if not found.alarms:
        return None
    changed = found.changed
    if changed:
        many = f"{len(changed)} feature{'s' * (len(changed) > 1)} changed"
        return Proposal(RETRAIN, f"{many}, so newer data are needed")
    if not was_always_worse(found):
        return Proposal(RETRAIN, "no feature changed, so what they say of the target did")
    why = "it was worse from its first labelled month on, and no feature changed"
    if can_go_back:
        return Proposal(ROLLBACK, f"{why}: the version before it may be better")
    return Proposal(RETRAIN, f"{why}; there is no version before it to go back to")


def was_always_worse(found: Analysis) -> bool:
    """Tell whether all months with labels are beyond the limit, without a change of features.

    Months after the one that raised the alarm have only begun.
    """
    until = len(found.months) if found.worse is None else found.months.index(found.worse) + 1
    distances = np.array(found.distances[:until])
    known = np.isfinite(distances)
    steady = all(not month.warning for month in found.months)
    return bool(known.any() and (distances[known] > found.limit).all() and steady)
