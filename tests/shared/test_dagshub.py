"""DagsHub's hosted registry, without a network.

Tested are the addresses asked and the credentials sent, at the last step.
"""

import base64
import io
import json

import pytest
import requests
from tests.shared.services import CREDENTIALS

from lockstep.audit.doctor import diagnose
from lockstep.commands import manage_registry as manage
from lockstep.errors import RegistryError
from lockstep.registry.store import uris
from lockstep.registry.store.opening import open_registry

BASE = "https://dagshub.com/jane/cars.mlflow"
EVERY = (*CREDENTIALS, "MLFLOW_TRACKING_TOKEN")
BASIC = "Basic " + base64.b64encode(b"jane:a token").decode()


class Hub:
    """Stands in for the network: answers as an empty registry does, to who knows the password."""

    def __init__(self, wants=None):
        self.wants, self.asked = wants, []

    def send(self, adapter, request, **_):
        sent = request.headers.get("Authorization", "")
        self.asked.append((request.url, sent))
        answer = requests.Response()
        answer.status_code = 200 if self.wants in (None, sent) else 401
        answer.request, answer.url = request, request.url
        answer.raw = io.BytesIO(b"OK" if request.url.endswith("/health") else b"{}")
        return answer


@pytest.fixture
def hub(monkeypatch):
    made = Hub()
    monkeypatch.setattr(
        requests.adapters.HTTPAdapter, "send", lambda *call, **options: made.send(*call, **options)
    )
    return made


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder that names the repository in .env, and nothing of the environment's."""
    for name in EVERY:
        monkeypatch.setenv(name, "")  # noted, so that what connecting writes there is undone
        monkeypatch.delenv(name)
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    (tmp_path / ".env").write_text("DAGSHUB_REPO=jane/cars\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_request_goes_below_the_repository_with_the_credentials_of_dotenv(
    project, hub, capsys
):
    with (project / ".env").open("a") as env:
        env.write("MLFLOW_TRACKING_USERNAME=jane\nMLFLOW_TRACKING_PASSWORD=a token\n")
    hub.wants = BASIC
    manage.main(["list-models"])
    assert "holds no model yet" in capsys.readouterr().out
    addresses = [url for url, _ in hub.asked]
    assert addresses[0] == f"{BASE}/health"
    assert addresses[1].startswith(f"{BASE}/api/2.0/mlflow/registered-models/search")
    assert {sent for _, sent in hub.asked} == {BASIC}


def test_a_token_alone_is_sent_as_mlflow_sends_it(project, hub, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "abc")
    hub.wants = "Bearer abc"
    client = open_registry(project)
    assert list(client.search_registered_models()) == []
    assert {sent for _, sent in hub.asked} == {"Bearer abc"}


@pytest.mark.parametrize("variable", ["option", "environment"])
def test_a_uri_of_a_higher_layer_wins_over_the_repository(project, hub, monkeypatch, variable):
    uri = "https://tracking.invalid"
    if variable == "environment":
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    client = open_registry(project, uri if variable == "option" else None)
    assert client.tracking_uri == uri
    assert [url for url, _ in hub.asked] == [f"{uri}/health"]


def test_without_credentials_it_is_said_in_a_line_which_to_set(project, hub):
    hub.wants = BASIC
    with pytest.raises(
        RegistryError, match="MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
    ) as caught:
        open_registry(project)
    assert "variable DAGSHUB_REPO" not in str(caught.value)
    assert "(from .env)" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_doctor_names_the_address_where_it_came_from_and_no_password(project, hub):
    with (project / ".env").open("a") as env:
        env.write("MLFLOW_TRACKING_USERNAME=jane\nMLFLOW_TRACKING_PASSWORD=wrong secret\n")
    hub.wants = BASIC
    found = diagnose(project)
    assert ("tracking_uri", BASE, ".env") in found.settings
    assert ("tracking_username", "jane", ".env") in found.settings
    assert [f.name for f in found.findings] == ["store"]
    assert "wrong secret" not in json.dumps(found.content)


def test_artifacts_are_the_servers_business(project):
    assert uris.artifact_root(BASE, project) is None
