"""Blends: members fitted on the same rows, and the weights of their mean.

The weights minimise the log loss or squared error of rows that no member learned from. Both are
convex in the weights, and there are few members, so the optimum is found exactly: by Newton's
method for each set of members, of which the best with positive weights counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit, softmax
from sklearn.ensemble import VotingClassifier, VotingRegressor
from sklearn.preprocessing import LabelEncoder

from lockstep.decision.score_scale import balance
from lockstep.models.matrices import Matrix
from lockstep.models.model_type import FastScorer, Fitted, Floats, ModelType, OnStep, Parts, Recipe
from lockstep.models.training import folds_of, silent
from lockstep.models.types import model_type, type_of

if TYPE_CHECKING:
    from lockstep.models.types.blend import Type

WEIGHT_DECIMALS = 4
"""Processors differ in the last bits of an optimum, and a validation part tells less than this."""
LEAST_CHANCE = 1e-6
"""What a member's smaller probability counts as: a forest's may be 0."""
NODES, NODE_WEIGHTS = np.polynomial.legendre.leggauss(64)
"""Gauss-Legendre quadrature; on softmax paths up to 20 long its error is below 1e-9."""

Terms = Callable[[Floats], tuple[float, Floats, Floats]]
"""A loss as a function of the weights: its value, gradient and Hessian."""


def vote(task: str, members: Mapping[str, Any], weights: list[float] | None) -> Any:
    """Return scikit-learn's mean of the members by name; given weights, a fitted one."""
    named = list(members.items())
    if task == "regression":
        found = VotingRegressor(named, weights=weights)
    else:
        found = VotingClassifier(named, voting="soft", weights=weights)
    if weights is None:
        return found
    found.estimators_ = list(members.values())
    if task != "regression":
        found.le_ = LabelEncoder().fit(found.estimators_[0].classes_)
        found.classes_ = found.le_.classes_
    return found


def fit_blend(
    kind: Type, recipe: Recipe, train: Matrix, stop: Matrix, rounds: int, on_step: OnStep
) -> Fitted:
    """Fit the members and their weights; members without weight are left out."""
    members, folds = kind.members(recipe), int(recipe.params.get("weight_folds", 0))
    fitted = {}
    for done, (name, own) in enumerate(members.items()):
        on_step(done, len(members), None)
        fitted[name] = model_type(name).fit(own, train, stop, rounds, silent).estimator
    on_step(len(members), len(members), None)
    if len(fitted) == 1:
        return Fitted(vote(recipe.task, fitted, [1.0]))
    if folds:
        outputs = out_of_fold(members, folds, train, stop, rounds)
    else:
        outputs = outputs_of(fitted, recipe.task, stop)
    rows = train if folds else stop
    heavy = 1.0
    if recipe.task == "binary":
        heavy = kind.positive_weight(recipe.params, balance(train.target))
    found = blend_weights(outputs, rows.target, recipe.task, heavy)
    kept = {name: w for name, w in zip(fitted, found, strict=True) if w}
    return Fitted(vote(recipe.task, {name: fitted[name] for name in kept}, list(kept.values())))


def outputs_of(fitted: Mapping[str, Any], task: str, rows: Matrix) -> Floats:
    """Return the members' outputs: (members, rows), or (members, rows, classes)."""
    encoded = rows.features.to_numpy(dtype=np.float64)
    found = [model_type(name).scorer(one, task).outputs(encoded) for name, one in fitted.items()]
    return np.asarray(found, dtype=np.float64)


def out_of_fold(
    members: Mapping[str, Recipe], folds: int, train: Matrix, stop: Matrix, rounds: int
) -> Floats:
    """Return the outputs for the training rows, each by members fitted on the other folds."""
    task = next(iter(members.values())).task
    ids, found = folds_of(train, folds, task, scored=False), None
    for fold in range(folds):
        rest = train.take(ids != fold)
        fitted = {
            name: model_type(name).fit(own, rest, stop, rounds, silent).estimator
            for name, own in members.items()
        }
        outputs = outputs_of(fitted, task, train.take(ids == fold))
        if found is None:
            found = np.empty((len(members), len(train), *outputs.shape[2:]))
        found[:, ids == fold] = outputs
    assert found is not None, "there are folds"
    return found


def blend_weights(
    outputs: Floats, target: NDArray[Any], task: str, positive_weight: float = 1.0
) -> list[float]:
    """Return each member's weight: at least 0, ``WEIGHT_DECIMALS`` decimals, 1 together.

    A positive row counts ``positive_weight`` times, as it did when the members were fitted.
    """
    if task == "regression":
        best = least_on_simplex(_squared_error(outputs, target), len(outputs))
    else:
        positive = target.astype(np.int64)
        if task == "binary":
            right = np.where(positive == 1, outputs, 1 - outputs)
            counts = np.where(positive == 1, positive_weight, 1.0)
        else:
            right = outputs[:, np.arange(len(target)), positive]
            counts = np.ones(len(target))
        right = np.maximum(right, LEAST_CHANCE)
        best = least_on_simplex(_log_loss(right, counts), len(outputs))
    rounded = np.round(best, WEIGHT_DECIMALS)
    largest = int(rounded.argmax())
    rounded[largest] += 1.0 - rounded.sum()
    return [round(weight, WEIGHT_DECIMALS) for weight in rounded.tolist()]


def _log_loss(right: Floats, counts: Floats) -> Terms:
    """Return the log loss of mixed probabilities; ``right`` are the true class's, by member."""
    shares = counts / counts.sum()

    def terms(weights: Floats) -> tuple[float, Floats, Floats]:
        mixed = (weights[:, np.newaxis] * right).sum(axis=0)
        if mixed.min() <= 0:  # a negative weight
            return np.inf, np.zeros(len(right)), np.eye(len(right))
        ratio = right / mixed
        slope = -(ratio * shares).sum(axis=1)
        curve = np.array([(ratio * (one * shares)).sum(axis=1) for one in ratio])
        return float(-(np.log(mixed) * shares).sum()), slope, curve

    return terms


