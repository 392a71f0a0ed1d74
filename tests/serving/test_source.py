"""What is not there and never comes ends the start; what may come is waited for behind the file."""

import pytest
from tests.serving.conftest import NAME

from lockstep.config.settings import load_settings
from lockstep.errors import ConfigError, RegistryError
from lockstep.registry.record.lifecycle import promote
from lockstep.registry.store import connect
from lockstep.serving.settings import load_serving
from lockstep.serving.source import Source

LOCAL = {"PROBLEM": "accidents", "MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"}
FILE = {"MODEL_PATH": "models/accidents/xgboost_model.joblib"}


def source_of(root, **variables):
    return Source(load_serving(root, LOCAL | FILE | variables), root)


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"MODEL_URI": "runs:/deadbeef/model"}, "no run 'deadbeef' here"),
        ({"MODEL_URI": f"models:/{NAME}/99"}, f"{NAME} has no version 99"),
        ({"MODEL_URI": "models:/Nobody/1"}, "unknown model 'Nobody'"),
        ({"MLFLOW_MODEL_NAME": "Nobody"}, "unknown model 'Nobody'"),
    ],
)
def test_a_model_that_was_named_and_is_not_there_is_not_replaced_by_another(root, variables, message):
    with pytest.raises(RegistryError, match=message):
        source_of(root, **variables).start()


def test_an_address_that_is_none_ends_the_start(root, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "file:./mlruns")
    with pytest.raises(ConfigError, match="mlruns"):
        source_of(root, MLFLOW_TRACKING_URI="file:./mlruns").start()


def test_a_production_that_is_empty_may_fill_and_the_file_answers_meanwhile(root):
    source = source_of(root, MLFLOW_MODEL_NAME=NAME)
    assert source.start().opened.source == "path"
    assert "no version in Production" in source.fault
    promote(connect(load_settings(root, environ={}), root), NAME, 2)
    source.look()
    assert source.served is not None
    assert source.served.model.version == 2
    assert (source.fault, source.degraded) == ("", False)


def test_the_lineage_means_the_same_by_registry_and_by_tag(root):
    promote(connect(load_settings(root, environ={}), root), NAME, 1)
    told = source_of(root).start().version_body
    version = connect(load_settings(root, environ={}), root).get_model_version(NAME, "1")
    assert told["data_digest"] == version.tags["lockstep.data_digest"]
    assert told["data_dvc_hash"] == version.tags["lockstep.data_dvc_hash"]
    assert told["dirty"] is (version.tags["lockstep.dirty"] == "true")
