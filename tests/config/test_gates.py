from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.config.gates import Gates, gates_of
from lockstep.config.settings import CONFIG_FILE, load_settings
from lockstep.errors import ConfigError

PROJECT = Path(__file__).parents[2]


def configured(root, text):
    path = root / CONFIG_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("mlflow:\n  model_registry:\n    gates:\n" + text)
    return load_settings(root, environ={}).gates


def test_nothing_needs_to_be_configured(tmp_path):
    found = gates_of(load_settings(tmp_path, environ={}).gates, "accidents")
    assert found == Gates()
    assert found.floors == {"roc_auc": 0.5, "macro_roc_auc": 0.5, "r2": 0.0}


def test_the_shipped_default_section_says_what_the_code_does():
    shipped = load_settings(PROJECT, environ={}).gates
    assert gates_of(shipped, "a drafted problem") == Gates()
    assert gates_of(shipped, "accidents").floors["roc_auc"] > 0.5


def test_a_problem_overrides_the_default_key_by_key(tmp_path):
    sections = configured(
        tmp_path,
        """
      default: {floors: {roc_auc: 0.7, f1: 0.3}, slices: {min_rows: 50}, golden: false}
      accidents: {floors: {roc_auc: 0.8}, slices: {worse_by: 0.1}}
""",
    )
    found = gates_of(sections, "accidents")
    assert found.floors == {"roc_auc": 0.8, "f1": 0.3}
    assert (found.slices.min_rows, found.slices.worse_by, found.golden) == (50, 0.1, False)
    assert gates_of(sections, "credit_risk").slices.worse_by == 0.02


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "      default: {flors: {roc_auc: 1}}",
            r"unknown key .*flors' \(did you mean 'floors'\?\)",
        ),
        (
            "      default: {slices: {min_row: 1}}",
            r"unknown key .*min_row' \(did you mean 'min_rows'\?\)",
        ),
        ("      accidents: {champion: {margin: -1}}", r"accidents\.champion\.margin = -1"),
        ("      accidents: {champion: {min_rows: many}}", r"min_rows = 'many'"),
        ("      accidents: {floors: {roc_auc: .nan}}", r"floors\.roc_auc = nan"),
        ("      accidents: {calibration: {max_error: 2}}", r"max_error = 2"),
        ("      accidents: {golden: perhaps}", r"golden = 'perhaps'"),
        ("      accidents: 3", r"gates\.accidents = 3"),
    ],
)
def test_a_wrong_section_is_one_line_that_names_the_key(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message) as caught:
        configured(tmp_path, text)
    assert "\n" not in str(caught.value)


@given(
    default=st.dictionaries(st.sampled_from(["roc_auc", "f1", "r2"]), st.floats(0, 1)),
    own=st.dictionaries(st.sampled_from(["roc_auc", "f1", "r2"]), st.floats(0, 1)),
)
def test_every_floor_is_the_own_one_else_the_default_ones(default, own):
    sections = {"default": Gates(floors=default), "own": Gates(floors=own)}
    assert gates_of(sections, "own").floors == {**default, **own}
