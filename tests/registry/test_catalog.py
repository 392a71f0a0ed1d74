from types import SimpleNamespace

import pytest

from lockstep.errors import RegistryError, UsageError
from lockstep.registry.lifecycle import moves as lifecycle
from lockstep.registry.record.registered_models import get_model, list_models, newest_in
from lockstep.registry.store import names, queries
from lockstep.registry.store.opening import open_registry, source_of
from lockstep.registry.store.versions import Version

XGBOOST, FOREST = "Accident_Prediction_XGBoost", "Accident_Prediction_Random_Forest"


def add(client, name, versions):
    client.create_registered_model(name)
    for _ in range(versions):
        client.create_model_version(name, "/nowhere", tags={"lockstep.stage": "None"})


def test_versions_sort_as_numbers_and_pages_are_followed(home, monkeypatch):
    monkeypatch.setattr(queries, "PAGE", 4)
    add(home.client, XGBOOST, 11)
    add(home.client, FOREST, 1)
    assert [v.version for v in get_model(home.client, XGBOOST).versions] == list(range(1, 12))
    listed = {m.name: len(m.versions) for m in list_models(home.client)}
    assert listed == {FOREST: 1, XGBOOST: 11}


def test_numbers_that_a_server_sends_as_text_are_numbers():
    def search(max_results, page_token, filter_string):
        return Page(raw(number) for number in ("9", "11", "10"))

    client = SimpleNamespace(
        tracking_uri="http://127.0.0.1:9",
        get_registered_model=lambda name: SimpleNamespace(
            name=name, description=None, aliases={"production": "9"}, tags={}
        ),
        search_model_versions=search,
    )
    model = get_model(client, XGBOOST)
    assert [v.version for v in model.versions] == [9, 10, 11]
    assert model.aliases == {"production": 9}


class Page(list):
    token = ""


def raw(number):
    return SimpleNamespace(
        name=XGBOOST,
        version=number,
        creation_timestamp="5",
        run_id="",
        source="/x",
        current_stage=None,
        description=None,
        tags={},
    )


def test_aliases_are_those_of_the_registered_model(home):
    add(home.client, XGBOOST, 2)
    home.client.set_registered_model_alias(XGBOOST, "production", "2")
    assert get_model(home.client, XGBOOST).aliases == {"production": 2}
    assert list_models(home.client)[0].aliases == {"production": 2}


@pytest.mark.parametrize("name", ["O'Brien's model", 'the "new" model'])
def test_a_name_may_hold_quotes(home, name):
    add(home.client, name, 2)
    assert [v.version for v in get_model(home.client, name).versions] == [1, 2]
    assert {v.version for v in queries.Queries(home.client).versions(name)} == {1, 2}


def test_models_without_versions_are_listed(home):
    add(home.client, XGBOOST, 0)
    (model,) = list_models(home.client)
    assert model.versions == ()
    with pytest.raises(RegistryError, match="has no version yet"):
        model.newest  # noqa: B018


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "Accident_Prediction_XGBost",
            r"\(did you mean 'Accident_Prediction_XGBoost'\?\); registered: Acc",
        ),
        ("x' or name like '%", "unknown model"),
        ("", "unknown model ''"),
    ],
)
def test_unknown_names_are_one_line_with_the_nearest(home, name, message):
    add(home.client, XGBOOST, 1)
    with pytest.raises(RegistryError, match=message):
        get_model(home.client, name)


def test_an_empty_registry_says_how_to_fill_it(home):
    with pytest.raises(RegistryError, match=r"holds no model yet.*make run-train"):
        get_model(home.client, XGBOOST)


def test_a_tag_that_holds_no_stage_counts_as_none():
    version = Version(XGBOOST, 1, 0, None, "", "None", {"lockstep.stage": "Prod"})
    assert version.stage == "None"


def test_scores_and_dirt_are_only_what_was_written():
    tags = {
        "lockstep.validation_f1": "0.71",
        "lockstep.test_f1": "0.7",
        "lockstep.threshold": "0.4",
    }
    version = Version(XGBOOST, 1, 0, None, "", "None", tags)
    assert version.scores == {"test_f1": 0.7, "validation_f1": 0.71}
    assert version.dirty is None
    assert Version(XGBOOST, 1, 0, None, "", "None", {"lockstep.dirty": "unknown"}).dirty is None


def test_versions_of_a_run(home):
    run = home.client.create_run("0").info.run_id
    add(home.client, XGBOOST, 1)
    home.client.create_model_version(XGBOOST, "/nowhere", run)
    assert [v.version for v in source_of(home.client).versions_of_run(run)] == [2]


def test_no_registry_is_an_error_and_none_is_made(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(
        RegistryError, match=r"no registry yet: .*mlflow.db is missing .*make run-train"
    ):
        open_registry(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("version", ["0", "latest", "1.5", "-3", "", " "])
def test_version_numbers_are_whole_and_from_one_up(version):
    with pytest.raises(UsageError, match="is no version number"):
        names.check_version(version)


def test_the_versions_of_one_stage_are_those_of_the_whole(home):
    client = home.client
    client.create_registered_model(XGBOOST)
    run = client.create_run("0").info
    for _ in range(4):
        client.create_model_version(XGBOOST, run.artifact_uri, run.run_id)
    lifecycle.promote(client, XGBOOST, 2)
    lifecycle.transition(client, XGBOOST, 4, "Staging")
    lifecycle.transition(client, XGBOOST, 1, "Staging")
    client.set_model_version_tag(
        XGBOOST, "3", "lockstep.stage", "Staging"
    )  # by hand: the record says None
    client.delete_model_version_tag(XGBOOST, "1", "lockstep.stage")
    whole = get_model(client, XGBOOST)
    for stage in ("Staging", "Production", "Archived"):
        few = get_model(client, XGBOOST, stage)
        assert [v.version for v in few.versions] == [v.version for v in whole.in_stage(stage)]
    assert newest_in(client, XGBOOST, "Staging")[1].version == 4
    assert newest_in(client, XGBOOST, "None")[1].version == 3
    with pytest.raises(RegistryError, match="has no version in Archived; versions: 1 "):
        newest_in(client, XGBOOST, "Archived")
