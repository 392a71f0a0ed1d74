"""Every policy's threshold is the best there is on its rows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep.config.params import Decision
from lockstep.decision.thresholds import choose_threshold
from lockstep.errors import ConfigError, DataError
from lockstep.evaluation.metrics import Scored, evaluate

rows = st.lists(st.tuples(st.booleans(), st.integers(0, 20)), min_size=3, max_size=40)


def _arrays(drawn: list[tuple[bool, int]]) -> tuple[np.ndarray, np.ndarray]:
    target = np.array([t for t, _ in drawn], dtype=np.int8)
    target[:2] = (1, 0)
    return target, np.array([s for _, s in drawn]) / 20


def _all_cuts(score: np.ndarray) -> np.ndarray:
    return np.unique(np.concatenate([score, score + 1e-9, [0.0]]))


@given(rows)
@settings(max_examples=60, deadline=None)
def test_f1_can_not_be_beaten_by_any_other_threshold(drawn: list[tuple[bool, int]]) -> None:
    target, score = _arrays(drawn)
    chosen = choose_threshold(Decision(policy="f1"), target, score)
    best = evaluate(Scored(target, score, chosen))["f1"]
    assert (
        best
        >= max(evaluate(Scored(target, score, float(c)))["f1"] for c in _all_cuts(score)) - 1e-12
    )


@given(rows, st.integers(0, 9), st.integers(1, 9))
@settings(max_examples=60, deadline=None)
def test_cost_can_not_be_lowered_by_any_other_threshold(
    drawn, false_positive, false_negative
) -> None:
    target, score = _arrays(drawn)

    def cost(cut: float) -> float:
        taken = score >= cut
        return (
            false_positive * (taken & (target == 0)).sum()
            + false_negative * (~taken & (target == 1)).sum()
        )

    decision = Decision(
        policy="cost", cost_false_positive=false_positive, cost_false_negative=false_negative
    )
    assert cost(choose_threshold(decision, target, score)) <= min(cost(c) for c in _all_cuts(score))


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8, 0.9])
def test_approval_rate_leaves_that_share_below(rate: float) -> None:
    score = np.random.default_rng(0).random(1000)
    threshold = choose_threshold(
        Decision(policy="approval_rate", approval_rate=rate), score > 0.5, score
    )
    assert (score < threshold).mean() == pytest.approx(rate, abs=0.001)


def test_fixed_is_the_declared_one_and_must_be_declared() -> None:
    empty = np.array([])
    assert choose_threshold(Decision(policy="fixed", threshold=0.4542), empty, empty) == 0.4542
    with pytest.raises(ConfigError, match=r"needs decision\.threshold"):
        choose_threshold(Decision(policy="fixed"), empty, empty)
    with pytest.raises(ConfigError, match=r"needs decision\.approval_rate"):
        choose_threshold(Decision(policy="approval_rate"), np.array([1]), np.array([0.5]))


def test_no_rows_is_an_error_with_the_fix() -> None:
    with pytest.raises(DataError, match=r"split\.validation"):
        choose_threshold(Decision(), np.array([]), np.array([]))
