"""What is fitted scores alike wherever it is looked at, and keeps nothing it should not."""

import io

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep.config.params import Training
from lockstep.errors import ConfigError, DataError
from lockstep.evaluation.metrics import Scored, evaluate
from lockstep.joblib_files import write_joblib
from lockstep.models import training
from lockstep.models.matrices import Columns, Matrix
from lockstep.models.model_type import Recipe
from lockstep.models.types import build, local_types, model_type

PARAMS = {
    "logistic_regression": {"C": 0.5, "bins": 6},
    "random_forest": {"n_estimators": 15, "min_samples_leaf": 5},
    "xgboost": {"n_estimators": 80, "learning_rate": 0.2, "max_depth": 3},
    "lightgbm": {"n_estimators": 80, "learning_rate": 0.2, "num_leaves": 7},
    "extra_trees": {"n_estimators": 15, "min_samples_leaf": 5},
    "hist_gradient_boosting": {"max_iter": 80, "learning_rate": 0.2, "max_leaf_nodes": 7},
}
PARAMS["blend"] = {"members": {name: PARAMS[name] for name in ("lightgbm", "random_forest")}}


REGRESSORS = [kind.name for kind in local_types() if "regression" in kind.tasks]


def _fit(
    name: str,
    columns: Columns,
    train: Matrix,
    stop: Matrix,
    n_jobs: int = 1,
    rounds: int = 10,
    on_step=training.silent,
):
    recipe = Recipe("binary", columns, PARAMS[name], seed=0, n_jobs=n_jobs)
    return training.fit(name, recipe, train, stop, rounds, on_step)


def _bytes(estimator: object) -> bytes:
    buffer = io.BytesIO()
    write_joblib(buffer, estimator)
    return buffer.getvalue()


@pytest.mark.parametrize("name", PARAMS)
def test_every_type_learns_something(name: str, columns, train, stop, choose) -> None:
    fitted = _fit(name, columns, train, stop)
    score = training.scores(fitted.estimator, choose.features, "binary")
    reachable = evaluate(Scored(choose.target, choose.truth, 0.5))["roc_auc"]
    assert (
        reachable - 0.06
        < evaluate(Scored(choose.target, score, 0.5))["roc_auc"]
        <= reachable + 0.02
    )
    assert (score == np.round(score, 8)).all()


@pytest.mark.parametrize("name", PARAMS)
def test_thread_counts_leave_no_trace(name: str, columns, train, stop) -> None:
    one, two = (_fit(name, columns, train, stop, n_jobs=n).estimator for n in (1, 2))
    assert _bytes(one) == _bytes(two)


def test_a_models_bytes_do_not_depend_on_names_that_are_literals_somewhere(
    columns, train, stop
) -> None:
    """LightGBM stores further names twice, as one object or as equal ones."""

    def fitted(names: list[str]) -> object:
        params = dict(zip(names, (5, 3, 4, True), strict=True))
        return training.fit("lightgbm", Recipe("binary", columns, params), train, stop).estimator

    literal = ["n_estimators", "cat_l2", "max_cat_to_onehot", "is_unbalance"]
    read = ["".join(list(name)) for name in literal]
    assert _bytes(fitted(literal)) == _bytes(fitted(read))


@pytest.mark.parametrize("name", PARAMS)
def test_one_row_scores_as_it_does_in_a_batch(name: str, columns, train, stop, choose) -> None:
    model = _fit(name, columns, train, stop).estimator
    rows = choose.features.head(20)
    one_by_one = [training.scores(model, rows.iloc[[i]], "binary")[0] for i in range(20)]
    assert training.scores(model, rows, "binary").tolist() == one_by_one


@pytest.mark.parametrize("name", ["xgboost", "lightgbm"])
def test_boosters_stop_early_and_keep_the_best_trees_only(name: str, columns, train, stop) -> None:
    steps = []
    fitted = _fit(name, columns, train, stop, on_step=lambda *news: steps.append(news))
    losses = fitted.history["stop_log_loss"]
    assert fitted.best_iteration == int(np.argmin(losses)) + 1
    assert len(losses) == fitted.best_iteration + 10 < 80
    assert [done for done, _, _ in steps] == list(range(1, len(losses) + 1))
    assert steps[0][1:] == (80, pytest.approx(losses[0]))
    trees = (
        fitted.estimator.get_booster().num_boosted_rounds
        if name == "xgboost"
        else fitted.estimator.booster_.num_trees
    )
    assert trees() == fitted.best_iteration
    score = np.asarray(fitted.estimator.predict_proba(stop.features)[:, 1], dtype=float)
    assert evaluate(Scored(stop.target, score, 0.5))["log_loss"] == pytest.approx(
        min(losses), abs=1e-5
    )


