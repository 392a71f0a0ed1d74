"""Edits of params.yaml: only the lines that are meant change."""

import difflib
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lockstep.config.params import read_params_text
from lockstep.config.params_file import KeyPath, parsed, with_sections, with_values
from lockstep.errors import ConfigError

ROOT = Path(__file__).parents[2]
TEXT = """\
# head
problems:
  pears:
    source:
      kind: sample   # one of four
      external: data/external/NONE
    split: {kind: time, test: 0.2}
    model_types: [xgboost]   # only one

# One row a training
train:
  pears-xgboost:
    problem: pears
    type: xgboost
    params: {max_depth: null, gamma: 1.50, tag: 'a'}
# tail
"""
FRAGMENT = """\
# about plums
problems:
  plums:
    source: {kind: table}   # theirs
    model_types: [xgboost]
train:
  plums-xgboost: {problem: plums, type: xgboost}
"""


def changed(before: str, after: str) -> tuple[list[str], list[str]]:
    lines = list(difflib.ndiff(before.splitlines(), after.splitlines()))
    return [x[2:] for x in lines if x[0] == "-"], [x[2:] for x in lines if x[0] == "+"]


def test_one_value_changes_one_line() -> None:
    after = with_values(TEXT, {("problems", "pears", "source", "kind"): "table"})
    assert changed(TEXT, after) == (
        ["      kind: sample   # one of four"],
        ["      kind: table    # one of four"],
    )


def test_values_inside_a_line_change_that_line_alone() -> None:
    after = with_values(TEXT, {("problems", "pears", "split", "kind"): "given"})
    assert changed(TEXT, after)[1] == ["    split: {kind: given, test: 0.2}"]


def test_the_same_values_leave_every_byte() -> None:
    odd = TEXT.replace("pears:\n", "pears:   \n", 1)
    assert with_values(odd, {("problems", "pears", "source", "kind"): "sample"}) == odd


def test_missing_sections_on_the_way_are_made() -> None:
    after = with_values(TEXT, {("problems", "pears", "features", "folds"): 3})
    assert parsed(after).problem("pears").features.folds == 3


def test_a_fragment_goes_to_the_end_of_each_section_with_its_comments() -> None:
    after = with_sections(TEXT, FRAGMENT)
    removed, added = changed(TEXT, after)
    assert removed == []
    assert added == [*FRAGMENT.splitlines()[2:5], FRAGMENT.splitlines()[6]]
    lines = after.splitlines()
    assert lines[lines.index("train:") - 1] == "# One row a training"
    assert lines[-1] == "# tail"
    assert set(parsed(after).problems) == {"pears", "plums"}


def test_what_is_there_already_is_not_added_again() -> None:
    once = with_sections(TEXT, FRAGMENT)
    assert with_sections(once, FRAGMENT) == once
    without_training = once.replace("  plums-xgboost: {problem: plums, type: xgboost}\n", "")
    assert parsed(with_sections(without_training, FRAGMENT)) == parsed(once)


def test_entries_that_are_there_keep_their_own_values() -> None:
    more = FRAGMENT.replace("  plums:\n", "  pears:\n    model_types: [lightgbm]\n  plums:\n")
    after = with_sections(TEXT, more)
    assert parsed(after).problem("pears").model_types == ["xgboost"]
    assert "plums" in parsed(after).problems


def test_a_section_that_is_not_there_is_begun_at_the_end() -> None:
    assert with_sections("problems:\n  a: {b: 1}  # why\n", "search:\n  c:\n    trials: 2\n") == (
        "problems:\n  a: {b: 1}  # why\n\nsearch:\n  c:\n    trials: 2\n"
    )


@pytest.mark.parametrize("text", ["problems: {}\ntrain: {}\n", "train:\n  a: {}\nproblems:\n"])
def test_a_section_that_is_no_block_is_named(text: str) -> None:
    with pytest.raises(ConfigError, match="no block `problems:`"):
        with_sections(text, FRAGMENT)


