"""What is not there and never comes ends the start; what may come is waited for behind the file."""

import pytest
from tests.serving.conftest import LOCAL, NAME

from lockstep.config.settings import load_settings
from lockstep.errors import ConfigError, RegistryError
from lockstep.io import read_json, write_json
from lockstep.registry.lifecycle.moves import promote
from lockstep.registry.store.connection import connect

FILE = {"MODEL_PATH": "models/accidents/xgboost_model.joblib"}


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"MODEL_URI": "runs:/deadbeef/model"}, "no run 'deadbeef' here"),
        ({"MODEL_URI": f"models:/{NAME}/99"}, f"{NAME} has no version 99"),
        ({"MODEL_URI": "models:/Nobody/1"}, "unknown model 'Nobody'"),
        ({"MLFLOW_MODEL_NAME": "Nobody"}, "unknown model 'Nobody'"),
    ],
)
def test_a_model_that_was_named_and_is_not_there_is_not_replaced_by_another(
    root, source_of, variables, message
):
    with pytest.raises(RegistryError, match=message):
        source_of(root, **LOCAL, **FILE, **variables)


def test_an_address_that_is_none_ends_the_start(root, source_of):
    with pytest.raises(ConfigError, match="mlruns"):
        source_of(root, **FILE, MLFLOW_TRACKING_URI="file:./mlruns")


def test_a_production_that_is_empty_may_fill_and_the_file_answers_meanwhile(root, source_of):
    source = source_of(root, **LOCAL, **FILE, MLFLOW_MODEL_NAME=NAME)
    assert source.served is not None
    assert source.served.checked.source == "path"
    assert "no version in Production" in source.fault
    promote(connect(load_settings(root, environ={}), root), NAME, 2)
    source.look()
    assert source.served.model.version == 2
    assert (source.fault, source.degraded) == ("", False)


def test_the_lineage_means_the_same_by_registry_and_by_tag(root, source_of):
    promote(connect(load_settings(root, environ={}), root), NAME, 1)
    told = source_of(root, **LOCAL).served.version_body
    assert told["source_place"] == f"models:/{NAME}/1"
    version = connect(load_settings(root, environ={}), root).get_model_version(NAME, "1")
    assert told["data_digest"] == version.tags["lockstep.data_digest"]
    assert told["data_dvc_hash"] == version.tags["lockstep.data_dvc_hash"]
    assert (version.tags["lockstep.dirty"], told["dirty"]) == ("unknown", None)  # here is no git


def test_a_file_names_the_version_run_and_commit_that_the_registry_has_of_it(root, source_of):
    served = source_of(root, **FILE).served
    client = connect(load_settings(root, environ={}), root)
    version = client.get_model_version(NAME, str(served.origin["version"]))
    assert version.tags["lockstep.model_digest"] == served.origin["model_digest"]
    assert (served.origin["model"], served.origin["run_id"]) == (NAME, version.run_id)
    body = served.version_body
    assert (body["run_id"], body["version"]) == (version.run_id, int(version.version))
    assert body["git_commit"] == version.tags["lockstep.git_commit"]
    assert (body["stage"], body["source"]) == (None, "path")  # a file does not follow moves


def test_a_file_of_another_threshold_is_not_taken_for_the_version(root, source_of):
    card = root / FILE["MODEL_PATH"].replace(".joblib", ".json")
    write_json(card, {**read_json(card), "threshold": 0.123}, digits=None)
    assert source_of(root, **FILE).served.origin["version"] is None


def test_a_file_is_served_without_a_name_where_there_is_no_registry(root, source_of):
    (root / "mlflow.db").unlink()
    served = source_of(root, **FILE).served
    assert (served.origin["version"], served.version_body["git_commit"]) == (None, None)
    assert served.origin["model"] == FILE["MODEL_PATH"]


def test_a_card_that_knows_them_is_believed_without_asking(root, source_of):
    card = root / FILE["MODEL_PATH"].replace(".joblib", ".json")
    release = {"name": "Mine", "version": 77, "run_id": "abc", "git_commit": "c0ffee"}
    write_json(card, {**read_json(card), "release": release}, digits=None)
    body = source_of(root, **FILE).served.version_body
    assert {key: body[key] for key in ("model", "version", "run_id", "git_commit")} == {
        "model": "Mine", "version": 77, "run_id": "abc", "git_commit": "c0ffee",
    }  # fmt: skip
