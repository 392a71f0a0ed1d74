"""params.yaml, typed: every fault one line with key and fix."""

import copy
from pathlib import Path

import pytest

from lockstep.config import params
from lockstep.config.params import UNSEEN, load_params, parse_params
from lockstep.errors import ConfigError, UsageError

ROOT = Path(__file__).parents[2]
CONTENT = {
    "problems": {"toy": {"model_types": ["xgboost"], "source": {"kind": "sample"}}},
    "train": {"toy-xgboost": {"problem": "toy", "type": "xgboost", "params": {"max_depth": 3}}},
}


def broken(change):
    content = copy.deepcopy(CONTENT)
    change(content)
    with pytest.raises(ConfigError) as error:
        parse_params(content)
    message = str(error.value)
    assert "\n" not in message
    return message


def test_the_projects_own_params_are_valid():
    assert load_params(ROOT).problem("accidents").model_types == [
        "logistic_regression",
        "random_forest",
        "xgboost",
        "lightgbm",
    ]


def test_a_misspelt_key_comes_with_the_nearest_one():
    message = broken(lambda c: c["problems"]["toy"].update(sorce={}))
    assert message == "params.yaml: unknown key 'problems.toy.sorce' (did you mean 'source'?)"
    assert "(did you mean 'seed'?)" in broken(lambda c: c["train"]["toy-xgboost"].update(sed=1))
    assert "(did you mean 'kind'?)" in broken(
        lambda c: c["problems"]["toy"]["source"].update(knd="sample")
    )


def test_a_wrong_value_names_key_and_value():
    message = broken(lambda c: c["problems"]["toy"]["source"].update(kind="smple"))
    assert message.startswith("params.yaml: problems.toy.source.kind = 'smple'")
    assert message.endswith("(did you mean 'sample'?)")


def test_values_are_named_as_they_are_to_be_written():
    assert "input should be a valid integer" in broken(
        lambda c: c["problems"]["toy"].update(split={"kind": "time", "seed": "x"})
    )
    message = broken(
        lambda c: c.update(search={"toy-xgboost": {"space": {"max_depth": {"low": 3}}}})
    )
    assert message.endswith(".max_depth = {'low': 3}: give low and high, or choice")


def test_model_types_and_trainings_must_agree():
    assert "(did you mean 'toy-xgboost'?)" in broken(
        lambda c: c["problems"]["toy"].update(model_types=["xgbost"])
    )
    extra = {"problem": "toy", "type": "lightgbm"}
    assert "add 'lightgbm' there" in broken(lambda c: c["train"].update({"toy-lightgbm": extra}))
    assert (
        "type 'xgbost', but must hold what its name says (did you mean 'toy-xgboost'?)"
        in broken(lambda c: c["train"]["toy-xgboost"].update(type="xgbost"))
    )
    assert "must be called toy-lightgbm" in broken(lambda c: c["train"].update({"toy-lgbm": extra}))


def test_unknown_problem_and_type_are_usage_errors():
    params = parse_params(CONTENT)
    with pytest.raises(UsageError, match=r"unknown problem 'tou' \(did you mean 'toy'\?\)"):
        params.problem("tou")
    with pytest.raises(
        UsageError, match=r"unknown model type of toy 'xgbost' \(did you mean 'xgboost'\?\)"
    ):
        params.training("toy", "xgbost")


def test_a_missing_or_broken_file_says_how_to_mend_it(tmp_path):
    with pytest.raises(ConfigError, match=r"git checkout params\.yaml"):
        load_params(tmp_path)
    (tmp_path / "params.yaml").write_text("a: [1")
    with pytest.raises(ConfigError, match="no valid YAML"):
        load_params(tmp_path)
    (tmp_path / "params.yaml").write_text("")
    with pytest.raises(ConfigError, match=r"params\.yaml is empty; restore it with `git checkout"):
        load_params(tmp_path)


def test_a_file_of_another_code_page_says_how_to_mend_it(tmp_path):
    (tmp_path / "params.yaml").write_bytes("# für\na: 1".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"params\.yaml is not UTF-8 \(byte 0xfc.*save it as"):
        load_params(tmp_path)


def test_a_search_space_is_checked():
    def space(**given):
        return lambda c: c.update(search={"toy-xgboost": {"space": {"max_depth": given}}})

    assert "low must be below high" in broken(space(low=3, high=3))
    assert "give low and high, or choice" in broken(space(low=3))
    assert "give low and high, or choice" in broken(space(low=3, high=4, choice=[1]))
    other = {"toy-xgbost": {"space": {"max_depth": {"low": 1, "high": 2}}}}
    assert "search.toy-xgbost names no training (did you mean 'toy-xgboost'?)" in broken(
        lambda c: c.update(search=other)
    )


@pytest.mark.parametrize("key", UNSEEN)
def test_a_key_that_dvc_leaves_out_of_its_hash_is_refused_at_any_depth(key):
    assert "DVC does not see" in broken(
        lambda c: c["train"]["toy-xgboost"]["params"].update({key: 3})
    )
    assert f"problems.toy.source.{key}" in broken(
        lambda c: c["problems"]["toy"]["source"].update({key: 3})
    )


def test_no_section_declares_a_key_that_dvc_leaves_out_of_its_hash():
    sections = [section for section in vars(params).values() if isinstance(section, type)]
    names = {name for section in sections for name in getattr(section, "model_fields", {})}
    assert "units" in names
    assert not names & set(UNSEEN)
