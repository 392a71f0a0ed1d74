"""What a score means, and a threshold's place on another scale."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.config.params import Decision, Training
from lockstep.decision.score_scale import (
    Scale,
    balance,
    check_scale,
    equivalent,
    scale_of,
    to_probability,
)
from lockstep.errors import ConfigError
from lockstep.models.matrices import Columns
from lockstep.models.model_type import Recipe
from lockstep.models.types import model_type
from lockstep.models.types.xgboost import Type as Xgboost

TARGET = np.array([0] * 80 + [1] * 20)
SHARES = st.floats(0.001, 0.999)
WEIGHTS = st.floats(0.05, 50)


def training(kind: str = "lightgbm", calibration: str = "none", **params: object) -> Training:
    return Training(problem="credit_risk", type=kind, calibration=calibration, params=params)


def scale(row: Training, task: str = "binary") -> Scale:
    return scale_of(row, task, TARGET, model_type(row.type).positive_weight)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (training(is_unbalance=True), Scale("balanced", 4.0, 4.0)),
        (training("xgboost", scale_pos_weight="balanced"), Scale("balanced", 4.0, 4.0)),
        (training("xgboost", scale_pos_weight=4), Scale("balanced", 4.0, 4.0)),
        (training("random_forest", class_weight="balanced"), Scale("balanced", 4.0, 4.0)),
        (training("logistic_regression", class_weight={0: 1, 1: 4}), Scale("balanced", 4.0, 4.0)),
        (training("xgboost", scale_pos_weight=2), Scale("weighted", 2.0, 4.0)),
        (training("random_forest", class_weight={0: 2, 1: 3}), Scale("weighted", 1.5, 4.0)),
        (training(), Scale("probability", 1.0, 4.0)),
        (training(is_unbalance=False), Scale("probability", 1.0, 4.0)),
        (training(calibration="sigmoid", is_unbalance=True), Scale("probability", 1.0, 4.0)),
    ],
)
def test_weights_and_calibration_say_what_the_scores_mean(row: Training, expected: Scale) -> None:
    assert scale(row) == expected


def test_numbers_have_no_scale_and_several_classes_have_probabilities() -> None:
    assert scale(training(is_unbalance=True), "regression").name == "raw"
    assert scale(training(), "multiclass").name == "probability"


def test_balanced_becomes_a_number_by_the_training_rows() -> None:
    assert balance(TARGET) == 4.0

    def weighted(**params: object) -> dict[str, object]:
        return Xgboost().with_weight(Recipe("binary", Columns({}), params), TARGET).params

    declared = {"scale_pos_weight": "balanced", "max_depth": 3}
    assert weighted(**declared) == {"scale_pos_weight": 4.0, "max_depth": 3}
    assert weighted(scale_pos_weight=2) == {"scale_pos_weight": 2}


@given(SHARES, WEIGHTS)
def test_a_threshold_goes_to_another_scale_and_back(threshold: float, weight: float) -> None:
    there = equivalent(threshold, 1.0, weight)
    if 0.001 < there < 0.999:
        assert equivalent(there, weight, 1.0) == pytest.approx(threshold, abs=1e-4)


@given(st.lists(SHARES, min_size=1, max_size=30), WEIGHTS, SHARES)
def test_rows_are_decided_alike_on_both_scales(
    scores: list[float], weight: float, threshold: float
) -> None:
    score = np.array(scores)
    moved = equivalent(threshold, weight, 1.0)
    apart = np.abs(to_probability(score, weight) - moved) > 1e-5
    assert np.array_equal(
        (score >= threshold)[apart], (to_probability(score, weight) >= moved)[apart]
    )


def test_a_fixed_threshold_of_another_scale_is_refused_with_its_equivalent() -> None:
    decision = Decision(policy="fixed", threshold=0.4542, scale="balanced")
    row = training(calibration="sigmoid", is_unbalance=True)
    # odds .4542 / .5458 / 4 = .20804, so .20804 / 1.20804
    with pytest.raises(
        ConfigError, match=r"equivalent is 0\.172215.*threshold: 0\.172215 with scale: probab"
    ):
        check_scale(decision, row, scale(row))
    back = Decision(policy="fixed", threshold=0.172215, scale="probability")
    with pytest.raises(ConfigError, match=r"equivalent is 0\.4542"):
        check_scale(back, training(is_unbalance=True), Scale("balanced", 4.0, 4.0))


@pytest.mark.parametrize(
    "decision",
    [
        Decision(policy="fixed", threshold=0.4, scale="balanced"),
        Decision(policy="fixed", threshold=0.4),
        Decision(policy="f1", scale="probability"),
    ],
)
def test_a_threshold_that_fits_or_names_no_scale_passes(decision: Decision) -> None:
    check_scale(decision, training(is_unbalance=True), Scale("balanced", 4.0, 4.0))


@pytest.mark.parametrize("params", [{"is_unbalance": True}, {}])
def test_probabilities_of_equal_classes_are_balanced(params: dict[str, object]) -> None:
    row = training(**params)
    equal = np.array([0] * 50 + [1] * 50)
    found = scale_of(row, "binary", equal, model_type(row.type).positive_weight)
    check_scale(Decision(policy="fixed", threshold=0.4, scale="balanced"), row, found)
    weighted = Scale("weighted", 2.0, 1.0)
    with pytest.raises(ConfigError, match="assumes the balanced scale"):
        check_scale(Decision(policy="fixed", threshold=0.4, scale="balanced"), row, weighted)


def test_a_scale_is_read_from_a_card_or_from_the_tags_of_a_version() -> None:
    card = {"score_scale": "balanced", "positive_weight": 4.0, "class_ratio": 4.0}
    assert Scale.recorded(card) == Scale("balanced", 4.0, 4.0)
    assert Scale.recorded({key: str(value) for key, value in card.items()}) == Scale(
        "balanced", 4.0, 4.0
    )
    assert Scale.recorded({"score_scale": "raw", "positive_weight": 1.0}) == Scale("raw")
    assert Scale.recorded({"class_ratio": "2.5"}) == Scale("probability", 1.0, 2.5)


def test_weights_of_a_booster_multiply() -> None:
    kind = model_type("lightgbm")
    both = {"class_weight": "balanced", "scale_pos_weight": 3}
    assert kind.positive_weight(both, balanced=4.0) == 12.0
    assert kind.positive_weight({"is_unbalance": True, "class_weight": {1: 2.0}}, 4.0) == 8.0
    assert model_type("xgboost").positive_weight({"scale_pos_weight": "balanced"}, 4.0) == 4.0
