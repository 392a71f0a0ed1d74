"""Every kind of store a registry can live in, and a workspace that talks to it.

Each store is real and started once a run.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.registry_workspace import (
    Server,
    _clean_environment,
    declare,
    write_training,
)
from tests.shared.services import CREDENTIALS, Colleague, Postgres, need_postgres

from lockstep.config.settings import CONFIG_FILE, Settings, load_settings

__all__ = ["_clean_environment"]

LOCAL = "sqlite"
SHARED = ("postgresql", "s3", "password")
STORES = (LOCAL, *SHARED)
BUCKET = "lockstep-artifacts"
ADMIN = ("jane", "a long password")
S3_KEYS = {
    "AWS_ACCESS_KEY_ID": "none",
    "AWS_SECRET_ACCESS_KEY": "none",
    "AWS_DEFAULT_REGION": "us-east-1",
    # Credentials of whoever runs the tests are not to be found.
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}


@dataclass
class Service:
    """A running store several workspaces share. ``files`` lists its artifacts, as keys or paths."""

    uri: str
    files: Callable[[], list[str]]
    credentials: tuple[str, str] | None = None


@dataclass
class Shared:
    """A workspace with two trainings of its own names in a store that others use too."""

    root: Path
    kind: str
    uri: str
    client: Any
    name: str
    files: Callable[[], list[str]]
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def settings(self) -> Settings:
        """What this workspace is configured to."""
        return load_settings(self.root)

    def train(self, seed: int) -> None:
        """Write what another training of the one model type leaves."""
        write_training(self.root, TYPE, seed)


TYPE = "logistic_regression"


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Service]]:
    """Start all shared stores at once: each imports for seconds, and two can do so together."""
    programs = need_postgres()
    from moto.server import ThreadedMotoServer

    bucket = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    bucket.start()
    database = Postgres(programs)
    servers: dict[str, Server] = {}
    try:
        database.start()
        s3 = "http://{}:{}".format(*bucket.get_host_and_port())
        servers |= _servers(tmp_path_factory, database, s3)
        for server in servers.values():
            server.launch()
        yield {kind: _service(kind, server.wait(), s3) for kind, server in servers.items()}
    finally:
        for server in servers.values():  # told at once, so that they end together
            if server.process is not None:
                server.process.terminate()
        for server in servers.values():
            server.stop()
        database.stop()
        bucket.stop()


def _servers(tmp: pytest.TempPathFactory, database: Postgres, s3: str) -> dict[str, Server]:
    """Return the tracking servers, not started, all on PostgreSQL.

    One has its artifacts on S3, one has passwords.
    """
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    empty = database.database("empty")
    SqlAlchemyStore(empty, str(tmp.mktemp("unused"))).engine.dispose()
    options = {
        kind: ["--backend-store-uri", database.database(kind, like="empty")] for kind in SHARED
    }
    options["s3"] += ["--artifacts-destination", f"s3://{BUCKET}"]
    options["password"] += ["--app-name", "basic-auth"]
    variables = {"s3": {**S3_KEYS, "MLFLOW_S3_ENDPOINT_URL": s3, "AWS_ENDPOINT_URL": s3}}
    folders = {kind: tmp.mktemp(f"server-{kind}") for kind in SHARED}
    variables["password"] = _passwords(folders["password"])
    return {kind: Server(folders[kind], options[kind], variables.get(kind)) for kind in SHARED}


def _passwords(folder: Path) -> dict[str, str]:
    """Write the configuration of a server with passwords, and return the variables it needs."""
    config = folder / "auth.ini"
    config.write_text(
        "[mlflow]\ndefault_permission = READ\n"
        f"database_uri = sqlite:///{folder}/auth.db\n"
        f"admin_username = {ADMIN[0]}\nadmin_password = {ADMIN[1]}\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
        "auth_cache_ttl_seconds = 60\n"  # else each request costs a slow hash
    )
    return {
        "MLFLOW_AUTH_CONFIG_PATH": str(config),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "only for tests",
    }


def _service(kind: str, server: Server, s3: str) -> Service:
    if kind == "s3":
        return Service(server.uri, _bucket(s3))
    credentials = ADMIN if kind == "password" else None
    return Service(server.uri, lambda: _below(server.folder / "artifacts"), credentials)


def _below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def _bucket(s3: str) -> Callable[[], list[str]]:
    import boto3

    keys = {
        "aws_access_key_id": "none",
        "aws_secret_access_key": "none",
        "region_name": "us-east-1",
    }
    client = boto3.client("s3", endpoint_url=s3, **keys)
    client.create_bucket(Bucket=BUCKET)
    return lambda: [
        item["Key"] for item in client.list_objects_v2(Bucket=BUCKET).get("Contents", [])
    ]


@pytest.fixture(scope="session")
def colleague() -> Iterator[Colleague]:
    """Another process, started once: importing MLflow takes it seconds."""
    made = Colleague()
    yield made
    made.stop()


@pytest.fixture(params=STORES)
def shared(
    request: pytest.FixtureRequest, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> Shared:
    """A workspace of one training on a store of each kind, in shared ones under its own names."""
    from lockstep.registry.store import connection, uris

    kind = request.param
    found = None if kind == LOCAL else request.getfixturevalue("services")[kind]
    for name in CREDENTIALS:
        monkeypatch.setenv(name, "")  # noted, so that what connecting writes there is undone
        monkeypatch.delenv(name)
    name = f"Suite_{os.path.basename(workspace.parent)}"
    _configure(workspace, found, name)
    monkeypatch.chdir(workspace)
    settings = load_settings(workspace)
    return Shared(
        root=workspace,
        kind=kind,
        uri=uris.resolve_uri(settings, workspace),
        client=connection.connect(settings, workspace),
        name=f"{name}_Logistic_Regression",
        files=found.files if found else lambda: _below(workspace / "mlruns"),
        environment=dict(zip(CREDENTIALS, found.credentials, strict=True))
        if found and found.credentials
        else {},
    )


def _configure(root: Path, service: Service | None, name: str) -> None:
    """Leave one training, and say by file where it goes and what it is called there."""
    declare(root, TYPE)
    shutil.rmtree(root / "metrics" / "accidents" / "types" / "random_forest")
    for file in (root / "models" / "accidents").glob("random_forest*"):
        file.unlink()
    if service is not None:
        (root / "mlflow.db").unlink()
    uri = "" if service is None else service.uri
    path = root / CONFIG_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f'mlflow:\n  tracking_uri: "{uri}"\n  experiment_name: {name}\n'
        f"  model_registry:\n    registered_model_name: {name}\n"
    )
    if service is not None and service.credentials:
        lines = (
            f"{key}={value}" for key, value in zip(CREDENTIALS, service.credentials, strict=True)
        )
        (root / ".env").write_text("\n".join(lines) + "\n")
