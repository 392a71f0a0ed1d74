"""A search that is killed and started again ends like the uninterrupted one."""

import pytest

from lockstep.commands.search import write_winner
from lockstep.config.params import Decision, Search, Training
from lockstep.errors import ConfigError
from lockstep.models.search import finished, open_study, run_study, study_name
from lockstep.models.search_objective import reporting

SEARCH = Search.model_validate(
    {
        "trials": 14,
        "seed": 3,
        "space": {
            "depth": {"low": 2, "high": 9},
            "rate": {"low": 0.01, "high": 0.5, "log": True},
            "kind": {"choice": ["a", "b"]},
        },
    }
)
CURRENT = {"depth": 4, "rate": 0.1, "kind": "a", "other": 7}


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


def score(params, report):
    best = (
        1 - abs(params["depth"] - 6) / 10 - abs(params["rate"] - 0.2) - (params["kind"] == "a") / 20
    )
    for step in range(4):
        report(step, best * (step + 1) / 4)
    return best


def search(storage, evaluate=score, search=SEARCH):
    study = open_study(storage, "toy", CURRENT, search)
    winner = run_study(study, search, evaluate, lambda _: None)
    return winner, [(r.number, r.params, r.value, r.pruned) for r in finished(study)]


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    return tmp_path_factory.mktemp("whole") / "search.db"


@pytest.fixture(scope="module")
def uninterrupted(storage):
    return search(storage)


@pytest.mark.long
@pytest.mark.parametrize("killed_at", [0, 1, 5, 9, 13])
def test_killed_and_started_again_it_ends_like_the_uninterrupted_one(
    tmp_path, uninterrupted, killed_at
):
    calls = iter(range(100))

    def dies_once(params, report):
        if next(calls) == killed_at:
            raise Killed
        return score(params, report)

    with pytest.raises(Killed):
        search(tmp_path / "search.db", dies_once)
    assert search(tmp_path / "search.db", dies_once) == uninterrupted


def test_the_first_trial_is_what_is_in_use_now(uninterrupted):
    _, trials = uninterrupted
    assert trials[0][1] == {"depth": 4, "rate": 0.1, "kind": "a"}


def test_the_winner_is_the_best_finished_trial_and_hopeless_ones_are_pruned(uninterrupted):
    winner, trials = uninterrupted
    whole = [t for t in trials if not t[3]]
    assert winner == max(whole, key=lambda t: t[2])[1]
    assert len(trials) == SEARCH.trials
    assert len(whole) < len(trials)


def test_a_finished_search_evaluates_nothing_again(storage, uninterrupted):
    def never(params, report):
        raise AssertionError("evaluated again")

    assert search(storage, never) == uninterrupted


def test_the_name_changes_with_what_the_search_depends_on_and_with_nothing_else():
    training = Training(problem="toy", type="xgboost", params=CURRENT)
    same = {"training": training, "decision": Decision(), "metric": "roc_auc", "data_digest": "d1"}
    name = study_name("toy-xgboost", SEARCH, **same)
    tuned = training.model_copy(update={"params": {**CURRENT, "depth": 9}})
    assert study_name("toy-xgboost", SEARCH, **{**same, "training": tuned}) == name
    others = {
        "training": training.model_copy(update={"params": {**CURRENT, "other": 8}}),
        "decision": Decision(policy="fixed", threshold=0.3),
        "metric": "f1",
        "data_digest": "d2",
    }
    for key, value in others.items():
        assert study_name("toy-xgboost", SEARCH, **{**same, key: value}) != name, key


def test_a_logarithmic_space_from_zero_is_refused(tmp_path):
    bad = Search.model_validate({"space": {"rate": {"low": 0.0, "high": 1.0, "log": True}}})
    with pytest.raises(ConfigError, match="search space of rate: low must be above 0"):
        search(tmp_path / "search.db", search=bad)


def test_a_logarithmic_space_of_whole_numbers_from_zero_is_refused_too(tmp_path):
    bad = Search.model_validate({"space": {"leaf": {"low": 0, "high": 100, "log": True}}})
    with pytest.raises(ConfigError, match="search space of leaf: low must be above 0"):
        search(tmp_path / "search.db", search=bad)


@pytest.mark.parametrize("value", ["balanced", None, [1]])
def test_a_value_in_use_that_no_trial_may_have_is_not_tried(tmp_path, value):
    space = {"depth": {"low": 2, "high": 9}, "kind": {"choice": ["a", "b"]}}
    own = Search.model_validate({"trials": 2, "space": space})
    for current in ({"depth": value, "kind": "a"}, {"depth": 4, "kind": value}):
        study = open_study(tmp_path / "search.db", str(current), current, own)
        found = run_study(study, own, lambda params, _: params["depth"], lambda _: None)
        assert found["kind"] in ("a", "b")
        assert len(finished(study)) == 2


def test_a_training_that_is_whole_is_judged_by_its_metric_alone():
    told = []
    on_step = reporting(lambda step, value: told.append((step, value)))
    for done in range(1, 21):
        on_step(done, 20, 1 / done)
    assert [step for step, _ in told] == list(range(1, 10))


def test_a_winner_that_is_in_use_leaves_the_file_as_it_is(tmp_path):
    text = """problems: {p: {model_types: [xgboost]}}
train: {p-xgboost: {problem: p, type: xgboost, params: {depth: 5, rate: 0.1}}}  # a remark
"""
    (tmp_path / "params.yaml").write_text(text)
    write_winner(tmp_path, "p-xgboost", {"depth": 5.0, "rate": 0.1})
    assert (tmp_path / "params.yaml").read_text() == text
    write_winner(tmp_path, "p-xgboost", {"depth": 6.0, "rate": 0.1})
    assert "depth: 6.0, rate: 0.1" in (tmp_path / "params.yaml").read_text()
