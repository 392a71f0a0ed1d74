"""Models and versions describe themselves in MLflow's pages, and every move keeps that true."""

import json
import re

import pandas as pd
import pytest
from tests.registry.populated_registry import NAME, VERSIONS, stock

from lockstep.audit.doctor import diagnose
from lockstep.config.layout import ProblemLayout
from lockstep.registry.lifecycle import moves as lifecycle
from lockstep.registry.record.descriptions import BEGIN, END, version_description
from lockstep.registry.record.events import LONGEST_TAG
from lockstep.registry.record.registered_models import get_model
from lockstep.registry.store.opening import open_to_read
from lockstep.registry.store.versions import Version
from lockstep.registry.train_stage import publish_training


@pytest.fixture
def shop(request):
    return stock(request)


def text_of(shop, number):
    return shop.client.get_model_version(NAME, str(number)).description


def model_text(shop):
    return shop.client.get_registered_model(NAME).description


def stages_said(shop):
    """Return each version's stage by its own description."""
    numbers = [version.version for version in shop.model.versions]
    return {n: re.search(r"Stage: \*\*(\w+)\*\*", text_of(shop, n))[1] for n in numbers}


def stages(shop):
    return {version.version: version.stage for version in shop.model.versions}


def test_a_version_says_what_it_is_from_its_registration_on(shop):
    text = text_of(shop, 2)
    assert text.startswith(BEGIN)
    assert text.endswith(END)
    assert f"**{NAME} version 2**: logistic_regression for the problem accidents" in text
    assert "| roc_auc | 0.81 | 0.81 |" in text
    assert "threshold 0.4 on the probability scale" in text
    assert shop.model.version(2).tag("model_digest") in text
    assert f"promote --model-name {NAME} --version 2" in text
    assert "no commit (no git repository)" in text


def test_every_move_keeps_stages_and_commands_true(shop):
    for go in (
        lambda: lifecycle.promote(shop.client, NAME, 1),
        lambda: lifecycle.transition(shop.client, NAME, 3, "Staging"),
        lambda: lifecycle.promote(shop.client, NAME, 3),
        lambda: lifecycle.rollback(shop.client, NAME),
        lambda: lifecycle.archive(shop.client, NAME, 2),
    ):
        go()
        assert stages_said(shop) == stages(shop)
        (there,) = shop.model.in_stage("Production")
        assert f"| Production | {there.version} |" in model_text(shop)
        assert f"rollback --model-name {NAME}" in text_of(shop, there.version)
    lifecycle.archive(shop.client, NAME, 1)
    assert "| Production |" not in model_text(shop)
    assert "@production" not in model_text(shop)


def test_what_a_person_wrote_stays(shop):
    own = "Ask Ana before you move it.\n\n| mine | \\1 |"
    shop.client.update_model_version(NAME, "1", own)
    shop.client.update_model_version(NAME, "2", f"{text_of(shop, 2)}\n\n{own}")
    shop.client.update_registered_model(NAME, f"Owner: Ana\n\n{model_text(shop)}")
    lifecycle.promote(shop.client, NAME, 1)
    lifecycle.archive(shop.client, NAME, 2)
    for number, stage in ((1, "Production"), (2, "Archived")):
        text = text_of(shop, number)
        assert text.endswith(own)
        assert text.count(BEGIN) == text.count(END) == 1
        assert f"Stage: **{stage}**" in text
    assert model_text(shop).startswith("Owner: Ana")


def test_text_that_leaves_no_room_stays_alone(shop):
    own = "x" * (LONGEST_TAG - 10)
    shop.client.update_model_version(NAME, "1", own)
    lifecycle.promote(shop.client, NAME, 1)
    assert text_of(shop, 1) == own
    assert shop.model.version(1).stage == "Production"


def test_moved_versions_and_those_in_use_get_missing_descriptions_by_the_next_move(shop):
    lifecycle.transition(shop.client, NAME, 2, "Staging")
    emptied(shop)
    lifecycle.promote(shop.client, NAME, 1)
    written = [v.version for v in shop.model.versions if v.description]
    assert written == [1, 2, 4]
    assert f"| the newest (None) | {VERSIONS} |" in model_text(shop)
    assert "Stage: **Production**" in text_of(shop, 1)
    lifecycle.archive(shop.client, NAME, 3)
    assert stages_said(shop) == stages(shop)


def test_doctor_names_and_writes_what_is_missing_or_outdated(shop):
    emptied(shop)
    (finding,) = (f for f in diagnose(shop.root).findings if f.name == "description")
    assert finding.message == (
        "the descriptions of the model and versions 1, 2, 3, 4 are missing or outdated"
    )
    after = diagnose(shop.root, fix=True)
    assert "description" in {f.name for f in after.repaired}
    assert "description" not in {f.name for f in after.findings}
    assert stages_said(shop) == stages(shop)


def emptied(shop):
    shop.client.update_registered_model(NAME, "")
    for version in shop.model.versions:
        shop.client.update_model_version(NAME, str(version.version), "")


def test_the_tables_read_the_descriptions_that_mlflow_gives(shop):
    assert get_model(open_to_read(shop.root), NAME) == get_model(shop.client, NAME)


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
