"""Models and versions describe themselves in MLflow's pages, and every move keeps that true."""

import json
import re

import pandas as pd
import pytest
from tests.registry.loaded import load_version
from tests.registry.populated_registry import NAME, VERSIONS, stock

from lockstep.audit.doctor import diagnose, line_of
from lockstep.config.layout import ProblemLayout
from lockstep.errors import ArtifactError
from lockstep.registry.lifecycle import moves as lifecycle
from lockstep.registry.record.descriptions import BEGIN, END, version_description
from lockstep.registry.record.events import LONGEST_TAG
from lockstep.registry.record.registered_models import get_model
from lockstep.registry.store.json_tags import damaged_tags
from lockstep.registry.store.opening import open_to_read
from lockstep.registry.store.versions import Version
from lockstep.registry.train_stage import publish_training


@pytest.fixture
def filled(request):
    return stock(request)


def text_of(filled, number):
    return filled.client.get_model_version(NAME, str(number)).description


def model_text(filled):
    return filled.client.get_registered_model(NAME).description


def stages_said(filled):
    """Return each version's stage by its own description."""
    numbers = [version.version for version in filled.model.versions]
    return {n: re.search(r"Stage: \*\*(\w+)\*\*", text_of(filled, n))[1] for n in numbers}


def stages(filled):
    return {version.version: version.stage for version in filled.model.versions}


def test_a_version_says_what_it_is_from_its_registration_on(filled):
    text = text_of(filled, 2)
    assert text.startswith(BEGIN)
    assert text.endswith(END)
    assert f"**{NAME} version 2**: logistic_regression for the problem accidents" in text
    assert "| roc_auc | 0.81 | 0.81 |" in text
    assert "threshold 0.4 on the probability scale" in text
    assert filled.model.version(2).tag("model_digest") in text
    assert f"promote --model-name {NAME} --version 2" in text
    assert "no commit (no git repository)" in text


def test_every_move_keeps_stages_and_commands_true(filled):
    for go in (
        lambda: lifecycle.promote(filled.client, NAME, 1),
        lambda: lifecycle.transition(filled.client, NAME, 3, "Staging"),
        lambda: lifecycle.promote(filled.client, NAME, 3),
        lambda: lifecycle.rollback(filled.client, NAME),
        lambda: lifecycle.archive(filled.client, NAME, 2),
    ):
        go()
        assert stages_said(filled) == stages(filled)
        (there,) = filled.model.in_stage("Production")
        assert f"| Production | {there.version} |" in model_text(filled)
        assert f"rollback --model-name {NAME}" in text_of(filled, there.version)
    lifecycle.archive(filled.client, NAME, 1)
    assert "| Production |" not in model_text(filled)
    assert "@production" not in model_text(filled)


def test_what_a_person_wrote_stays(filled):
    own = "Ask Ana before you move it.\n\n| mine | \\1 |"
    filled.client.update_model_version(NAME, "1", own)
    filled.client.update_model_version(NAME, "2", f"{text_of(filled, 2)}\n\n{own}")
    filled.client.update_registered_model(NAME, f"Owner: Ana\n\n{model_text(filled)}")
    lifecycle.promote(filled.client, NAME, 1)
    lifecycle.archive(filled.client, NAME, 2)
    for number, stage in ((1, "Production"), (2, "Archived")):
        text = text_of(filled, number)
        assert text.endswith(own)
        assert text.count(BEGIN) == text.count(END) == 1
        assert f"Stage: **{stage}**" in text
    assert model_text(filled).startswith("Owner: Ana")


def test_text_that_leaves_no_room_stays_alone(filled):
    own = "x" * (LONGEST_TAG - 10)
    filled.client.update_model_version(NAME, "1", own)
    lifecycle.promote(filled.client, NAME, 1)
    assert text_of(filled, 1) == own
    assert filled.model.version(1).stage == "Production"


def test_moved_versions_and_those_in_use_get_missing_descriptions_by_the_next_move(filled):
    lifecycle.transition(filled.client, NAME, 2, "Staging")
    emptied(filled)
    lifecycle.promote(filled.client, NAME, 1)
    written = [v.version for v in filled.model.versions if v.description]
    assert written == [1, 2, 4]
    assert f"| the newest (None) | {VERSIONS} |" in model_text(filled)
    assert "Stage: **Production**" in text_of(filled, 1)
    lifecycle.archive(filled.client, NAME, 3)
    assert stages_said(filled) == stages(filled)


def test_doctor_names_and_writes_what_is_missing_or_outdated(filled):
    emptied(filled)
    (finding,) = (f for f in diagnose(filled.root).findings if f.name == "description")
    assert finding.message == (
        "the descriptions of the model and versions 1, 2, 3, 4 are missing or outdated"
    )
    after = diagnose(filled.root, fix=True)
    assert "description" in {f.name for f in after.repaired}
    assert "description" not in {f.name for f in after.findings}
    assert stages_said(filled) == stages(filled)


