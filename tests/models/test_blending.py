"""A blend is the best weighted mean of its members, whose weights no member's rows decide."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.models import served
from tests.models.test_training import PARAMS

from lockstep.errors import ConfigError
from lockstep.models import training
from lockstep.models.artifact import (
    canonical_bytes,
    model_digest,
    read_artifact,
    write_artifact,
)
from lockstep.models.blending import as_probabilities, blend_weights
from lockstep.models.matrices import Columns
from lockstep.models.model_type import Recipe
from lockstep.models.types import check_recipe, model_type

NAME = "blend"
KIND = model_type(NAME)


def _blend(columns, train, stop, members, rounds=5, **more):
    recipe = Recipe("binary", columns, {"members": members, **more}, seed=0)
    return training.fit(NAME, recipe, train, stop, rounds).estimator


@cache
def _encoded_blend(task: str, *members: str, folds: int = 0) -> Any:
    encoder, parts = served._encoded(task)
    columns = served.columns_of(encoder, served.schema_of(task))
    params = {"members": {name: served.PARAMS[name] for name in members}, "weight_folds": folds}
    fitted = training.fit(NAME, Recipe(task, columns, params), parts["train"], parts["stop"])
    return fitted.estimator


@pytest.mark.parametrize(
    ("task", "name"),
    [kind[:2] for kind in served.KINDS if kind[1] != NAME and kind[2] == "none"],
    ids="-".join,
)
def test_a_blend_with_one_member_equals_it(task: str, name: str) -> None:
    rows = served._encoded(task)[1]["calibrate"].features
    alone, blended = served._fitted(task, name), _encoded_blend(task, name)
    assert np.array_equal(training.scores(alone, rows, task), training.scores(blended, rows, task))
    assert blended.weights == [1.0]
    found, importance = (
        model_type(kind).importance(one, rows) for kind, one in ((NAME, blended), (name, alone))
    )
    whole = sum(importance.values())
    assert found == pytest.approx({key: value / whole for key, value in importance.items()})


def test_the_order_of_the_members_does_not_matter(columns, train, stop) -> None:
    names = ("extra_trees", "xgboost", "lightgbm")
    one, other = (
        _blend(columns, train, stop, {name: PARAMS[name] for name in order})
        for order in (names, names[::-1])
    )
    assert [name for name, _ in one.estimators] == ["xgboost", "lightgbm", "extra_trees"]
    assert canonical_bytes(one) == canonical_bytes(other)


@given(
    st.integers(0, 10_000),
    st.integers(2, 5),
    st.sampled_from(["binary", "multiclass", "regression"]),
)
@settings(max_examples=60, deadline=None)
def test_the_weights_are_the_best_there_are(seed: int, members: int, task: str) -> None:
    """No point of the simplex is better by more than rounding costs."""
    rng = np.random.default_rng(seed)
    target = rng.normal(size=80) if task == "regression" else rng.integers(0, 2, 80)
    if task == "regression":
        outputs = target * rng.uniform(0, 1.2, (members, 1)) + rng.normal(size=(members, 80))
    else:
        outputs = rng.beta(2, 2, (members, 80)) * 0.6 + 0.3 * target
    if task == "multiclass":
        outputs = np.stack([1 - outputs, outputs], axis=-1)

    def loss(weights: np.ndarray) -> float:
        mixed = np.tensordot(weights, outputs, axes=1)
        if task == "regression":
            return float(np.mean((mixed - target) ** 2))
        chance = mixed[np.arange(80), target] if task == "multiclass" else mixed
        right = chance if task == "multiclass" else np.where(target == 1, chance, 1 - chance)
        return float(-np.log(right).mean())

    found = np.array(blend_weights(outputs, target, task))
    assert (found >= 0).all()
    assert found.sum() == pytest.approx(1, abs=1e-12)
    others = np.vstack([np.eye(members), rng.dirichlet(np.full(members, 0.5), 300)])
    assert loss(found) <= min(map(loss, others)) + 1e-6
    order = rng.permutation(members)
    assert blend_weights(outputs[order], target, task) == pytest.approx(found[order], abs=2e-4)


def test_equal_members_and_a_useless_one_have_weights_too() -> None:
    target = np.array([0, 1] * 50)
    good = np.where(target == 1, 0.8, 0.3)
    alike = blend_weights(np.array([good, good, 1 - good]), target, "binary")
    assert sum(alike) == pytest.approx(1)
    assert alike[2] == 0.0
    sure = blend_weights(np.array([target * 1.0, 1.0 - target]), target, "binary")
    assert sure == [1.0, 0.0]
    assert blend_weights(np.ones((2, 10)), np.ones(10), "regression") in ([1.0, 0.0], [0.5, 0.5])


def test_a_positive_row_counts_as_often_as_it_did_in_the_members() -> None:
    """Class-balanced members: unweighted, the weights would favour the least balanced of them."""
    rng = np.random.default_rng(0)
    truth = rng.beta(1, 6, 4000)
    target = (rng.random(4000) < truth).astype(int)
    balanced = truth * 6 / (truth * 6 + 1 - truth)
    outputs = np.array([balanced, truth])
    assert blend_weights(outputs, target, "binary", 6.0)[0] > 0.95
    assert blend_weights(outputs, target, "binary")[0] < 0.05


def test_weights_are_learned_on_rows_that_no_member_was_fitted_on(columns, train, stop) -> None:
    """A forest that knows its rows by heart would get all the weight on the training rows."""
    deep = {"n_estimators": 30, "min_samples_leaf": 1}
    members = {"logistic_regression": {"C": 0.5, "bins": 6}, "extra_trees": deep}
    for folds in (0, 3):
        model = _blend(columns, train, stop, members, weight_folds=folds)
        weights = KIND.resolved_params(model)["weights"]
        assert weights["logistic_regression"] > 0.5, (folds, weights)
    outputs = [
        model_type(name).scorer(one, "binary").outputs(train.features.to_numpy())
        for name, one in zip(members, (model.estimators_), strict=True)
    ]
    assert blend_weights(np.array(outputs), train.target, "binary")[1] > 0.9


def test_folds_change_the_weights_alone(columns, train, stop) -> None:
    members = {name: PARAMS[name] for name in ("extra_trees", "lightgbm")}
    one, other = (_blend(columns, train, stop, members, weight_folds=k) for k in (0, 4))
    assert one.weights != other.weights
    for mine, theirs in zip(one.estimators_, other.estimators_, strict=True):
        assert model_digest(mine) == model_digest(theirs)


def test_several_classes_and_values_have_folds_too() -> None:
    for task, names in (
        ("multiclass", ("logistic_regression", "lightgbm")),
        ("regression", ("ridge", "lightgbm")),
    ):
        found = _encoded_blend(task, *names, folds=3)
        assert sum(found.weights) == pytest.approx(1)
        assert found.weights != _encoded_blend(task, *names).weights


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_an_artifact_of_a_blend_loads_after_the_checks_and_predicts_the_same(
    task: str, tmp_path: Path
) -> None:
    pipeline = served.pipeline_of(task, NAME, "none")
    digest = write_artifact(pipeline, tmp_path / "model.skops")
    loaded = read_artifact(tmp_path / "model.skops", digest)
    assert model_digest(loaded) == digest
    rows = served.rows_of(task, 40, seed=8)
    ask = "predict" if task == "regression" else "predict_proba"
    assert np.array_equal(getattr(loaded, ask)(rows), getattr(pipeline, ask)(rows))
    assert np.array_equal(loaded.predict(rows), pipeline.predict(rows))


def test_a_blend_keeps_the_direction_of_its_members(columns, train, stop, choose) -> None:
    against = Columns(columns.kinds, {"speed": -1})
    members = {name: PARAMS[name] for name in ("random_forest", "xgboost", "lightgbm")}
    model = _blend(against, train, stop, members)
    low, high = (
        training.scores(model, choose.features.assign(speed=speed), "binary")
        for speed in (30.0, 110.0)
    )
    assert (high <= low + 1e-9).all()


@given(st.integers(0, 10_000), st.sampled_from([1, 3, 5]), st.floats(0.1, 4))
@settings(max_examples=50, deadline=None)
def test_parts_of_log_odds_become_parts_of_probabilities(
    seed: int, classes: int, size: float
) -> None:
    rng = np.random.default_rng(seed)
    bases, parts = rng.normal(size=classes), size * rng.normal(size=(7, classes, 6))
    parts[:, :, 2] = 0
    found_bases, found = as_probabilities(bases, parts)
    margins = bases + parts.sum(axis=2)

    def chance(of: np.ndarray) -> np.ndarray:
        if classes == 1:
            return 1 / (1 + np.exp(-of))
        powers = np.exp(of - of.max(axis=-1, keepdims=True))
        return powers / powers.sum(axis=-1, keepdims=True)

    assert found_bases == pytest.approx(chance(bases))
    assert found_bases + found.sum(axis=2) == pytest.approx(chance(margins), abs=1e-8)
    assert (found[:, :, 2] == 0).all()
    if classes == 1:
        assert (np.sign(found) == np.sign(parts)).all()


def test_without_members_a_blend_has_those_of_a_new_problem() -> None:
    for task, first in (("binary", "logistic_regression"), ("regression", "ridge")):
        members = KIND.members(Recipe(task, Columns({})))
        assert list(members) == [first, "random_forest", "xgboost", "lightgbm"]
        assert members["xgboost"].params == dict(model_type("xgboost").draft.params)


BALANCED = {"logistic_regression": {"class_weight": "balanced"}, "lightgbm": {"is_unbalance": True}}


@pytest.mark.parametrize(
    ("task", "params", "fault"),
    [
        ("binary", {"members": {"xgbost": {}}}, "unknown member of a blend 'xgbost'.*xgboost"),
        ("binary", {"members": {"blend": {}}}, "unknown member of a blend 'blend'"),
        ("binary", {"members": {"spark_xgboost": {}}}, "unknown member of a blend"),
        ("binary", {"members": {"ridge": {}}}, "ridge can't do binary"),
        ("binary", {"members": {"xgboost": {"max_dept": 3}}}, "did you mean 'max_depth'"),
        ("binary", {"members": ["xgboost"]}, "members of a blend are model types with"),
        ("binary", {"members": {}}, "members of a blend are model types with"),
        ("binary", {"members": {"xgboost": 3}}, "members.xgboost of a blend must be a mapping"),
        ("binary", {"member": {}}, "blend has no hyperparameter 'member' .did you mean 'members'"),
        ("regression", {"weight_folds": 1}, "weight_folds is 1; give 2 or more"),
        ("regression", {"weight_folds": True}, "weight_folds is True; give 2 or more"),
        (
            "binary",
            {"members": {**BALANCED, "xgboost": {}}},
            r"weigh a positive row differently .logistic_regression balanced, xgboost 1, lightgbm "
            "balanced.*no common scale",
        ),
    ],
)
def test_what_a_blend_cannot_have_is_one_clear_line(
    task: str, params: dict[str, Any], fault: str
) -> None:
    with pytest.raises(ConfigError, match=fault):
        check_recipe(KIND, Recipe(task, Columns({}), params))


def test_the_scale_of_a_blend_is_that_of_its_members() -> None:
    assert KIND.positive_weight({"members": BALANCED}, 5.5) == 5.5
    assert KIND.positive_weight({}, 5.5) == 1.0


def test_columns_that_a_member_rejects_are_refused() -> None:
    recipe = Recipe("multiclass", Columns({"a": "numeric"}, {"a": 1}), {"members": {"xgboost": {}}})
    with pytest.raises(ConfigError, match="monotone is not supported"):
        check_recipe(KIND, recipe)