def _squared_error(outputs: Floats, target: NDArray[Any]) -> Terms:
    """Return the mean squared error of the mean, in units of the target's variance."""
    gaps = (outputs - target) / max(float(np.std(target)), np.finfo(float).tiny)
    products = np.array([(gaps * one).mean(axis=1) for one in gaps])

    def terms(weights: Floats) -> tuple[float, Floats, Floats]:
        slope = (products * weights).sum(axis=1)
        return float((slope * weights).sum()), 2 * slope, 2 * products

    return terms


def least_on_simplex(terms: Terms, members: int) -> Floats:
    """Return the weights, at least 0 and 1 together, of the least value of a convex function."""
    best, least = np.full(members, 1 / members), np.inf
    for chosen in _subsets(members):
        weights = np.zeros(members)
        weights[chosen] = 1 / len(chosen)
        weights = _newton(terms, weights, chosen)
        value = terms(weights)[0]
        if weights.min() >= 0 and value < least:
            best, least = weights, value
    return best


def _subsets(members: int) -> Iterator[list[int]]:
    for size in range(1, members + 1):
        yield from map(list, combinations(range(members), size))


def _newton(terms: Terms, weights: Floats, chosen: list[int]) -> Floats:
    """Return the optimum over the chosen weights, whose sum stays; others stay too."""
    *free, last = chosen
    for _ in range(50 if free else 0):
        value, slope, curve = terms(weights)
        reduced = curve[free] - curve[last]
        reduced = reduced[:, free] - reduced[:, [last]]
        tiny = 1e-12 * max(float(np.trace(reduced)), np.finfo(float).tiny)
        move = np.linalg.solve(reduced + tiny * np.eye(len(free)), slope[last] - slope[free])
        step = np.zeros(len(weights))
        step[free], step[last] = move, -move.sum()
        while terms(weights + step)[0] > value and np.abs(step).max() > 1e-10:
            step = step / 2
        if np.abs(step).max() <= 1e-10:
            break
        weights = weights + step
    return weights


def importance(estimator: Any, features: pd.DataFrame) -> dict[str, float]:
    """Return the weighted mean of the members' importances, each as shares of its sum."""
    total = dict.fromkeys(map(str, features), 0.0)
    for (_, member), weight in zip(estimator.estimators, estimator.weights, strict=True):
        found = type_of(member).importance(member, features)
        whole = sum(found.values()) or 1.0
        for name, value in found.items():
            total[name] += weight * value / whole
    return total


class BlendScorer:
    """The weighted mean of the members' fast scorers; its margin is its output."""

    def __init__(self, estimator: Any, task: str) -> None:
        self.task, self.weights = task, list(estimator.weights)
        kinds: list[tuple[ModelType, Any]] = [(type_of(one), one) for one in estimator.estimators_]
        self.members = [kind.scorer(one, task) for kind, one in kinds]

    @property
    def scorer(self) -> FastScorer:
        """The blend as a scorer."""
        return FastScorer(self.mean, self.mean, self.mean, self.explainer, "probability")

    def mean(self, encoded: Floats) -> Floats:
        """Return the mean by the operations of scikit-learn's, so with its bits."""
        found = np.asarray([member.outputs(encoded) for member in self.members])
        if self.task == "regression":
            return np.average(found.T, axis=1, weights=self.weights)
        return np.average(found, axis=0, weights=self.weights)

    def explainer(self) -> Callable[[Floats], Parts]:
        """Return the weighted sum of the members' parts, all as parts of their outputs."""
        parts_of = [self._output_parts(member) for member in self.members]

        def parts(encoded: Floats) -> Parts:
            found = [explain(encoded) for explain in parts_of]
            weighted = list(zip(self.weights, found, strict=True))
            return (
                np.asarray(sum(weight * bases for weight, (bases, _) in weighted)),
                np.asarray(sum(weight * values for weight, (_, values) in weighted)),
            )

        return parts

    def _output_parts(self, member: FastScorer) -> Callable[[Floats], Parts]:
        explain = member.explainer()
        if self.task == "regression" or member.margin_scale == "probability":
            return explain
        return lambda encoded: as_probabilities(*explain(encoded))


def as_probabilities(bases: Floats, parts: Floats) -> Parts:
    """Return the parts of log-odds or logits as parts of probabilities, and the bases'.

    ``bases`` are (classes,), ``parts`` (rows, classes, columns); a binary model has one class. Each
    part counts with the mean slope of the probability on the straight way from the base to the
    row: Aumann and Shapley's values, for one class the rescale rule of Chen, Lundberg and Lee
    (2022). So the parts add up to the probability minus the base's.
    """
    totals = parts.sum(axis=2)
    shares = (NODES + 1) / 2
    way = bases + shares[:, np.newaxis, np.newaxis] * totals
    if len(bases) == 1:
        chance = expit(way)
        slope = np.tensordot(NODE_WEIGHTS / 2, chance * (1 - chance), axes=1)
        return expit(bases), parts * slope[:, :, np.newaxis]
    chance = softmax(way, axis=2)
    mean = np.tensordot(NODE_WEIGHTS / 2, chance, axes=1)
    product = np.einsum("n,nrc,nrd->rcd", NODE_WEIGHTS / 2, chance, chance)
    slopes = np.eye(len(bases)) * mean[:, np.newaxis, :] - product
    return softmax(bases), slopes @ parts
