"""MLflow writes to a bucket itself where the server does not serve artifacts; S3 may refuse."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator

import boto3
import pytest
from tests.registry_workspace import free_port

from lockstep.audit.checkup import of_files
from lockstep.config.settings import load_settings
from lockstep.errors import ArtifactError, RegistryError
from lockstep.registry.artifact.locating import locate
from lockstep.registry.artifact.model_cache import SUSPECT
from lockstep.registry.record.registered_models import get_model
from lockstep.registry.store import connection
from lockstep.registry.store.artifact_store import sizes
from lockstep.registry.store.s3 import s3_errors
from lockstep.registry.train_stage import publish_training
from lockstep.registry.trained_models import register_models

ENDPOINT = "MLFLOW_S3_ENDPOINT_URL"
BUCKET = "models-of-the-team"
NAME = "Accident_Prediction_Logistic_Regression"
ONE = ["logistic_regression"]
KEYS = {"AWS_ACCESS_KEY_ID": "anybody", "AWS_SECRET_ACCESS_KEY": "a secret"}
WITHOUT_OTHERS = {
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_MAX_ATTEMPTS": "1",  # a closed port would be tried for ten seconds
}
CREDENTIALS_FIX = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"


@pytest.fixture(scope="module")
def s3_server() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


def forget_client() -> None:
    """Make MLflow read keys and endpoint again, as another process would."""
    from mlflow.store.artifact.s3_artifact_repo import _cached_get_s3_client

    _cached_get_s3_client.cache_clear()
    boto3.DEFAULT_SESSION = None


@pytest.fixture
def on_s3(workspace, s3_server, monkeypatch) -> Iterator[object]:
    """A workspace whose experiment has its artifacts in a bucket; returns a client of its store."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in {**WITHOUT_OTHERS, **KEYS, ENDPOINT: s3_server}.items():
        monkeypatch.setenv(name, value)
    bucket = boto3.client("s3", endpoint_url=s3_server)
    bucket.create_bucket(Bucket=BUCKET)
    bucket.close()
    forget_client()
    client = connection.connect(load_settings(workspace), workspace)
    client.create_experiment("accident_prediction", artifact_location=f"s3://{BUCKET}/runs")
    yield client
    forget_client()


def wrong_keys(patch) -> list[str]:
    import moto.settings
    from moto.core.responses import ActionAuthenticatorMixin

    patch.setattr(moto.settings, "INITIAL_NO_AUTH_ACTION_COUNT", 0)
    patch.setattr(ActionAuthenticatorMixin, "request_count", 0)
    return [os.environ[ENDPOINT], BUCKET, CREDENTIALS_FIX]


def no_keys(patch) -> list[str]:
    for name in KEYS:
        patch.delenv(name)
    return [os.environ[ENDPOINT], "Unable to locate credentials", CREDENTIALS_FIX]


def closed_port(patch) -> list[str]:
    patch.setenv(ENDPOINT, f"http://127.0.0.1:{free_port()}")
    return [os.environ[ENDPOINT], BUCKET, f"correct its endpoint URL in {ENDPOINT}"]


def without_bucket(patch) -> list[str]:
    from moto.s3.models import s3_backends

    patch.delitem(s3_backends["123456789012"]["aws"].buckets, BUCKET)
    patch.delitem(s3_backends.bucket_accounts, BUCKET)
    return [os.environ[ENDPOINT], BUCKET, "make the bucket"]


FAULTS = [wrong_keys, no_keys, closed_port, without_bucket]


def assert_told(line: str, parts: list[str]) -> None:
    assert [part for part in parts if part not in line] == [], line
    assert "\n" not in line
    assert "Traceback" not in line


def test_s3_that_refuses_costs_a_training_a_warning(workspace, on_s3, monkeypatch, capsys):
    for fault in FAULTS:
        with monkeypatch.context() as patch:
            parts = fault(patch)
            forget_client()
            assert publish_training(workspace, "accidents", "logistic_regression") is None
            (told,) = [line for line in capsys.readouterr().err.splitlines() if "WARNING" in line]
            assert_told(told, [*parts, "is trained and kept", "next `dvc repro` registers it"])
            with pytest.raises(RegistryError, match=r"goes on from here$") as caught:
                register_models(workspace, "accidents", ONE)
            assert_told(str(caught.value), [*parts, "the tracking store failed"])
    forget_client()
    assert [one.version for one in register_models(workspace, "accidents", ONE)] == [1]


def test_a_version_whose_files_s3_refuses_is_told_in_a_line(workspace, on_s3, monkeypatch):
    publish_training(workspace, "accidents", "logistic_regression")
    model = get_model(on_s3, NAME)
    for fault in FAULTS:
        with monkeypatch.context() as patch:
            parts = fault(patch)
            forget_client()
            with pytest.raises(RegistryError) as caught:
                locate(on_s3, model.newest, workspace)
            assert_told(str(caught.value), parts)
            with pytest.raises(ArtifactError, match=f"the files of {NAME} version 1") as unlisted:
                sizes(on_s3, model.newest)
            assert_told(str(unlisted.value), parts)
            (finding,) = of_files(on_s3, [model], {})
            assert_told(finding.message, parts)
            assert (finding.name, finding.fix) == ("files not seen", ""), "they may be there"
            with pytest.raises(RegistryError) as caught:
                register_models(workspace, "accidents", ONE)
            assert_told(str(caught.value), parts)
    forget_client()
    assert not (workspace / SUSPECT).exists(), "a server that refuses is no damage"
    assert locate(on_s3, model.newest, workspace).folder.is_dir()


def test_s3_without_its_client_names_the_extra(workspace, on_s3, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "boto3", None)
    assert publish_training(workspace, "accidents", "logistic_regression") is None
    told = capsys.readouterr().err
    assert "artifacts on S3 need a package that is not installed: boto3; run `make env`" in told


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("127.0.0.1:9000", "is no URL; write http://127.0.0.1:9000"),
        ("http://minio_server:9000", "is no address that S3's client takes: the host may have"),
        ("http://127.0.0.1:99999", "is no address that S3's client takes: the host may have"),
    ],
)
def test_an_endpoint_that_the_client_does_not_take_is_told_before_anything_is_sent(
    workspace, monkeypatch, given, told
):
    monkeypatch.setenv(ENDPOINT, given)
    connection.connect(load_settings(workspace), workspace)  # a local registry has no S3
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    line = re.escape(f"{ENDPOINT} '{given}' {told}")
    with pytest.raises(RegistryError, match=f"^{line}"):
        connection.connect(load_settings(workspace), workspace)


def test_another_missing_package_is_no_failure_of_s3():
    for name, is_s3 in {"matplotlib": False, "boto3": True}.items():
        try:
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
        except s3_errors():
            assert is_s3
        except ModuleNotFoundError:
            assert not is_s3


def test_nothing_of_the_registry_imports_s3_s_client():
    code = "import sys, lockstep.registry.publish_models, lockstep.audit.checkup\n"
    code += "print({'boto3', 'botocore'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