@pytest.mark.parametrize("text", ["a: [", "a: 1\na: 2\n", "- a\n", ""])
def test_a_broken_file_is_one_line(text: str) -> None:
    with pytest.raises(ConfigError, match=r"params\.yaml") as caught:
        with_values(text, {("a",): 3})
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="git checkout"):
        read_params_text(tmp_path)


@pytest.mark.parametrize("value", [1.0, True, [1], {"n": 1.0}, {"n": [True]}])
def test_a_value_of_another_type_is_a_change(value: Any) -> None:
    before = {"n": [1]} if value == {"n": [True]} else {"n": 1} if isinstance(value, dict) else 1
    text = yaml.safe_dump({"a": before})
    after = yaml.safe_load(with_values(text, {("a",): value}))["a"]
    assert repr(after) == repr(value)
    assert with_values(text, {("a",): before}) == text


scalars = st.one_of(
    st.integers(-(10**9), 10**9), st.booleans(), st.floats(1e-3, 1e3), st.sampled_from("ab")
)


@given(value=scalars, key=st.sampled_from(["max_depth", "gamma", "tag", "eta"]))
def test_only_the_key_that_is_set_changes_what_is_read(value: Any, key: str) -> None:
    after = yaml.safe_load(with_values(TEXT, {("train", "pears-xgboost", "params", key): value}))
    expected = yaml.safe_load(TEXT)
    expected["train"]["pears-xgboost"]["params"][key] = value
    assert after == expected


def test_a_value_set_in_a_shared_mapping_changes_where_it_is_used_too() -> None:
    """So a search's winners also reach the blend that names them."""
    text = "a:\n  x: &shared {depth: 3}    # kept\n  y:\n    members: {x: *shared}\n"
    after = with_values(text, {("a", "x", "depth"): 5})
    assert after == text.replace("depth: 3", "depth: 5")
    assert yaml.safe_load(after)["a"]["y"]["members"]["x"] == {"depth": 5}


SHARED = """\
train:
  one:
    params: &trees {depth: 3, more: {rate: 0.1}}    # kept
  two:
    params: *trees
  three:
    params: {<<: *trees, depth: 5}
"""


@pytest.mark.parametrize(
    "path",
    [
        ("train", "two", "params", "depth"),
        ("train", "two", "params", "added"),
        ("train", "two", "params", "more", "rate"),
        ("train", "three", "params", "more", "rate"),
    ],
)
def test_a_value_below_an_alias_is_refused_with_what_it_would_change(path: KeyPath) -> None:
    with pytest.raises(ConfigError, match=r"is an alias of train\.one\.params") as caught:
        with_values(SHARED, {path: 7})
    assert f"write the block out below train.{path[1]}.params" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_value_below_an_alias_is_set_with_that_of_its_anchor() -> None:
    names = ("one", "two")
    after = with_values(SHARED, {("train", name, "params", "depth"): 7 for name in names})
    assert after == SHARED.replace("depth: 3", "depth: 7")


def test_an_aliased_block_that_is_replaced_or_merged_has_its_own_values() -> None:
    after = yaml.safe_load(with_values(SHARED, {("train", "two", "params"): {"depth": 7}}))
    assert after["train"]["one"] == yaml.safe_load(SHARED)["train"]["one"]
    assert after["train"]["two"]["params"] == {"depth": 7}
    after = yaml.safe_load(with_values(SHARED, {("train", "three", "params", "depth"): 7}))
    assert after["train"]["three"]["params"]["depth"] == 7
    assert after["train"]["one"]["params"]["depth"] == 3


def test_the_projects_own_file_keeps_all_lines_but_the_ones_set() -> None:
    text = read_params_text(ROOT)
    after = with_values(text, {("problems", "accidents", "preprocess", "max_dropped"): 0.123})
    removed, added = changed(text, after)
    assert len(removed) == len(added) == 1
    assert parsed(after).problem("accidents").preprocess.max_dropped == 0.123
