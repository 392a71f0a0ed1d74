"""Score scales: what a score of two classes means, and how a threshold of one scale is told on another.

A model that was trained with its classes weighted, and is not calibrated, gives odds that are ``positive_weight``
times those of a probability. ``balanced`` is the scale of classes that weigh alike (negatives / positives of the
training rows); calibration takes any weight out again, because it is fitted on rows as they come.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lockstep.config.params import Decision, Training
from lockstep.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.floating[Any]]

PROBABILITY, BALANCED, WEIGHTED, RAW = "probability", "balanced", "weighted", "raw"
"""The scales: a probability, both classes weighing alike, any other weight, and what is no score of classes."""
DIGITS = 8


@dataclass(frozen=True)
class Scale:
    """What a model's scores mean: the scale's name, and by what its odds are more than a probability's.

    ``class_ratio`` is the weight at which two classes weigh alike in the training rows: with it a threshold that is
    meant on the balanced scale has its equivalent on this one.
    """

    name: str
    positive_weight: float = 1.0
    class_ratio: float | None = None


def scale_of(training: Training, task: str, target: NDArray[Any]) -> Scale:
    """Return the scale that a training's scores are on; ``target`` is that of its training rows."""
    if task == "regression":
        return Scale(RAW)
    if task == "multiclass":
        return Scale(PROBABILITY)
    balanced = balance(target)
    weight = 1.0 if training.calibration != "none" else _declared_weight(training.params, balanced)
    if weight == 1.0:
        return Scale(PROBABILITY, class_ratio=balanced)
    return Scale(BALANCED if weight == balanced else WEIGHTED, weight, balanced)


def balance(target: NDArray[Any]) -> float:
    """Return the weight of a positive row at which both classes weigh alike: negatives / positives."""
    positives = int((target == 1).sum())
    return round((len(target) - positives) / max(positives, 1), DIGITS)


def _declared_weight(params: dict[str, Any], balanced: float) -> float:
    """Return the weight of a positive row, in negative ones, that hyperparameters declare."""
    declared, classes = params.get("scale_pos_weight"), params.get("class_weight")
    if params.get("is_unbalance") or declared == BALANCED:
        return balanced
    if isinstance(classes, str):  # balanced, or balanced_subsample
        return balanced
    if isinstance(classes, dict):
        weights = {str(label): float(weight) for label, weight in classes.items()}
        return weights.get("1", 1.0) / weights.get("0", 1.0)
    return float(declared or 1.0)


def resolved_weights(params: dict[str, Any], target: NDArray[Any]) -> dict[str, Any]:
    """Return hyperparameters with ``scale_pos_weight: balanced`` as the number it is for these training rows."""
    if params.get("scale_pos_weight") != BALANCED:
        return params
    return {**params, "scale_pos_weight": balance(target)}


def equivalent(threshold: float, from_weight: float, to_weight: float) -> float:
    """Return a threshold's place on another scale: odds go with the weight."""
    if threshold in (0.0, 1.0):
        return threshold
    odds = threshold / (1 - threshold) * to_weight / from_weight
    return odds / (1 + odds)


def to_probability(score: Array, positive_weight: float) -> Array:
    """Return scores on the probability scale: their odds divided by the weight."""
    if positive_weight == 1.0:
        return score
    return score / (score + positive_weight * (1 - score))


def check_scale(decision: Decision, training: Training, scale: Scale, balanced: float) -> None:
    """Refuse a fixed threshold that is meant on another scale than the training's, showing its equivalent."""
    meant = decision.scale
    if decision.policy != "fixed" or decision.threshold is None or meant in (None, scale.name):
        return
    weight = balanced if meant == BALANCED else 1.0
    same = round(equivalent(decision.threshold, weight, scale.positive_weight), 6)
    remedy = "let classes weigh alike (is_unbalance: true; class_weight, scale_pos_weight: balanced), calibration: none"
    if meant == PROBABILITY:
        remedy = "take the weights of the classes out, or set calibration: sigmoid"
    own = f"problems.{training.problem}.decision"
    move = (
        f"set {own}.threshold: {same:g} with scale: {scale.name}" if scale.name != WEIGHTED else ""
    )
    raise ConfigError(
        f"{own}.threshold {decision.threshold:g} is meant on the {meant} scale, but {training.type} of "
        f"{training.problem} gives {scale.name} scores, where the same decision is {same:g}: in "
        f"train.{training.problem}-{training.type} {remedy}{f', or {move}' if move else ''}"
    )
