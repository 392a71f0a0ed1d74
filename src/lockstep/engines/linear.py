"""Linear models on Spark: each task adds up its rows' derivatives, the driver takes the steps.

The optimum is that of one machine, and coefficients are rounded as there. Sums are added in the
order of the partitions, so the number of executors changes no bit.
"""

from __future__ import annotations

import secrets
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial, reduce
from operator import add
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyspark.sql import SparkSession
from scipy.special import expit, logsumexp
from sklearn.utils.optimize import _newton_cg

from lockstep.engines.partitions import TrainingRows, class_weights
from lockstep.engines.tasks import run_tasks
from lockstep.errors import DataError
from lockstep.models.linear import refined_solution, solve_ridge, solved_linear
from lockstep.models.model_type import Fitted, Recipe
from lockstep.models.types._linear import Linear

Floats = NDArray[np.float64]
STEPS, HALVINGS = 100, 30
TOLERANCE, LARGEST_SLOPE = 1e-11, 1e-7
"""The slope of the mean loss that ends the search, and the largest one that is an optimum."""
FLAT = 1e-12
"""The share of the loss below which its rounding hides a step's gain."""
MOST_UNKNOWNS = 3000
"""The most coefficients of all classes whose second derivatives are held, as 72 MB a partition."""
MOST_BYTES = 256 * 1024**2
"""The most second derivatives that the driver collects at once: a driver of 1 GB holds them."""
_VIEWED: dict[Any, tuple[Any, Floats]] = {}
"""In a worker: the view's matrix and the target of the partitions that it was last asked for."""


@dataclass(frozen=True)
class Sums:
    """Sums over rows: loss and derivatives by the coefficients, the intercept last."""

    loss: float
    slope: Floats
    curve: Floats = field(default_factory=lambda: np.zeros(()))

    def __add__(self, other: Sums) -> Sums:
        return Sums(self.loss + other.loss, self.slope + other.slope, self.curve + other.curve)


@dataclass(frozen=True)
class Viewed:
    """The training rows as a fitted view shows them, a partition at a time."""

    rows: TrainingRows
    view: Any
    weights: Floats
    """Weight of a row, by its class."""
    token: str = field(default_factory=secrets.token_hex)
    """Of this solution alone: by the next fit of a session, the same files may hold other rows."""

    def partition(self, number: int) -> tuple[Any, Floats]:
        """Return the view's sparse matrix and the target of one partition, kept by the worker."""
        key = self.token, number
        if key not in _VIEWED:
            for old in [known for known in _VIEWED if known[0] != self.token]:
                del _VIEWED[old]
            matrix = self.rows.read_partition(number)
            _VIEWED[key] = self.view.transform(matrix.features), matrix.target
        return _VIEWED[key]


def fit_linear_on_spark(
    spark: SparkSession, kind: Linear, recipe: Recipe, rows: TrainingRows
) -> Fitted:
    """Fit a linear type; see ``ModelType.fit``."""
    features = rows.columns(recipe.columns.names)
    target = rows.target
    solve = {"binary": _solve_binary, "multiclass": _solve_classes, "regression": _solve_ridge}

    def solved(estimator: Any, view: Any) -> None:
        width = len(view.get_feature_names_out())
        weights = class_weights(getattr(estimator, "class_weight", None), target)
        viewed = Viewed(rows, view, weights)
        shared = spark.sparkContext.broadcast(viewed)
        ask = partial(_ask, spark, shared, len(rows.partitions))
        solve[recipe.task](estimator, Problem(ask, target, weights, width))
        shared.unpersist()

    return Fitted(solved_linear(kind, recipe, features, solved))


@dataclass(frozen=True)
class Problem:
    """What a solver asks of the tasks, and what the driver knows itself."""

    ask: Callable[..., Any]
    target: NDArray[Any]
    weights: Floats
    width: int

    @property
    def total(self) -> float:
        """The sum of the rows' weights."""
        return float(self.weights[self.target].sum())


