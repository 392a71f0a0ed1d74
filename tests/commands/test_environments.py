"""`--env`: the engine of an environment, and a trial in a folder of its own."""

from pathlib import Path

import pytest

from lockstep.commands import train_engines
from lockstep.commands.environments import overlaid
from lockstep.config.params import Environment, load_params, parse_params
from lockstep.errors import ConfigError, UsageError
from lockstep.io import parse_yaml

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "params.yaml").read_text(encoding="utf-8")


def test_the_trial_is_small_and_everything_else_stays() -> None:
    trial = load_params(ROOT).environment("dev")
    found = parse_yaml(overlaid(TEXT, trial), "params.yaml")
    before = parse_yaml(TEXT, "params.yaml")
    assert {one["source"]["sample"]["units"] for one in found["problems"].values()} == {3000}
    trees = {key: one["params"].get("n_estimators") for key, one in found["train"].items()}
    assert set(trees.values()) == {20, None}
    assert all(
        ("n_estimators" in before["train"][key]["params"]) == bool(n) for key, n in trees.items()
    )
    for name in ("problems", "train"):
        for key, section in before[name].items():
            own = found[name][key]
            assert {
                k: v for k, v in own.items() if k not in ("source", "params", "compare", "cv_folds")
            } == {
                k: v
                for k, v in section.items()
                if k not in ("source", "params", "compare", "cv_folds")
            }
    assert "# Everything that changes a result." in overlaid(TEXT, trial)


def test_a_star_means_every_name_and_a_missing_key_is_refused() -> None:
    text = overlaid(TEXT, Environment(apart=True, set={"train.*.cv_folds": 3}))
    folds = {key: one.cv_folds for key, one in parse_params(parse_yaml(text, "")).train.items()}
    assert {key for key, count in folds.items() if count == 3} == {
        key for key in folds if key.startswith("credit_risk")
    }
    with pytest.raises(ConfigError, match=r"environments set 'problems.accidents.splitt', which"):
        overlaid(TEXT, Environment(apart=True, set={"problems.accidents.splitt": 1}))
    with pytest.raises(ConfigError, match=r"problems\.accidents\.split\.test = 2"):
        overlaid(TEXT, Environment(apart=True, set={"problems.accidents.split.test": 2}))


def test_other_values_need_a_folder_of_their_own() -> None:
    content = parse_yaml(TEXT, "params.yaml")
    content["environments"]["prod"]["set"] = {"train.*.cv_folds": 2}
    with pytest.raises(ConfigError, match="set needs apart: true"):
        parse_params(content)


def test_an_unknown_environment_and_a_master_for_scikit_learn_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    for words, fault in (
        (
            ["--env", "prd"],
            r"unknown environment 'prd' \(did you mean 'prod'\?\); known: dev, prod",
        ),
        (["--master", "local"], "--master is for Spark, and --env prod trains with sklearn; run"),
    ):
        with pytest.raises(UsageError, match=fault):
            train_engines.run(None, train_engines.parser(None).parse_args(words))
