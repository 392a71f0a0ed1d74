"""KEY=VALUE pairs go where they belong in params.yaml, typed as YAML.

A wrong key is answered by one line with the nearest key.
"""

from pathlib import Path

import pytest
import yaml

from lockstep.commands.overrides import with_overrides
from lockstep.errors import ConfigError, LockstepError, UsageError

PARAMS = """
# what changes a result
problems:
  pears:
    split: {kind: group, seed: 0}  # by tree
    model_types: [xgboost, lightgbm]
train:
  pears-xgboost: {problem: pears, type: xgboost, params: {max_depth: 5}}
  pears-lightgbm:
    problem: pears
    type: lightgbm
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "params.yaml").write_text(PARAMS)
    return tmp_path


@pytest.mark.parametrize(
    ("given", "path", "value"),
    [
        ("xgboost.max_depth=6", "train.pears-xgboost.params.max_depth", 6),
        ("lightgbm.learning_rate=1e-3", "train.pears-lightgbm.params.learning_rate", 0.001),
        ("lightgbm.learning_rate=1e-05", "train.pears-lightgbm.params.learning_rate", 0.00001),
        ("xgboost.early_stopping_rounds=20", "train.pears-xgboost.early_stopping_rounds", 20),
        ("xgboost.params.max_depth=7", "train.pears-xgboost.params.max_depth", 7),
        ("split.seed=3", "problems.pears.split.seed", 3),
        ("problems.pears.split.test=0.3", "problems.pears.split.test", 0.3),
        (
            "source.sample={units: 500, years: [2021, 2022]}",
            "problems.pears.source.sample.years",
            [2021, 2022],
        ),
        ("train.pears-xgboost.seed=4", "train.pears-xgboost.seed", 4),
        ("xgboost.grow_policy=lossguide", "train.pears-xgboost.params.grow_policy", "lossguide"),
        ("xgboost.grow_policy=a=b", "train.pears-xgboost.params.grow_policy", "a=b"),
    ],
)
def test_a_value_goes_where_its_key_says(root: Path, given: str, path: str, value: object) -> None:
    text, _ = with_overrides(root, "pears", [given])
    found = yaml.safe_load(text)
    for step in path.split("."):
        found = found[step]
    assert found == value
    assert type(found) is type(value)
    assert "# what changes a result" in text
    assert "# by tree" in text
    assert (root / "params.yaml").read_text() == PARAMS


def test_several_values_are_one_change_and_none_is_none(root: Path) -> None:
    text, params = with_overrides(root, "pears", ["xgboost.max_depth=6", "split.seed=2"])
    assert params.train["pears-xgboost"].params == {"max_depth": 6}
    assert params.problem("pears").split.seed == 2
    assert with_overrides(root, "pears", [])[0] == PARAMS
    assert text != PARAMS


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("xgbost.max_depth=6", "unknown key 'xgbost' (did you mean 'xgboost'?)"),
        ("splitt.seed=6", "unknown key 'splitt' (did you mean 'split'?)"),
        ("split.sed=6", "unknown key 'problems.pears.split.sed' (did you mean 'seed'?)"),
        (
            "train.pears-xgbost.seed=1",
            "unknown entry of train 'pears-xgbost' (did you mean 'pears-xgboost'?)",
        ),
        ("problems.pear.split.seed=1", "unknown entry of problems 'pear' (did you mean 'pears'?)"),
        ("train.pears-xgboost=1", "name a key below an entry of train"),
        ("split.seed=one", "split.seed = 'one'"),
        ("split.seed", "give TYPE.NAME=VALUE"),
        ("=3", "give TYPE.NAME=VALUE"),
        ("split..seed=3", "give TYPE.NAME=VALUE"),
        ("xgboost=3", "give TYPE.NAME=VALUE"),
        ("split.seed=[1", "'[1' is no YAML value"),
        ("model_types=[xgboost]", "not among problems.pears.model_types"),
    ],
)
def test_what_cannot_be_meant_is_one_line(root: Path, given: str, said: str) -> None:
    with pytest.raises((UsageError, ConfigError)) as caught:
        with_overrides(root, "pears", [given])
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_problem_names_the_nearest(root: Path) -> None:
    with pytest.raises(LockstepError, match="did you mean 'pears'"):
        with_overrides(root, "pear", [])
