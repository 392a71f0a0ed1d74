"""The tables of `make exp-show`: what differs between experiments, in lines of 160 columns."""

import json
from pathlib import Path

import pytest

from lockstep.commands import experiments
from lockstep.commands.experiments import differing_models, listed_states, table
from lockstep.errors import ConfigError

WIDTH = 160
SHA = "0123456789abcdef0123456789abcdef01234567"
TYPES = ("logistic_regression", "xgboost")
KEY = "credit_risk-logistic_regression"


def shown(name, *, c=0.1, auc=0.8, metrics=True, executor=None, split=0.2, above=""):
    """Return an entry as `dvc exp show --json` has it; its second model never differs."""
    path = f"{above}metrics/credit_risk/types/{{}}/metrics.json"
    figures = {"roc_auc": auc, "average_precision": 0.5, "f1": 0.4, "val_roc_auc": auc + 0.01}
    train = {
        f"credit_risk-{kind}": {"seed": 0, "params": {"C": c if kind == TYPES[0] else 1.0}}
        for kind in TYPES
    }
    params = {"train": train, "problems": {"credit_risk": {"split": {"test": split}}}}
    of = {TYPES[0]: figures, TYPES[1]: figures | {"roc_auc": 0.7, "val_roc_auc": 0.7}}
    data = {
        "metrics": {path.format(kind): {"data": of[kind]} for kind in TYPES} if metrics else {},
        "params": {f"{above}params.yaml": {"data": params}},
    }
    return {"rev": SHA, "name": name, "data": data, "error": None, "executor": executor}


def listing(*others, above=""):
    """Return the whole answer of DVC: workspace, commit, and the commit's experiments."""
    workspace = {**shown(None, above=above), "rev": "workspace", "experiments": None}
    under = [{"revs": [one], "executor": one["executor"], "name": one["name"]} for one in others]
    return [workspace, {**shown("main", above=above), "experiments": under}]


@pytest.fixture
def states(monkeypatch, tmp_path):
    """Return the states that the command makes of a listing."""
    (tmp_path / ".dvc").mkdir()

    def states(*others, folder="."):
        above = "" if folder == "." else f"{folder}/"
        answer = json.dumps(listing(*others, above=above))
        monkeypatch.setattr(experiments, "run_dvc", lambda *_: answer)
        return listed_states((tmp_path / folder).resolve())

    return states


def test_a_model_that_differs_has_a_row_for_the_commit_and_each_that_differs(states):
    (found,) = differing_models(states(shown("strong", c=0.001, auc=0.75), shown("the same")))
    assert found["model"] == KEY
    rows = {row["experiment"]: row for row in found["experiments"]}
    assert list(rows) == ["main", "strong"]
    assert rows["main"]["parameters"] == {"C": 0.1}
    assert rows["strong"]["parameters"] == {"C": 0.001}
    assert list(rows["strong"]["metrics"]) == ["val_roc_auc", "roc_auc", "average_precision", "f1"]
    assert rows["strong"]["metrics"]["roc_auc"] == 0.75


def test_nothing_differs(states):
    assert differing_models(states(shown("the same"))) == []


@pytest.mark.parametrize("state", ["queued", "running", "failed"])
@pytest.mark.parametrize("metrics", [False, True], ids=["without metrics", "with the commit's"])
def test_what_is_not_done_counts_by_its_parameters_alone(states, state, metrics):
    (found,) = differing_models(
        states(shown("one", c=5.0, metrics=metrics, executor={"state": state}))
    )
    assert found["model"] == KEY
    head, _, row = table(found).splitlines()[1:]
    assert "STATE" in head
    assert row.split() == ["one", state, "C=5.0"]


def test_what_the_queue_has_done_is_as_any_other(states):
    (found,) = differing_models(
        states(shown("one", c=5.0, auc=0.75, executor={"state": "success"}))
    )
    assert "STATE" not in table(found)
    assert found["experiments"][1]["metrics"]["roc_auc"] == 0.75


def test_a_workspace_that_dvc_cannot_read_is_one_line(monkeypatch, tmp_path):
    answer = listing()
    answer[0] |= {"data": None, "error": {"msg": "unable to read: 'params.yaml'", "type": "X"}}
    monkeypatch.setattr(experiments, "run_dvc", lambda *_: json.dumps(answer))
    with pytest.raises(ConfigError, match=r"can't read workspace: unable to read: 'params.yaml'"):
        listed_states(tmp_path)


def test_a_parameter_of_the_problem_is_shown_with_each_of_its_models(states):
    found = differing_models(states(shown("other split", split=0.3, auc=0.79)))
    shown_params = [[row["parameters"] for row in one["experiments"]] for one in found]
    assert shown_params == [[{"split.test": 0.2}, {"split.test": 0.3}]] * 2


def test_only_one_problem(states):
    assert differing_models(states(shown("strong", c=0.001)), "accidents") == []


def test_a_project_in_a_subfolder_below_dvc_s_own_folder(states):
    found = states(shown("strong", c=0.001, above="sub/"), folder="sub")
    assert [one["model"] for one in differing_models(found)] == [KEY]


def test_a_detached_commit_and_an_experiment_without_a_name_are_shown_by_short_sums(states):
    found = states({**shown(None, c=0.001)})
    assert [one["name"] for one in found] == ["workspace", "main", SHA[:7]]


@pytest.mark.parametrize("count", [0, 1, 12])
def test_lines_fit_a_terminal_however_many_parameters_differ(count):
    changed = {f"colsample_bytree_{n}": 0.123456789 for n in range(count)}
    figures = dict.fromkeys(("val_roc_auc", "roc_auc", "average_precision", "f1"), 0.123456)
    row = {"state": "queued", "metrics": figures, "parameters": changed}
    model = {"model": KEY, "experiments": [{"experiment": "e" * 40, **row}]}
    lines = table(model).splitlines()
    assert max(map(len, lines)) <= WIDTH
    text = " ".join(line[line.rfind("  ") :].strip() for line in lines)
    assert all(f"{name}=0.123456789" in text for name in changed)


def test_figures_of_an_older_metrics_json_by_part_are_left_out(states):
    entry = shown("old", c=0.001)
    path = next(iter(entry["data"]["metrics"]))
    entry["data"]["metrics"][path] = {"data": {"test": {"roc_auc": 0.7}, "threshold": 0.5}}
    (found,) = differing_models(states(entry))
    assert found["experiments"][1]["metrics"] == {"threshold": 0.5}


def test_there_is_a_target_for_it():
    text = (Path(__file__).parents[2] / "Makefile").read_text()
    assert "\nexp-show: $(READY) ## " in text
    assert "python -m lockstep.commands.experiments" in text
