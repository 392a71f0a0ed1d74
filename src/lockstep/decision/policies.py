"""The decision policies of each task, and the costs that are declared for several classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from lockstep.config.params import Decision
from lockstep.errors import ConfigError, unknown

POLICIES = {
    "binary": ("f1", "fixed", "approval_rate", "cost"),
    "multiclass": ("argmax", "cost_matrix"),
    "regression": ("interval",),
}
"""The policies of each task, its default first."""

Array = NDArray[np.floating[Any]]
Value = TypeVar("Value")
Costs = dict[Any, dict[Any, float]]
"""Actual class → predicted class → cost."""


def policy_of(decision: Decision, task: str) -> str:
    """Return the decision policy, or the task's default; another task's raises ConfigError."""
    known = POLICIES[task]
    policy = decision.policy or known[0]
    if policy not in known:
        raise ConfigError(
            f"decision.policy {policy} does not fit a {task} problem; "
            f"set problems.NAME.decision.policy to {' or '.join(known)}"
        )
    return policy


def costs_of(decision: Decision, classes: Sequence[Any]) -> Costs | None:
    """Return the declared costs of a multiclass problem; None for the policy argmax.

    Missing costs and costs of an unknown class raise ConfigError.
    """
    if policy_of(decision, "multiclass") == "argmax":
        return None
    costs = declared(decision.costs or None, "cost_matrix", "costs")
    matrix(costs, classes)
    return costs


def declared(value: Value | None, policy: str, key: str) -> Value:
    """Return a setting that a policy needs; ConfigError if it is missing."""
    if value is None:
        raise ConfigError(
            f"decision.policy {policy} needs decision.{key}; set problems.NAME.decision.{key}"
        )
    return value


def costs_in(card: dict[str, Any]) -> Costs | None:
    """Return the costs that a model's card records, if it decides by costs."""
    decision = card["decision"]
    return decision["costs"] if decision["policy"] == "cost_matrix" else None


def matrix(costs: Costs, classes: Sequence[Any]) -> Array:
    """Return the cost of each actual class (rows) for each predicted class (columns).

    What ``costs`` does not name costs 1; a right prediction costs 0.
    """
    places = {str(label): place for place, label in enumerate(classes)}
    table = 1.0 - np.eye(len(classes))
    for actual, row in costs.items():
        for predicted, cost in row.items():
            table[_place(actual, places), _place(predicted, places)] = cost
    return table


def _place(label: Any, places: dict[str, int]) -> int:
    if str(label) not in places:
        raise ConfigError(f"decision.costs: {unknown('class', str(label), places)}")
    return places[str(label)]
