"""Score scales: what a score of two classes means, and a threshold's equivalent on another scale.

Training with class weights and without calibration gives scores whose odds are ``positive_weight``
times those of a probability. On the ``balanced`` scale both classes weigh the same, so that weight
is negatives / positives of the training rows. Calibration removes any weight: its rows have none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lockstep.config.params import Decision, Training
from lockstep.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.floating[Any]]

PROBABILITY, BALANCED, WEIGHTED, RAW = "probability", "balanced", "weighted", "raw"
"""The scales: a probability, equal class weights, other class weights, a regression's value."""
DIGITS = 8


@dataclass(frozen=True)
class Scale:
    """What a model's scores mean: their odds are ``positive_weight`` times a probability's.

    ``class_ratio`` is negatives / positives of the training rows. It gives a threshold of the
    balanced scale its equivalent on this one.
    """

    name: str
    positive_weight: float = 1.0
    class_ratio: float | None = None

    @classmethod
    def recorded(cls, facts: Mapping[str, Any]) -> Scale:
        """Return the scale that a model's card or its version's tags record, else a probability."""
        name, ratio = facts.get("score_scale"), float(facts.get("class_ratio") or 0.0) or None
        if name in (BALANCED, WEIGHTED):
            return cls(name, float(facts.get("positive_weight") or 1.0), ratio)
        return cls(RAW if name == RAW else PROBABILITY, class_ratio=ratio)

    def is_scale(self, meant: str) -> bool:
        """Tell whether this is the scale ``meant``: with equal classes no weights balance them."""
        is_balanced = self.name == PROBABILITY and self.class_ratio == 1.0
        return meant == self.name or (meant == BALANCED and is_balanced)

    def equivalent(self, threshold: float, meant: str) -> float | None:
        """Return a threshold of the scale ``meant`` on this one; None if a weight is unknown."""
        weight = self.class_ratio if meant == BALANCED else 1.0
        if weight is None or (meant != BALANCED and self.positive_weight == 1.0):
            return None
        return equivalent(threshold, weight, self.positive_weight)


def scale_of(
    training: Training,
    task: str,
    target: NDArray[Any],
    positive_weight: Callable[[Mapping[str, Any], float], float],
) -> Scale:
    """Return the scale of a training's scores; ``target`` (rows,) is that of its training rows.

    ``positive_weight`` is the model type's: hyperparameters and class ratio → weight.
    """
    if task == "regression":
        return Scale(RAW)
    if task == "multiclass":
        return Scale(PROBABILITY)
    balanced = balance(target)
    calibrated = training.calibration != "none"
    weight = 1.0 if calibrated else positive_weight(training.params, balanced)
    if weight == 1.0:
        return Scale(PROBABILITY, class_ratio=balanced)
    return Scale(BALANCED if weight == balanced else WEIGHTED, weight, balanced)


def balance(target: NDArray[Any]) -> float:
    """Return negatives / positives, the weight of a positive row that balances both classes."""
    positives = int((target == 1).sum())
    return round((len(target) - positives) / max(positives, 1), DIGITS)


def equivalent(threshold: float, from_weight: float, to_weight: float) -> float:
    """Return the same threshold on a scale of another weight: odds are proportional to it."""
    if threshold in (0.0, 1.0):
        return threshold
    odds = threshold / (1 - threshold) * to_weight / from_weight
    return odds / (1 + odds)


def to_probability(score: Array, positive_weight: float) -> Array:
    """Return scores as probabilities: their odds are divided by the weight."""
    if positive_weight == 1.0:
        return score
    return score / (score + positive_weight * (1 - score))


def check_scale(decision: Decision, training: Training, scale: Scale) -> None:
    """Raise ConfigError, with the equivalent, for a fixed threshold that assumes another scale."""
    meant = decision.scale or scale.name
    if decision.policy != "fixed" or decision.threshold is None or scale.is_scale(meant):
        return
    same = scale.equivalent(decision.threshold, meant)
    assert same is not None, "a training knows its weights"
    remedy = "remove the class weights, or set calibration: sigmoid"
    if meant == BALANCED:
        remedy = (
            "set equal class weights (is_unbalance: true; class_weight, scale_pos_weight: "
            "balanced) and calibration: none"
        )
    own = f"problems.{training.problem}.decision"
    if scale.name != WEIGHTED:
        remedy += f", or set {own}.threshold: {same:.6g} with scale: {scale.name}"
    raise ConfigError(
        f"{own}.threshold {decision.threshold:g} assumes the {meant} scale, but {training.type} of "
        f"{training.problem} gives {scale.name} scores, where its equivalent is {same:.6g}: in "
        f"train.{training.problem}-{training.type} {remedy}"
    )
