"""Each task has its policies; of several classes the likeliest or the cheapest is decided for."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep.config.params import Decision
from lockstep.decision.decision_rule import DEFAULT_THRESHOLD, DecisionRule
from lockstep.decision.policies import POLICIES, costs_in, costs_of, matrix, policy_of
from lockstep.errors import ConfigError, DataError

CLASSES = ["à rénover", "très bon état", 3]
scores = st.floats(0, 1)


@given(st.lists(scores, min_size=1), scores)
def test_a_score_at_the_threshold_or_above_it_is_class_one(
    score: list[float], threshold: float
) -> None:
    decided = DecisionRule("binary", threshold).apply(np.array(score))
    assert decided.tolist() == [int(one >= threshold) for one in score]
    assert DecisionRule("binary", score[0]).apply(np.array(score))[0] == 1


def test_a_missing_threshold_is_one_default_for_metrics_and_none_for_decisions() -> None:
    missing, zero = DecisionRule("binary"), DecisionRule("binary", 0.0)
    assert (missing.evaluation_threshold, zero.evaluation_threshold) == (DEFAULT_THRESHOLD, 0.0)
    assert DecisionRule("regression").evaluation_threshold is None
    assert zero.apply(np.array([0.0, 0.3])).tolist() == [1, 1]
    with pytest.raises(DataError, match="records no threshold"):
        missing.apply(np.array([0.5]))


@pytest.mark.parametrize("task", POLICIES)
def test_a_policy_fits_its_task_alone(task: str) -> None:
    assert policy_of(Decision(), task) == POLICIES[task][0]
    for other, policies in POLICIES.items():
        for policy in policies:
            if other == task:
                assert policy_of(Decision(policy=policy), task) == policy
            else:
                with pytest.raises(
                    ConfigError, match=f"{policy} does not fit a {task} problem; set"
                ):
                    policy_of(Decision(policy=policy), task)


def test_declared_costs_stand_beside_ones_and_zeros() -> None:
    found = matrix({"à rénover": {"très bon état": 10.0}, 3: {3: 0.5}}, CLASSES)
    assert found.tolist() == [[0, 10, 1], [1, 0, 1], [1, 1, 0.5]]


def test_costs_may_forbid_the_likeliest_class() -> None:
    score = np.array([[0.3, 0.6, 0.1], [0.01, 0.9, 0.09]])
    assert DecisionRule("multiclass", None, CLASSES).apply(score).tolist() == [1, 1]
    costs = {"à rénover": {"très bon état": 10.0}}
    assert DecisionRule("multiclass", None, CLASSES, costs).apply(score).tolist() == [0, 1]


@given(st.integers(0, 10_000), st.integers(3, 6))
@settings(max_examples=30, deadline=None)
def test_the_decision_has_the_least_expected_cost(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    score = rng.dirichlet(np.ones(count), 20)
    classes = [f"class {k}" for k in range(count)]
    costs = {a: {b: float(rng.integers(0, 9)) for b in classes} for a in classes}
    expected = score @ matrix(costs, classes)
    chosen = DecisionRule("multiclass", None, classes, costs).apply(score)
    assert np.allclose(expected[np.arange(20), chosen], expected.min(axis=1))
    likeliest = DecisionRule("multiclass", None, classes)
    declared = replace(likeliest, costs={classes[0]: {classes[0]: 0.0}})
    assert (likeliest.apply(score) == declared.apply(score)).all()


def test_faults_name_the_fix() -> None:
    with pytest.raises(
        ConfigError, match=r"needs decision\.costs; set problems\.NAME\.decision\.costs"
    ):
        costs_of(Decision(policy="cost_matrix"), CLASSES)
    wrong = Decision(policy="cost_matrix", costs={"tres bon état": {3: 1}})
    with pytest.raises(
        ConfigError, match=r"unknown class 'tres bon état' \(did you mean 'très bon état'"
    ):
        costs_of(wrong, CLASSES)
    assert costs_of(Decision(costs={"x": {"y": 1}}), CLASSES) is None


def test_a_card_tells_the_costs_only_where_they_decide() -> None:
    costs = {"a": {"b": 2.0}}
    assert costs_in({"decision": {"policy": "cost_matrix", "costs": costs}}) == costs
    assert costs_in({"decision": {"policy": "argmax", "costs": costs}}) is None
