"""From probabilities to decisions: the policies of each task, and the class that is decided for among several."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lockstep.config.params import Decision
from lockstep.errors import ConfigError, unknown

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.floating[Any]]

POLICIES = {
    "binary": ("f1", "fixed", "approval_rate", "cost"),
    "multiclass": ("argmax", "cost_matrix"),
    "regression": ("interval",),
}
"""The policies of each task, its default first."""

Costs = dict[Any, dict[Any, float]]


def policy_of(decision: Decision, task: str) -> str:
    """Return the decision policy, the task's default where none is named; one of another task is a ConfigError."""
    known = POLICIES[task]
    policy = decision.policy or known[0]
    if policy not in known:
        raise ConfigError(
            f"decision.policy {policy} does not fit a {task} problem; set problems.NAME.decision.policy to "
            f"{' or '.join(known)}"
        )
    return policy


def costs_of(decision: Decision, classes: list[Any]) -> Costs | None:
    """Return the declared costs of a multiclass problem, None for argmax; a class it has not is a ConfigError."""
    if policy_of(decision, "multiclass") == "argmax":
        return None
    if not decision.costs:
        raise ConfigError(
            "decision.policy cost_matrix needs decision.costs; set problems.NAME.decision.costs"
        )
    matrix(decision.costs, classes)
    return decision.costs


def costs_in(card: dict[str, Any]) -> Costs | None:
    """Return the costs a model's card says decisions are made by, if any."""
    decision = card["decision"]
    return decision["costs"] if decision["policy"] == "cost_matrix" else None


def decide(score: Array, classes: list[Any], costs: Costs | None = None) -> NDArray[np.int64]:
    """Return the class decided for in each row of ``score`` (rows, classes): its place among ``classes``.

    The most probable one, or the one with the least expected cost; of equal ones the first.
    """
    if costs is None:
        return np.argmax(score, axis=1)
    table = matrix(costs, classes)
    # Added class by class and not as a matrix product, whose last bits differ between processors.
    expected = np.zeros(score.shape)
    for actual, row in enumerate(table):
        expected += score[:, [actual]] * row
    return np.argmin(expected, axis=1)


def matrix(costs: Costs, classes: list[Any]) -> Array:
    """Return the cost of each actual class (rows) decided for as each other (columns): 1, right ones 0, or declared."""
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