@pytest.mark.parametrize("name", ["xgboost", "lightgbm"])
@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_the_stopping_part_alone_tells_the_best_iteration_of_a_fit_that_does_not_stop(
    name: str, task: str, columns, train, stop
) -> None:
    """The loss on the training rows falls to the end; it must not count."""
    params = {"n_estimators": 60, "learning_rate": 0.3}
    recipe = Recipe(task, columns, params, seed=0, n_jobs=1)
    given = [_of_task(part, task) for part in (train, stop)]
    fitted = training.fit(name, recipe, *given, 1000)
    own, theirs = (
        losses for part, losses in fitted.history.items() if not part.startswith("iteration")
    )
    assert int(np.argmin(own)) + 1 == len(own) == 60
    assert fitted.best_iteration == int(np.argmin(theirs)) + 1 < 50


def _of_task(matrix: Matrix, task: str) -> Matrix:
    """Return the same rows, of several classes by the light, or with a number as their target."""
    several = matrix.target + (matrix.features["light"].to_numpy() > 2)
    targets = {
        "binary": matrix.target,
        "multiclass": several.astype(np.int8),
        "regression": matrix.target.astype(float),
    }
    return Matrix(matrix.features, targets[task], matrix.group, matrix.row)


def test_a_forest_grown_in_batches_is_the_forest_grown_at_once(columns, train, stop) -> None:
    from sklearn.ensemble import RandomForestClassifier

    grown = _fit("random_forest", columns, train, stop).estimator
    whole = RandomForestClassifier(random_state=0, **PARAMS["random_forest"]).fit(
        train.features, train.target
    )
    assert (grown.predict_proba(stop.features) == whole.predict_proba(stop.features)).all()


def test_the_forest_tells_its_loss_batch_by_batch(columns, train, stop) -> None:
    fitted = _fit("random_forest", columns, train, stop)
    assert fitted.history["iteration"][-1] == 15
    score = fitted.estimator.predict_proba(stop.features)[:, 1]
    plain = evaluate(Scored(stop.target, np.clip(score, 1e-6, 1 - 1e-6), 0.5))["log_loss"]
    assert fitted.history["stop_log_loss"][-1] == pytest.approx(plain, abs=1e-4)


@pytest.mark.parametrize("name", REGRESSORS)
def test_regression_is_learned_too(name: str, columns, train, stop, choose) -> None:
    def numbers(matrix: Matrix) -> Matrix:
        return Matrix(
            matrix.features, matrix.features["speed"].to_numpy() / 10, matrix.group, matrix.row
        )

    steps = "max_iter" if name == "hist_gradient_boosting" else "n_estimators"
    params = {} if name == "ridge" else {steps: 40}
    if name == "blend":
        params = {"members": {"ridge": {}, "xgboost": params}}
    fitted = training.fit(
        name, Recipe("regression", columns, params), numbers(train), numbers(stop), 5
    )
    rows = numbers(choose)
    assert (
        evaluate(
            Scored(rows.target, training.scores(fitted.estimator, rows.features, "regression"))
        )["r2"]
        > 0.9
    )


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_hist_gradient_boosting_keeps_the_trees_up_to_its_best_iteration(
    task: str, columns, train, stop
) -> None:
    params = {"max_iter": 300, "learning_rate": 0.3, "max_leaf_nodes": 7, "max_features": 0.5}
    fitted = training.fit(
        "hist_gradient_boosting", Recipe(task, columns, params, seed=3), train, stop, 5
    )
    losses = fitted.history["stop_rmse" if task == "regression" else "stop_log_loss"]
    assert fitted.best_iteration == int(np.argmin(losses)) + 1 == fitted.estimator.n_iter_ < 300
    staged = "staged_predict" if task == "regression" else "staged_predict_proba"
    last = list(getattr(fitted.estimator, staged)(stop.features))[-1]
    gap = np.sqrt(np.mean((stop.target - last) ** 2)) if task == "regression" else None
    chance = None if task == "regression" else last[np.arange(len(stop)), stop.target]
    found = gap if task == "regression" else -np.log(chance).mean()
    assert found == pytest.approx(min(losses))


