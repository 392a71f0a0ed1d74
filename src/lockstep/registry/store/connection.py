"""The connection to MLflow: a client of the configured store, and what its errors mean."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import mlflow
import requests
from mlflow import MlflowClient as Client
from mlflow.exceptions import MlflowException
from requests.auth import HTTPBasicAuth

from lockstep.config.settings import Settings, main_tree
from lockstep.console import visible
from lockstep.errors import RegistryError
from lockstep.registry.store.local_database import prepare_sqlite
from lockstep.registry.store.uris import (
    SQLITE,
    artifact_root,
    is_http,
    resolve_uri,
    without_password,
)

if TYPE_CHECKING:
    from requests import PreparedRequest

StoreError = (MlflowException, requests.RequestException)
"""What MLflow's calls raise where the store refuses or cannot be reached."""
_CREDENTIALS = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")
_POINTED: list[str] = []
"""The stores that the blocks of ``fluent`` that are open point at, the innermost last."""
_MEANINGS = (  # what MLflow wraps in a page of SQL or of connection pools, and the way out
    ("database or disk is full", "the disk of its database is full; free some space"),
    ("readonly database", "its database is read-only; make it writable for this user"),
    (
        "error code 401",
        "it wants other credentials; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
    ),
    (
        "error code 403",
        "this user may not do that there; ask whoever runs the server for the permission",
    ),
    ("timed out", "it stopped answering; look at the server's log, or start it again"),
    (
        "too many 5",
        "it answers with an error of its own (500 or the like); look at the server's log, or start it again",
    ),
    ("Connection refused", "it takes no connections any more; start the server again"),
    (
        "Connection aborted",
        "it broke the connection off; look at the server's log, or start it again",
    ),
    (
        "disk I/O error",
        "its database cannot be written (a full disk, a quota, a damaged disk); make room for it",
    ),
)


def connect(settings: Settings, root: Path) -> Client:
    """Return a client of the configured store, checked to be there; RegistryError in one line otherwise.

    A local database is initialised once, under a lock, and follows a workspace that was moved.
    """
    uri = resolve_uri(settings, root)
    if uri.startswith(SQLITE):
        prepare_sqlite(Path(uri.removeprefix(SQLITE)), main_tree(root))
    elif is_http(uri):
        check_server(uri, settings)
    _hand_credentials(settings)
    try:
        client = Client(tracking_uri=uri)
        client.get_experiment("0") if not is_http(uri) else None
    except MlflowException as error:
        raise RegistryError(f"{without_password(uri)} cannot be used: {one_line(error)}") from error
    return client


