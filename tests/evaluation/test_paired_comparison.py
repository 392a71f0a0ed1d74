"""A challenger wins by more than noise on the same rows, or not at all."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep.errors import ConfigError, DataError
from lockstep.evaluation.bootstrap import interval, resampled
from lockstep.evaluation.metrics import BINARY, Scored
from lockstep.evaluation.paired_comparison import paired_difference

GATE = Path(__file__).parents[2] / "benchmarks" / "gate_simulation.py"


@pytest.fixture(scope="module")
def simulation() -> ModuleType:
    """The benchmark whose full run takes minutes."""
    spec = importlib.util.spec_from_file_location("gate_simulation", GATE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def two_sides(seed: int, rows: int = 300) -> tuple[Scored, Scored, np.ndarray]:
    rng = np.random.default_rng(seed)
    target = (rng.random(rows) < 0.4).astype(np.int8)
    scores = [
        1 / (1 + np.exp(-(rng.normal(size=rows) + strength * target))) for strength in (1.5, 1.0)
    ]
    first, second = (Scored(target, np.round(score, 2), 0.6) for score in scores)
    return first, second, rng.integers(0, rows // 3, rows)


def taken(rows: Scored, order: np.ndarray) -> Scored:
    return Scored(rows.target[order], rows.score[order], rows.threshold)


@pytest.mark.parametrize("metric", BINARY)
def test_the_difference_is_that_of_the_resamples_of_both_sides(metric: str) -> None:
    challenger, champion, groups = two_sides(0)
    found = paired_difference(challenger, champion, groups, metric, 200, seed=3)
    drawn = resampled({"a": challenger, "b": champion}, groups, 200, seed=3)
    low, high = interval(drawn["a"][metric] - drawn["b"][metric])
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-12)
    assert found.low <= found.estimate <= found.high
    assert (found.rows, found.groups) == (300, len(np.unique(groups)))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), metric=st.sampled_from(BINARY))
def test_swapped_sides_negate_the_difference(seed: int, metric: str) -> None:
    challenger, champion, groups = two_sides(seed, rows=120)
    one = paired_difference(challenger, champion, groups, metric, 60)
    other = paired_difference(champion, challenger, groups, metric, 60)
    assert (one.estimate, one.low, one.high) == pytest.approx(
        (-other.estimate, -other.high, -other.low)
    )
    assert (one.wins, one.loses) == (other.loses, other.wins)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), metric=st.sampled_from(BINARY))
def test_the_order_of_rows_does_not_matter(seed: int, metric: str) -> None:
    challenger, champion, groups = two_sides(seed, rows=120)
    order = np.random.default_rng(seed).permutation(120)
    one = paired_difference(challenger, champion, groups, metric, 60)
    other = paired_difference(
        taken(challenger, order), taken(champion, order), groups[order], metric, 60
    )
    assert (one.low, one.high) == pytest.approx((other.low, other.high), abs=1e-12)


def test_a_model_never_beats_itself() -> None:
    challenger, _, groups = two_sides(1)
    found = paired_difference(challenger, challenger, groups, "log_loss", 50)
    assert (found.low, found.high, found.wins, found.loses) == (0.0, 0.0, False, False)
    assert found.verdict == "no difference beyond noise"


@pytest.mark.parametrize("metric", ["rmse", "mae"])
def test_of_losses_the_lower_one_wins(metric: str) -> None:
    rng = np.random.default_rng(2)
    target = rng.normal(size=400)
    near, far = (Scored(target, target + rng.normal(size=400) * spread) for spread in (0.1, 0.2))
    found = paired_difference(near, far, np.arange(400), metric, 200)
    assert found.wins
    assert found.high < 0
    assert found.verdict == "better"
    assert paired_difference(far, near, np.arange(400), metric, 200).verdict == "worse"
    assert paired_difference(near, far, np.arange(400), "r2", 200).wins


def test_of_several_classes_too() -> None:
    rng = np.random.default_rng(3)
    target = rng.integers(0, 3, 400)
    sides = []
    for strength in (2.0, 0.5):
        odds = np.exp(rng.normal(size=(400, 3)) + strength * (target[:, None] == np.arange(3)))
        sides.append(Scored(target, odds / odds.sum(axis=1, keepdims=True)))
    assert paired_difference(*sides, np.arange(400), "macro_roc_auc", 100).wins


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        (
            lambda a, b, g: (taken(a, g[:0]), taken(b, g[:0]), g[:0], "f1"),
            DataError,
            "no rows to compare",
        ),
        (
            lambda a, b, g: (a, Scored(b.target, b.score), g, "f1"),
            DataError,
            "a binary and a regression",
        ),
        (
            lambda a, b, g: (a, Scored(1 - b.target, b.score, 0.5), g, "f1"),
            DataError,
            "different rows",
        ),
        (lambda a, b, g: (a, b, g[1:], "f1"), DataError, "different rows"),
        (lambda a, b, g: (a, b, g * 0, "f1"), DataError, "are of one group"),
        (
            lambda a, b, g: (Scored(a.target, a.score / 0, 0.5), b, g, "f1"),
            DataError,
            "no finite score",
        ),
        (
            lambda a, b, g: (a, b, g, "rmse"),
            ConfigError,
            "unknown metric of a binary problem 'rmse'",
        ),
        (lambda a, b, g: (one_class(a), one_class(b), g, "f1"), DataError, "are all of one class"),
    ],
)
def test_what_cannot_be_compared_is_refused(change, error, match) -> None:
    with np.errstate(divide="ignore"), pytest.raises(error, match=match):
        paired_difference(*change(*two_sides(4)), resamples=10)


def one_class(rows: Scored) -> Scored:
    return Scored(np.zeros_like(rows.target), rows.score, rows.threshold)


def test_the_simulation_draws_what_it_says(simulation: ModuleType) -> None:
    rng = np.random.default_rng(5)
    better, base = simulation.two_models(rng, 0.01, 400_000)
    margins = [np.log(side.score / (1 - side.score)) for side in (better, base)]
    assert np.corrcoef(margins)[0, 1] == pytest.approx(simulation.CORRELATION, abs=0.003)
    assert base.target.mean() == pytest.approx(simulation.POSITIVES, abs=0.003)
    found = paired_difference(better, base, np.arange(400_000), "roc_auc", 2)
    assert (found.challenger, found.champion) == pytest.approx((0.81, 0.80), abs=0.002)


def test_equal_ones_are_seldom_promoted_and_better_ones_mostly(simulation: ModuleType) -> None:
    """The short form of the benchmark: small resamples; what chance allows with so few trials."""
    equal = sum(simulation.promoted(trial, 0.0, 200, rows=1000) for trial in range(60))
    better = sum(simulation.promoted(trial, 0.01, 200) for trial in range(15))
    assert equal <= 5
    assert better >= 12