@given(
    st.lists(st.integers(0, 30), min_size=8, max_size=60).filter(lambda g: len(set(g)) >= 4),
    st.integers(2, 4),
)
@settings(max_examples=50, deadline=None)
def test_folds_are_blocks_of_whole_groups_in_table_order(groups: list[int], folds: int) -> None:
    group = np.array(groups)
    ids = training.fold_ids(group, folds)
    frame = pd.DataFrame({"group": group, "fold": ids})
    assert (frame.groupby("group")["fold"].nunique() == 1).all()
    assert set(ids) == set(range(folds))
    first_seen = frame.drop_duplicates("group")["fold"]
    assert first_seen.is_monotonic_increasing


def _halved(target: np.ndarray, score: np.ndarray) -> Scored:
    return Scored(target, score, 0.5)


def test_fold_metrics_are_a_row_a_fold_and_none_by_default(columns, train, stop) -> None:
    recipe = Recipe("binary", columns, PARAMS["lightgbm"])
    plan = Training(
        problem="p", type="lightgbm", early_stopping_rounds=5, cv_folds=3, params=PARAMS["lightgbm"]
    )
    rows = training.fold_metrics(plan, recipe, {"train": train, "stop": stop}, _halved)
    assert [row["fold"] for row in rows] == [1, 2, 3]
    assert all(0.6 < row["roc_auc"] < 0.9 for row in rows)
    assert training.fold_metrics(plan.model_copy(update={"cv_folds": 0}), recipe, {}, _halved) == []


def test_blocks_of_one_class_are_dealt_to_the_folds(train) -> None:
    ordered = Matrix(train.features, np.sort(train.target), train.row, train.row)
    ids = training.folds_of(ordered, 5, "binary")
    for fold in range(5):
        assert set(ordered.target[ids == fold]) == set(ordered.target[ids != fold]) == {0, 1}
    numbers = Matrix(train.features, train.target.astype(float), train.row, train.row)
    assert (
        training.folds_of(numbers, 5, "regression") == training.fold_ids(numbers.group, 5)
    ).all()


def test_folds_that_can_not_be_are_told(train) -> None:
    few = Matrix(train.features, train.target, train.row % 4, train.row)
    with pytest.raises(
        DataError, match=r"5 folds need as many groups .* there are 4; set cv_folds"
    ):
        training.folds_of(few, 5, "regression")
    rare = np.zeros(len(train), dtype=np.int8)
    rare[[0, 700]] = 1
    with pytest.raises(DataError, match="fewer groups than the 5 folds"):
        training.folds_of(Matrix(train.features, rare, train.row, train.row), 5, "binary")


def test_folds_that_are_not_scored_by_themselves_may_hold_one_class(train) -> None:
    rare = np.zeros(len(train), dtype=np.int8)
    rare[[0, 400, 800, 1200]] = 1
    few = Matrix(train.features, rare, train.row, train.row)
    blocks = training.folds_of(few, 5, "binary", scored=False)
    assert (blocks == training.fold_ids(few.group, 5)).all()
    with pytest.raises(DataError, match="set a smaller cv_folds"):
        training.folds_of(few, 5, "binary")


def test_one_fold_is_no_cross_validation() -> None:
    with pytest.raises(ValueError, match="give 2 folds or more, or 0 for none"):
        Training(problem="p", type="ridge", cv_folds=1)


