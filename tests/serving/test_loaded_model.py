from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.config.serving import DecisionSettings
from lockstep.decision.score_scale import equivalent
from lockstep.errors import ArtifactError, ConfigError
from lockstep.models.scoring.prediction import Model
from lockstep.problems.schema import Schema, load_schema
from lockstep.serving.loaded_model import (
    CheckedModel,
    ServedDecision,
    _check_signature,
    decision_of,
)

ACCIDENTS = load_schema("accidents")
MODEL = Model(pipeline=None, schema=ACCIDENTS, threshold=0.4, name="M", version=3)
BALANCED = CheckedModel(
    MODEL, "registry", "", {"score_scale": "balanced", "positive_weight": "4.0"}
)
PLAIN = CheckedModel(MODEL, "registry", "", {"score_scale": "sigmoid", "class_ratio": "4.0"})
chances = st.floats(0.001, 0.999)
weights = st.floats(0.01, 100)


def rule(threshold=None, scale=None, band=0.0) -> DecisionSettings:
    return DecisionSettings(threshold, scale, band, "the variable DECISION_THRESHOLD")


def test_the_models_own_threshold_where_nobody_gives_one():
    found = decision_of(PLAIN, rule())
    assert found is not None
    assert (found.threshold, found.scale.name, found.source) == (0.4, "probability", "the model")
    assert found.words == tuple(ACCIDENTS.columns[ACCIDENTS.target].codes.values())


@pytest.mark.parametrize(
    ("weight", "fault"),
    [
        ("heavy", "could not convert .* 'heavy'"),
        *((weight, "positive_weight") for weight in ("0.0", "-1", "nan")),
    ],
)
def test_a_damaged_tag_of_the_scale_is_one_line_with_the_fix(weight, fault):
    damaged = replace(BALANCED, tags={"score_scale": "balanced", "positive_weight": weight})
    told = rf"^M version 3 has a damaged tag: {fault}.*; `verify` names the tag"
    with pytest.raises(ArtifactError, match=told):
        decision_of(damaged, rule())


def test_a_threshold_of_the_models_scale_is_taken():
    found = decision_of(BALANCED, rule(0.4542, "balanced"))
    assert found is not None
    assert (found.threshold, found.scale.name) == (0.4542, "balanced")


def test_a_threshold_of_another_scale_is_refused_with_its_equivalent():
    with pytest.raises(
        ConfigError, match="assumes the balanced scale, but M version 3 gives probability scores"
    ) as e:
        decision_of(PLAIN, rule(0.5, "balanced"))
    assert "DECISION_THRESHOLD=0.2 DECISION_SCALE=probability" in str(e.value)
    with pytest.raises(ConfigError, match=r"DECISION_THRESHOLD=0\.5 DECISION_SCALE=balanced"):
        decision_of(BALANCED, rule(0.2, "probability"))


def test_without_a_known_weight_no_equivalent_is_made_up():
    with pytest.raises(ConfigError, match="set DECISION_THRESHOLD and DECISION_SCALE=probability"):
        decision_of(replace(PLAIN, tags={}), rule(0.5, "balanced"))


@given(chances, weights)
def test_the_equivalent_goes_back_and_keeps_the_odds(threshold, weight):
    other = equivalent(threshold, weight, 1.0)
    assert other / (1 - other) == pytest.approx(threshold / (1 - threshold) / weight)
    assert equivalent(other, 1.0, weight) == pytest.approx(threshold)


def test_a_threshold_of_one_has_itself_as_its_equivalent():
    with pytest.raises(ConfigError, match="DECISION_THRESHOLD=1 DECISION_SCALE=probability"):
        decision_of(PLAIN, rule(1.0, "balanced"))


@given(chances, chances, st.floats(0, 0.4))
def test_every_score_has_one_of_three_words(score, threshold, band):
    words = ("approve", "reject")
    decision = ServedDecision("binary", threshold, band=band, words=words, source="")
    ((chosen, word),) = decision.outcomes(np.array([score]))
    if band and abs(score - threshold) <= band:
        assert (chosen, word) == (None, "review")
    else:
        assert (chosen, word) == ((1, "reject") if score >= threshold else (0, "approve"))


def test_a_regression_has_no_threshold():
    houses = replace(MODEL, schema=load_schema("california_housing"), threshold=None)
    assert decision_of(replace(PLAIN, model=houses), rule(0.4, "balanced")) is None


def test_a_model_without_a_threshold_needs_one():
    with pytest.raises(
        ConfigError, match="M version 3 records no threshold; set DECISION_THRESHOLD"
    ):
        decision_of(replace(PLAIN, model=replace(MODEL, threshold=None)), rule())


def test_a_model_that_would_refuse_what_is_answered_now_does_not_take_over():
    optional = next(c for c in ACCIDENTS.features if c.missing)
    content = ACCIDENTS.model_dump(exclude_defaults=True)
    content["columns"][optional.name]["missing"] = False
    stricter = Schema.model_validate(content)
    challenger = replace(PLAIN, model=replace(MODEL, schema=stricter, version=4))
    served = SimpleNamespace(model=MODEL, checked=PLAIN)
    with pytest.raises(
        ArtifactError, match=f"M version 4 does not take .* {optional.name} may not be missing"
    ):
        _check_signature(challenger, served)
    with pytest.raises(ArtifactError, match="start another server"):
        _check_signature(
            replace(PLAIN, model=replace(MODEL, schema=load_schema("california_housing"))), served
        )