def _ask(
    spark: SparkSession,
    shared: Any,
    partitions: int,
    sums: Callable[..., Any],
    *given: Any,
    square: int = 0,
) -> Any:
    """Return the sum of what each partition answers, in their order.

    Answers with a matrix of ``square`` rows and columns are collected in groups of MOST_BYTES.
    """
    step = max(1, MOST_BYTES // max(1, 8 * square**2))
    groups = (range(partitions)[first : first + step] for first in range(0, partitions, step))
    work = partial(_answer, shared, sums, given)
    return reduce(add, (found for group in groups for found in run_tasks(spark, work, group)))


def _answer(shared: Any, sums: Callable[..., Any], given: tuple[Any, ...], number: int) -> Any:
    viewed: Viewed = shared.value
    return sums(*viewed.partition(number), viewed.weights, *given)


# ---------------------------------------------------------------- Newton's method: two classes


def _solve_binary(estimator: Any, problem: Problem) -> None:
    """Find the optimum of two classes' log loss."""
    penalty = np.full(problem.width + 1, 1.0 / (estimator.C * problem.total))
    penalty[-1] = 0.0

    def at(place: Floats, curve: bool = True) -> Sums:
        square = len(place) if curve else 0
        found = problem.ask(_logistic, place, curve, square=square)
        return _penalised(found, place, penalty, problem.total)

    place, steps = _newton(at, len(penalty))
    _set(estimator, problem, place[None, :], steps)


def _newton(at: Callable[..., Sums], size: int) -> tuple[Floats, int]:
    """Return optimum and number of Newton's steps, each halved while the loss does not fall."""
    place = np.zeros(size)
    here = at(place)
    steps = 0
    while np.abs(here.slope).max() > TOLERANCE and steps < STEPS:
        step = refined_solution(here.curve, here.slope)
        share = _step_size(at, place, step, here)
        if not share:
            break
        place, steps = place - share * step, steps + 1
        here = at(place)
    _check_slope(here.slope)
    return place, steps


def _check_slope(slope: Floats) -> None:
    """Raise DataError if the slope that is left is not that of an optimum."""
    if np.abs(slope).max() > LARGEST_SLOPE:
        raise DataError("logistic regression did not converge on Spark; set a smaller C")


def _set(estimator: Any, problem: Problem, place: Floats, steps: int) -> None:
    """Set what scikit-learn's fit sets, in its order: it is part of a model's digest."""
    estimator.n_features_in_ = problem.width
    estimator.classes_ = np.unique(problem.target)
    estimator.n_iter_ = np.array([steps], dtype=np.int32)
    estimator.coef_, estimator.intercept_ = place[:, :-1].copy(), place[:, -1].copy()


def _step_size(at: Callable[..., Sums], place: Floats, step: Floats, here: Sums) -> float:
    """Return how much of a step makes the loss smaller; 0 if nothing does, near the optimum."""
    gain, size = float(here.slope @ step), 1.0
    if gain <= FLAT * abs(here.loss):  # the loss can't tell, and the full step is right
        return 1.0
    for _ in range(HALVINGS):
        if at(place - size * step, False).loss <= here.loss - 1e-4 * size * gain:
            return size
        size /= 2
    return 0.0


def _logistic(
    matrix: Any, target: NDArray[Any], weights: Floats, place: Floats, curve: bool
) -> Sums:
    """Return loss and derivatives of two classes' log loss at ``place``."""
    margin = matrix @ place[:-1] + place[-1]
    weight, sign = weights[target], np.where(target == 1, 1.0, -1.0)
    loss = float((weight * np.logaddexp(0.0, -sign * margin)).sum())
    chance = expit(margin)
    gap = weight * (chance - target)
    slope = np.append(matrix.T @ gap, gap.sum())
    if not curve:
        return Sums(loss, slope)
    bend = weight * chance * (1 - chance)
    return Sums(loss, slope, _bordered(matrix, bend))


def _bordered(matrix: Any, bend: Floats) -> Floats:
    """Return X'WX of a matrix with a column of ones added."""
    inner = (matrix.T @ matrix.multiply(bend[:, None]).tocsr()).toarray()
    edge = matrix.T @ bend
    return np.block([[inner, edge[:, None]], [edge[None, :], np.array([[bend.sum()]])]])


def _penalised(sums: Sums, place: Floats, penalty: Floats, total: float) -> Sums:
    """Return the mean loss with its penalty."""
    curve = sums.curve / total
    if curve.ndim:
        np.fill_diagonal(curve, curve.diagonal() + penalty)
    loss = sums.loss / total + 0.5 * float((penalty * place**2).sum())
    return Sums(loss, sums.slope / total + penalty * place, curve)


# ---------------------------------------------------------------- several classes


def _solve_classes(estimator: Any, problem: Problem) -> None:
    """Find the optimum of several classes' log loss.

    Many coefficients take conjugate gradients, which never hold all second derivatives.
    """
    loss = ClassLoss(problem, len(np.unique(problem.target)), estimator.C)
    small = loss.penalty.size <= MOST_UNKNOWNS
    flat, steps = _newton(loss.at, loss.penalty.size) if small else _conjugate(loss, estimator)
    _set(estimator, problem, flat.reshape(loss.shape), steps)


def _conjugate(loss: ClassLoss, estimator: Any) -> tuple[Floats, int]:
    """Return optimum and number of steps by scikit-learn's solver for one machine."""
    with warnings.catch_warnings():
        # The slope that is left tells whether the place is right.
        warnings.filterwarnings("ignore", message="Line Search failed")
        ways = {"grad_hess": loss.curved, "func": loss.value, "grad": loss.slope}
        limits = {"tol": estimator.tol, "maxiter": estimator.max_iter, "warn": False}
        flat, steps = _newton_cg(**ways, **limits, x0=np.zeros(loss.penalty.size))
    _check_slope(loss.slope(flat))
    return flat, steps


class ClassLoss:
    """The mean log loss of several classes; a flat place is coefficients by class, then column."""

    def __init__(self, problem: Problem, classes: int, inverse_penalty: float) -> None:
        self.problem, self.shape = problem, (classes, problem.width + 1)
        self.penalty = np.full(self.shape, 1.0 / (inverse_penalty * problem.total))
        self.penalty[:, -1] = 0.0
        self._last = b"", Sums(0.0, np.zeros(0))

    def at(self, flat: Floats, curve: bool = True) -> Sums:
        """Return the loss with its derivatives."""
        square = flat.size if curve else 0
        found = self.problem.ask(_softmax, flat.reshape(self.shape), curve, square=square)
        sums = _penalised(found, flat, self.penalty.ravel(), self.problem.total)
        if curve:
            # Intercepts that rise together change nothing, so the slope has no part that way.
            level = slice(self.shape[1] - 1, None, self.shape[1])
            sums.curve[level, level] += 1.0
        return sums

    def value(self, flat: Floats) -> float:
        """Return the loss."""
        return self._seen(flat).loss

    def slope(self, flat: Floats) -> Floats:
        """Return the first derivatives."""
        return self._seen(flat).slope

    def curved(self, flat: Floats) -> tuple[Floats, Callable[[Floats], Floats]]:
        """Return the first derivatives, and the product of the second ones with a direction."""
        place = flat.reshape(self.shape).copy()

        def product(way: Floats) -> Floats:
            found = self.problem.ask(_softmax_product, place, way.reshape(self.shape))
            return np.asarray(found / self.problem.total + self.penalty.ravel() * way)

        return self.slope(flat), product

    def _seen(self, flat: Floats) -> Sums:
        """Return loss and slope; the solver asks for both at the same place."""
        if self._last[0] != flat.tobytes():
            self._last = flat.tobytes(), self.at(flat, False)
        return self._last[1]


def _chances(matrix: Any, place: Floats) -> tuple[Floats, Floats]:
    """Return logits and probabilities, rows x classes."""
    logits = matrix @ place[:, :-1].T + place[:, -1]
    return logits, np.exp(logits - logsumexp(logits, axis=1, keepdims=True))


def _gradient(matrix: Any, gap: Floats) -> Floats:
    return np.column_stack([(matrix.T @ gap).T, gap.sum(axis=0)]).ravel()


def _softmax(
    matrix: Any, target: NDArray[Any], weights: Floats, place: Floats, curve: bool
) -> Sums:
    """Return loss and derivatives of several classes' log loss at ``place``."""
    logits, chance = _chances(matrix, place)
    rows, weight = np.arange(len(target)), weights[target]
    loss = float((weight * (logsumexp(logits, axis=1) - logits[rows, target])).sum())
    gap = chance.copy()
    gap[rows, target] -= 1.0
    slope = _gradient(matrix, weight[:, None] * gap)
    return Sums(loss, slope, _softmax_curve(matrix, weight, chance)) if curve else Sums(loss, slope)


def _softmax_curve(matrix: Any, weight: Floats, chance: Floats) -> Floats:
    """Return the second derivatives, a block for every pair of classes."""
    classes, blocks = range(chance.shape[1]), {}
    for one in classes:
        for other in classes[one:]:
            bend = weight * chance[:, one] * ((one == other) - chance[:, other])
            blocks[one, other] = blocks[other, one] = _bordered(matrix, bend)
    return np.block([[blocks[one, other] for other in classes] for one in classes])


def _softmax_product(
    matrix: Any, target: NDArray[Any], weights: Floats, place: Floats, way: Floats
) -> Floats:
    """Return the second derivatives times a direction."""
    _, chance = _chances(matrix, place)
    moved = matrix @ way[:, :-1].T + way[:, -1]
    bend = chance * (moved - (chance * moved).sum(axis=1, keepdims=True))
    return _gradient(matrix, weights[target][:, None] * bend)


# ---------------------------------------------------------------- numbers: ridge


@dataclass(frozen=True)
class Products:
    """Sums of the rows, of their products, and of their products with the target."""

    columns: Floats
    products: Floats
    right: Floats

    def __add__(self, other: Products) -> Products:
        parts = zip(
            (self.columns, self.products, self.right),
            (other.columns, other.products, other.right),
            strict=True,
        )
        return Products(*(one + two for one, two in parts))


def _solve_ridge(estimator: Any, problem: Problem) -> None:
    """Solve the normal equations from the partitions' sums."""
    level, rows = float(problem.target.mean()), len(problem.target)
    sums: Products = problem.ask(_products, level, square=problem.width)
    solve_ridge(estimator, rows, sums.columns / rows, level, sums.products, sums.right)


def _products(matrix: Any, target: NDArray[Any], weights: Floats, level: float) -> Products:
    columns = np.asarray(matrix.sum(axis=0)).ravel()
    return Products(columns, (matrix.T @ matrix).toarray(), matrix.T @ (target - level))