REFUSED = {
    "logistic_regression": {"C": -1.0},
    "random_forest": {"max_features": 2.0},
    "xgboost": {"max_depth": 5, "subsample": 7.0},
    "lightgbm": {"is_unbalance": True, "scale_pos_weight": 2.0},
    "hist_gradient_boosting": {"max_iter": 0},
    "blend": {"members": {"xgboost": {"subsample": 7.0}, "random_forest": {}}},
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_value_that_a_library_refuses_is_one_line(name: str, columns, train, stop) -> None:
    fault = f"params.yaml: {name} can't be fitted with these hyperparameters: [A-Za-z]"
    with pytest.raises(ConfigError, match=fault) as told:
        training.fit(name, Recipe("binary", columns, REFUSED[name]), train, stop)
    assert "\n" not in str(told.value)


def test_small_values_keep_their_digits(columns, train, stop) -> None:
    small, plain = (
        Matrix(train.features, train.target * scale + scale, train.group, train.row)
        for scale in (1e-9, 1.0)
    )
    found = []
    for part in (small, plain):
        model = training.fit("ridge", Recipe("regression", columns, {}), part, stop).estimator
        found.append(training.scores(model, train.features, "regression"))
    assert found[0] == pytest.approx(found[1] * 1e-9, rel=1e-5)
    assert len(np.unique(found[0])) > len(train) / 2
    assert (found[1] == np.round(found[1], 8)).all()


@pytest.mark.parametrize(
    ("name", "task", "params", "said"),
    [
        ("ridge", "regression", {"alpha": "1e-3"}, "alpha"),
        ("random_forest", "binary", {"n_estimators": "200"}, "n_estimators"),
        ("random_forest", "binary", {"n_estimators": None}, "n_estimators"),
        ("random_forest", "regression", {"n_estimators": 0}, "n_estimators"),
        ("extra_trees", "binary", {"max_samples": 0.5}, "max_sample"),
        ("logistic_regression", "binary", {"C": 0}, "C"),
    ],
)
def test_a_value_of_a_wrong_kind_is_one_line_too(name, task, params, said, columns, train, stop):
    with pytest.raises(ConfigError, match=f"{name} can't be fitted .*{said}"):
        training.fit(name, Recipe(task, columns, params), train, stop)


@pytest.mark.parametrize(
    ("name", "task", "objective"),
    [
        ("xgboost", "regression", "count:poisson"),
        ("lightgbm", "regression", "gamma"),
        ("lightgbm", "multiclass", "multiclassova"),
        ("xgboost", "binary", "binary:hinge"),
    ],
)
def test_an_objective_that_changes_what_a_margin_is_is_refused(name, task, objective, columns):
    recipe = Recipe(task, columns, {"objective": objective})
    with pytest.raises(ConfigError, match=f"objective '{objective}' would change what"):
        build(name, recipe)
    allowed = {
        "xgboost": {"regression": "reg:quantileerror", "binary": "binary:logistic"},
        "lightgbm": {"regression": "l1", "multiclass": "softmax"},
    }[name]
    for other, known in allowed.items():
        build(name, Recipe(other, columns, {"objective": known}))


def test_contributions_of_a_boosted_forest_add_up_to_its_margin(columns, train, stop, choose):
    params = {"boosting_type": "rf", "subsample": 0.8, "subsample_freq": 1, "n_estimators": 20}
    model = training.fit("lightgbm", Recipe("binary", columns, params), train, stop).estimator
    fast = model_type("lightgbm").scorer(model, "binary")
    rows = choose.features.to_numpy(dtype=np.float64)
    base, parts = fast.explainer()(rows)
    found = base[0] + parts[:, 0].sum(axis=1)
    assert found == pytest.approx(fast.margins(rows), abs=1e-9)
    chance = fast.outputs(rows)
    assert found == pytest.approx(np.log(chance / (1 - chance)), abs=1e-9)


def test_folds_are_calibrated_as_the_training_is(columns, train, stop):
    """Balanced scores of an uncalibrated forest would be decided by another scale's threshold."""
    params = {"n_estimators": 40, "min_samples_leaf": 5, "class_weight": "balanced"}
    recipe = Recipe("binary", columns, params)
    parts = {"train": train, "stop": stop}

    def means(calibration):
        given = {"problem": "toy", "type": "random_forest", "seed": 0, "params": params}
        row = Training(**given, cv_folds=3, calibration=calibration)
        seen = []
        training.fold_metrics(
            row,
            recipe,
            parts,
            lambda target, score: (
                seen.append((score.mean(), target.mean())),
                Scored(target, score, 0.5),
            )[1],
        )
        return np.array(seen).T

    score, target = means("sigmoid")
    assert score == pytest.approx(target, abs=0.06)
    plain, _ = means("none")
    assert np.abs(plain - target).min() > np.abs(score - target).max()