OTHER_JSON = ("[]", "{}", "3", '"x"', "true", '[{"a": 1}]', "1" * 400, "[" * 4000, "{", "")
DAMAGED = {
    "test_intervals": (*OTHER_JSON, '{"roc_auc": 3}', '{"roc_auc": ["a", "b"]}'),
    "classes": OTHER_JSON,
    "costs": (*OTHER_JSON, '{"a": 1}', '{"a": {"b": "x"}}'),
    "interval": (*OTHER_JSON, '{"coverage": "x"}', '{"coverage": null}'),
    "positive_weight": ("[]", "{}", "0", "-1", '"x"', "true", "NaN", "Infinity", "1" * 400, "x"),
}
WHOLE = {
    "test_intervals": ("{}", '{"roc_auc": [0.8, NaN]}'),
    "classes": ('["a", 1]', "[]", '[{"a": 1}]'),
    "costs": ("{}", '{"a": {"b": 2}}'),
    "interval": ('{"coverage": 0.9}',),
    "positive_weight": ("1", "1.25", "1e-05"),
}


@pytest.mark.parametrize("key", DAMAGED)
def test_json_of_another_kind_in_a_tag_is_damage_and_no_crash(key):
    others = {"test_roc_auc": "0.8"} | ({"classes": '["a", "b", "c"]'} if key == "costs" else {})
    for text in DAMAGED[key] + WHOLE[key]:
        tags = {f"lockstep.{name}": value for name, value in {**others, key: text}.items()}
        version = Version("S", 3, 0, "r", "", "None", tags)
        assert "Stage: **None**" in version_description(version)
        found = [fault for fault, _ in damaged_tags(version)]
        assert len(found) == (text not in WHOLE[key]), text
        assert all(fault.startswith(f"tag lockstep.{key} holds no ") for fault in found)


def test_doctor_names_a_damaged_tag_and_every_command_goes_on(filled):
    filled.client.set_model_version_tag(NAME, "1", "lockstep.interval", "3")
    filled.client.set_model_version_tag(NAME, "2", "lockstep.test_intervals", "[]")
    lifecycle.promote(filled.client, NAME, 1)
    assert stages_said(filled) == stages(filled)
    for fix in (False, True):
        found = [f for f in diagnose(filled.root, fix=fix).findings if f.name == "damaged tag"]
        assert [line_of(f) for f in found] == [
            f"damaged tag, {NAME} version 1: tag lockstep.interval holds no interval with a "
            "coverage; set it in MLflow's pages to the value in the version's model_card.json",
            f"damaged tag, {NAME} version 2: tag lockstep.test_intervals holds no intervals by "
            "metric; delete it in MLflow's pages: only the description shows it",
        ]
    with pytest.raises(ArtifactError, match=r"version 1: its tag lockstep.interval holds no"):
        load_version(filled.client, filled.root, NAME, version=1)


def emptied(filled):
    filled.client.update_registered_model(NAME, "")
    for version in filled.model.versions:
        filled.client.update_model_version(NAME, str(version.version), "")


def test_the_tables_read_the_descriptions_that_mlflow_gives(filled):
    assert get_model(open_to_read(filled.root), NAME) == get_model(filled.client, NAME)


def test_test_metrics_have_intervals_where_the_training_left_its_scores(workspace):
    score = [0.1, 0.4, 0.35, 0.8, 0.7, 0.2, 0.9, 0.3] * 10
    rows = range(len(score))
    table = {
        "__row__": rows,
        "__group__": rows,
        "part": "test",
        "__target__": [0, 0, 1, 1, 1, 0, 1, 0] * 10,
    }
    path = ProblemLayout(workspace, "accidents").scores("logistic_regression")
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame({**table, "score": score}).to_parquet(path)
    publish_training(workspace, "accidents", "logistic_regression")
    (version,) = get_model(open_to_read(workspace), NAME).versions
    low, high = json.loads(version.tags["lockstep.test_intervals"])["roc_auc"]
    assert 0.8 < low < 15 / 16 < high < 1  # one of sixteen pairs is in the wrong order
    assert f"{low:.4g} … {high:.4g}" in version.description


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ({"data_source": "sample", "dataset": "a"}, "The data are generated"),
        ({"score_scale": "balanced", "threshold": "0.5"}, "are no probabilities"),
        ({"dirty": "true", "git_commit": "ab12"}, "commit `ab12`, with changed inputs"),
        ({"dirty": "unknown", "git_commit": "ab12"}, "not compared with the inputs"),
        ({"dirty": "true", "git_commit": "a", "committed_as": "b"}, "committed later as `b`"),
        ({"pruned": "7"}, "reproduce --model-name 'My model' --version 3"),
        ({"classes": '["a","b","c"]', "costs": '{"a":{"b":2}}'}, 'class: `{"a": {"b": 2}}`'),
        ({"classes": '["a","b","c"]'}, "most probable class of 3"),
        ({"interval": '{"coverage":0.9}'}, "an interval that holds 90% of new rows"),
        ({"classes": "[damaged"}, "Stage: **None**"),
    ],
)
def test_each_fact_of_a_version_is_said(tags, said):
    tags = {f"lockstep.{key}": value for key, value in tags.items()}
    text = version_description(Version("My model", 3, 0, "r", "", "None", tags))
    assert said in text
    assert len(text) <= LONGEST_TAG
    again = Version("My model", 3, 0, "r", "", "None", tags, description=text)
    assert version_description(again) == text