def check_server(uri: str, settings: Settings) -> None:
    """Ask a server for its health; one that refuses, hangs, fails or is locked is a RegistryError in time."""
    source = settings.source_of("tracking_uri")
    told = f"tracking server {without_password(uri)} (from {source})"
    half = settings.timeout_seconds / 2
    try:
        answer = requests.get(
            f"{uri.rstrip('/')}/health",
            timeout=(half, half),
            auth=_auth(settings),
            allow_redirects=False,
            stream=True,
        )
        answer.close()
    except requests.exceptions.Timeout:
        raise RegistryError(
            f"{told} did not answer within {settings.timeout_seconds:g} s; start it or correct the address"
        ) from None
    except (requests.exceptions.RequestException, ValueError) as error:
        reason = (
            "refused the connection"
            if "refused" in str(error)
            else f"cannot be reached ({_cause(error)})"
        )
        start = f"start it (`mlflow server --port {urlsplit(uri).port or 5000}`)"
        raise RegistryError(f"{told} {reason}; {start} or correct the address") from None
    if answer.status_code in (401, 403):
        raise RegistryError(
            f"{told} wants other credentials; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        )
    if answer.status_code >= 500:
        raise RegistryError(
            f"{told} answers {answer.status_code}; look at the server's log and run again"
        )


def server_version(uri: str, settings: Settings) -> str:
    """Return what a server says it is a version of; empty where it does not say."""
    address, half = f"{uri.rstrip('/')}/version", settings.timeout_seconds / 2
    try:
        answer = requests.get(
            address, timeout=(half, half), auth=_auth(settings), allow_redirects=False
        )
    except (requests.exceptions.RequestException, ValueError):
        return ""
    return answer.text if re.fullmatch(r"[\w.+-]{1,40}", answer.text) and answer.ok else ""


def _auth(settings: Settings) -> Callable[[PreparedRequest], PreparedRequest] | None:
    """Return what gives a request the credentials that MLflow's own requests carry; None where there are none."""
    user, password, token = (settings.environment.get(name, "") for name in _CREDENTIALS)
    if user:
        return HTTPBasicAuth(user, password)
    return (lambda request: _with_token(request, token)) if token else None


def _with_token(request: PreparedRequest, token: str) -> PreparedRequest:
    request.headers["Authorization"] = f"Bearer {token}"
    return request


def _cause(error: Exception) -> str:
    """Name the innermost cause of a requests error in a few words."""
    inner: BaseException = error
    while inner.__cause__ or inner.__context__:
        inner = inner.__cause__ or inner.__context__ or inner
    return " ".join(str(inner).split())[:120]


def one_line(error: Exception) -> str:
    """Return an error's message as one line, with the fix where it is known."""
    return meaning_of(error) or " ".join(str(error).split())[:400]


def meaning_of(error: Exception) -> str:
    """Return what an error of MLflow's means, with the fix; empty where that is not known."""
    text = " ".join(str(error).split())
    return next((meaning for sign, meaning in _MEANINGS if sign in text), "")


def raise_interrupt(error: BaseException) -> None:
    """Raise the Ctrl-C that an error hides: a store cut off in mid-write may fail once more while MLflow tidies up."""
    before: list[BaseException | None] = [error]
    while before:
        one = before.pop()
        if isinstance(one, KeyboardInterrupt):
            raise one
        if one is not None:
            before += [one.__cause__, one.__context__]


def experiment_id(client: Client, uri: str, root: Path, name: str) -> str:
    """Return the id of an experiment, made where it is missing, its artifacts anchored at the store."""
    found = client.get_experiment_by_name(name)
    if found is None:
        folder = artifact_root(uri, root)
        try:
            return client.create_experiment(
                name, artifact_location=str(folder / name) if folder else None
            )
        except MlflowException:  # another process was faster
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage == "deleted":
        raise RegistryError(
            f"experiment '{name}' is deleted; restore it with "
            f"`mlflow experiments restore -x {found.experiment_id}`"
        )
    return found.experiment_id


@contextmanager
def fluent(uri: str) -> Iterator[None]:
    """Point MLflow's global functions at ``uri`` within the block, and leave no trace in the environment.

    A block within another gives back what that one set.
    """
    before = os.environ.get("MLFLOW_TRACKING_URI")
    _POINTED.append(uri)
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        _POINTED.pop()
        mlflow.set_tracking_uri(_POINTED[-1] if _POINTED else None)  # type: ignore[arg-type]
        if before is not None:
            os.environ["MLFLOW_TRACKING_URI"] = before


def _hand_credentials(settings: Settings) -> None:
    """Give MLflow, which reads its environment only, the credentials that .env may hold."""
    for name in _CREDENTIALS:
        if name in settings.environment:
            os.environ[name] = settings.environment[name]


@contextmanager
def translating_mlflow_errors() -> Iterator[None]:
    """Turn a refusal of MLflow into one line of ours."""
    try:
        yield
    except MlflowException as error:
        if meaning := meaning_of(error):
            raise RegistryError(f"the registry refused: {meaning}") from error
        line = visible(" ".join(str(error).split()))
        shown = line if len(line) < 300 else line[:300] + "…"
        fix = "check MLFLOW_TRACKING_URI and the server, then run the command again"
        raise RegistryError(f"the registry refused: {shown}; {fix}") from error
