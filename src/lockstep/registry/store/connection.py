"""The connection to MLflow: a client of the configured store, and what MLflow's errors mean."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import mlflow
import requests
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from requests import PreparedRequest
from requests.auth import HTTPBasicAuth

from lockstep.config.layout import main_tree
from lockstep.config.settings import Settings
from lockstep.console import visible, without_password
from lockstep.errors import RegistryError
from lockstep.network import PROXY_FAILED, Proxy, proxies_set, proxy_of
from lockstep.registry.store import uris
from lockstep.registry.store.local_database import prepare_sqlite
from lockstep.registry.store.s3 import check_endpoint, s3_errors, s3_fault

_CREDENTIALS = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")
_TIMEOUT, _RETRIES = "MLFLOW_HTTP_REQUEST_TIMEOUT", "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
_POINTED: list[str] = []
"""The stores that the open blocks of ``fluent`` point at, the innermost last."""
_OTHER_CREDENTIALS = (
    "it wants other credentials; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
)
_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
_TUNNEL = "Tunnel connection failed"
"""How a proxy's refusal to reach a server by TLS is reported; its status follows."""
_CONFLICT = re.compile(r"IntegrityError|UniqueViolation")
"""How the databases' drivers name a row that exists; a server passes the text on."""
_UNKNOWN_HOST = re.compile(r"not known|name resolution|getaddrinfo|nodename")
_TAKES_NO_FILES = re.compile(
    "No space left on device|Disk quota exceeded|Read-only file system", re.IGNORECASE
)
"""How a system says that a disk takes no files; MLflow passes the text on."""
_NO_TRACKING_SERVER = (
    "not in a valid JSON format",
    "failed with error code 404",
    "Exceeded 30 redirects",
)
"""What MLflow says of an answer that is no tracking server's."""
_LOOK = "look at the server's log, or start it again"
_MEANINGS = {  # part of a message that MLflow wraps in a page of SQL: its meaning and the fix
    "database or disk is full": "the disk of its database is full; free some space",
    "readonly database": "its database is read-only; make it writable for this user",
    "error code 401": _OTHER_CREDENTIALS,
    "error code 403": "this user may not do that there; ask whoever runs the server for the"
    " permission",
    "timed out": f"it stopped answering; {_LOOK}",
    "too many 5": f"it answers with an error of its own (500 or the like); {_LOOK}",
    "Connection refused": "it takes no connections any more; start the server again",
    "Connection aborted": f"it broke the connection off; {_LOOK}",
    "disk I/O error": "its database cannot be written (a full disk, a quota, a damaged disk); make"
    " room for it",
}


def store_errors(*others: type[Exception]) -> tuple[type[Exception], ...]:
    """Return what MLflow raises if a store refuses or is out of reach, and ``others``.

    It belongs into an ``except``, as ``s3_errors`` does.
    """
    return s3_errors(MlflowException, requests.RequestException, *others)


class Client(MlflowClient):
    """MLflow's client, without its question before each write whether the name is a prompt's.

    MLflow asks for the whole registered model each time: with 10,000 versions that takes seconds.
    What this project writes to, it has read before, and reading refuses the name of a prompt.
    """

    def _raise_if_prompt(self, name: str) -> None:
        """Ask nothing; an MLflow that asks in another way is only slower."""


def connect(settings: Settings, root: Path) -> Client:
    """Return a client of the configured store; RegistryError if the store cannot be used."""
    uri = uris.resolve_uri(settings, root)
    if database := uris.sqlite_file(uri):  # its files are on this machine
        prepare_sqlite(database, main_tree(root))
    else:
        check_endpoint()
        check = check_server if uris.is_http(uri) else check_database
        check(uri, settings)
    for name in _CREDENTIALS:  # of .env: MLflow reads its environment only
        if name in settings.environment:
            os.environ[name] = settings.environment[name]
    try:
        client = Client(tracking_uri=uri)
        if not uris.is_http(uri):
            client.get_experiment("0")
    except MlflowException as error:
        store = without_password(uri)
        raise RegistryError(f"{store} cannot be used: {one_line(error)}") from error
    return client


def check_server(uri: str, settings: Settings) -> None:
    """Ask a server for its health; RegistryError if it refuses, hangs, fails or wants a login."""
    source = settings.source_of("tracking_uri")
    server = f"tracking server {without_password(uri)} (from {source})"
    proxy = proxy_of(uri)
    try:
        status = _get(f"{uri.rstrip('/')}/health", settings, stream=True).status_code
    except requests.exceptions.Timeout:
        silent = f"did not answer within {settings.timeout_seconds:g} s"
        fix = f"start it, {proxy.fix}" if proxy else "start it or correct the address"
        raise RegistryError(f"{server} {silent}{_through(proxy)}; {fix}") from None
    except (requests.exceptions.RequestException, ValueError) as error:
        if proxy:
            fault = f"{server} cannot be reached: {_failed_proxy(proxy, _cause(error))}"
        else:
            fault = f"{server} {_failed_server(uri, _cause(error))}"
        raise RegistryError(fault) from None
    refused = status in (401, 403, 407)
    if proxy and (refused or status >= 500):  # the proxy may have answered in its place
        fix = proxy.login if status == 407 else f"look at the server's log, {proxy.fix}"
        raise RegistryError(f"{server} answers {status}{_through(proxy)}; {fix}")
    if refused:
        raise RegistryError(f"{server} {_OTHER_CREDENTIALS.removeprefix('it ')}")
    if status >= 500:
        raise RegistryError(f"{server} answers {status}; look at the server's log and run again")


def check_database(uri: str, settings: Settings) -> None:
    """Raise RegistryError if a database's server is unreachable, where MLflow tries for minutes."""
    parts = urlsplit(uri)
    port = parts.port or _PORTS.get(parts.scheme.partition("+")[0])
    if not port or not parts.hostname or "," in parts.hostname or "host=" in parts.query:
        return
    try:
        socket.create_connection((parts.hostname, port), settings.timeout_seconds).close()
    except OSError as error:
        source = settings.source_of("tracking_uri")
        store = f"the database {without_password(uri)} (from {source})"
        reason = f"cannot be reached at port {port} ({_cause(error)})"
        raise RegistryError(f"{store} {reason}; start it or correct the address") from None


def _failed_proxy(proxy: Proxy, cause: str) -> str:
    """Say what a proxy did instead of passing a request on, and the fix."""
    if _TUNNEL in cause:
        refusal = cause.partition(_TUNNEL)[2].strip(": ")
        fix = proxy.login if refusal.startswith("407") else proxy.fix
        return f"{proxy} does not pass the request on ({refusal}); {fix}"
    refused = "refused" in cause
    return f"{proxy} {'refused the connection' if refused else _unreached(cause)}; {proxy.fix}"


def _failed_server(uri: str, cause: str) -> str:
    """Say why a server can't be reached without a proxy, and the fix."""
    if "WRONG_VERSION_NUMBER" in cause:
        return f"speaks no TLS; write http{uri.removeprefix('https')}"
    if "CERTIFICATE_VERIFY_FAILED" in cause:
        fix = "name the file of its authority in REQUESTS_CA_BUNDLE"
        return f"has a certificate that is not trusted here ({cause}); {fix}"
    if _UNKNOWN_HOST.search(cause):
        return f"{_unreached(cause)}; correct the address, or look at the network"
    refused = "refused" in cause
    start = f"start it (`mlflow server --port {urlsplit(uri).port or 5000}`)"
    reason = "refused the connection" if refused else _unreached(cause)
    return f"{reason}; {start} or correct the address"


def _unreached(cause: str) -> str:
    return f"cannot be reached ({cause})"


def _through(proxy: Proxy | None) -> str:
    return f" through {proxy}" if proxy else ""


def server_version(uri: str, settings: Settings) -> str:
    """Return the version that a server names; empty if it names none."""
    try:
        answer = _get(f"{uri.rstrip('/')}/version", settings)
    except (requests.exceptions.RequestException, ValueError):
        return ""
    return answer.text if re.fullmatch(r"[\w.+-]{1,40}", answer.text) and answer.ok else ""


def _get(address: str, settings: Settings, stream: bool = False) -> requests.Response:
    half = settings.timeout_seconds / 2
    with requests.get(
        address, timeout=(half, half), auth=_auth(settings), allow_redirects=False, stream=stream
    ) as answer:
        return answer


def _auth(settings: Settings) -> Callable[[PreparedRequest], PreparedRequest] | None:
    """Return what adds the credentials that MLflow's own requests carry; None if there are none."""
    user, password, token = (settings.environment.get(name, "") for name in _CREDENTIALS)
    if user:
        return HTTPBasicAuth(user, password)

    def add_token(request: PreparedRequest) -> PreparedRequest:
        request.headers["Authorization"] = f"Bearer {token}"
        return request

    return add_token if token else None


def _cause(error: Exception) -> str:
    inner: BaseException = error
    while under := inner.__cause__ or inner.__context__:
        inner = under
    return " ".join(str(inner).split())[:120]


@contextmanager
def translating_mlflow_errors() -> Iterator[None]:
    """Raise RegistryError with one line for an error of MLflow's, or of S3 behind it."""
    try:
        yield
    except s3_errors(MlflowException) as error:
        if fault := disk_fault(error) or s3_fault(error):
            raise RegistryError(fault) from error
        if meaning := _meaning_of(error):
            raise RegistryError(f"the registry refused: {meaning}") from error
        line = visible(" ".join(str(error).split()))
        line = line if len(line) < 300 else line[:300] + "…"
        fix = "check MLFLOW_TRACKING_URI and the server, then run the command again"
        raise RegistryError(f"the registry refused: {line}; {fix}") from error


@contextmanager
def tolerating(*codes: str) -> Iterator[None]:
    """Ignore MLflow's errors with these codes, which end the block; RegistryError for others."""
    with translating_mlflow_errors():
        try:
            yield
        except MlflowException as error:
            if error.error_code not in codes:
                raise


def retry_conflicts(write: Callable[[], object], rows: int = 1) -> None:
    """Call ``write`` again if another process inserts one of its ``rows`` at the same time.

    MLflow looks for a row before it inserts it, and fails if the row came in between. The next call
    finds that row, so there are at most as many conflicts as rows. Other errors are raised at once.
    """
    for _ in range(rows):
        try:
            write()
            return
        except MlflowException as error:
            if not _CONFLICT.search(str(error)):
                raise
    write()


def disk_fault(error: Exception) -> str:
    """Return that a disk takes no files, with the fix, as one line; empty for another error."""
    found = _TAKES_NO_FILES.search(str(error))
    if found is None:
        return ""
    where = "a disk takes no files, here or where the server keeps them"
    return f"{where} ({found[0]}); free some space, or make the disk writable"


def one_line(error: Exception) -> str:
    """Return an error's message as one line, with the fix if it is known."""
    return _meaning_of(error) or " ".join(str(error).split())[:400]


def _meaning_of(error: Exception) -> str:
    text = " ".join(str(error).split())
    named = proxies_set()
    if named and any(sign in text for sign in PROXY_FAILED):
        fault = "does not pass requests on" if _TUNNEL in text else "does not answer"
        fix = "correct or unset it, or add the server's host to no_proxy"
        return f"the proxy that the environment names ({named}) {fault}; {fix}"
    if any(sign in text for sign in _NO_TRACKING_SERVER):
        other = f", or add the server's host to no_proxy: a proxy may answer ({named})"
        fault = "what answers is no tracking server (a web page, or no such address)"
        return f"{fault}; correct MLFLOW_TRACKING_URI{other if named else ''}"
    if fault := disk_fault(error):
        return fault
    known = next((meaning for sign, meaning in _MEANINGS.items() if sign in text), "")
    of_s3 = s3_fault(error)
    return known or of_s3 if isinstance(error, MlflowException) else of_s3 or known


def raise_interrupt(error: BaseException) -> None:
    """Raise the Ctrl-C behind an error: MLflow may fail once more while it cleans up after it."""
    causes: list[BaseException | None] = [error]
    while causes:
        cause = causes.pop()
        if isinstance(cause, KeyboardInterrupt):
            raise cause
        if cause is not None:
            causes += [cause.__cause__, cause.__context__]


def experiment_id(client: Client, root: Path, name: str) -> str:
    """Return the id of an experiment, created if missing with its artifacts beside the store."""
    found = client.get_experiment_by_name(name)
    if found is None:
        folder = uris.artifact_root(client.tracking_uri, root)
        place = str(folder / name) if folder else None
        try:
            return client.create_experiment(name, artifact_location=place)
        except MlflowException:  # another process was faster
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage == "deleted":
        command = f"`mlflow experiments restore -x {found.experiment_id}`"
        raise RegistryError(f"experiment '{name}' is deleted; restore it with {command}")
    return found.experiment_id


@contextmanager
def fluent(uri: str) -> Iterator[None]:
    """Point MLflow's global functions at ``uri`` within the block, which may be nested."""
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


@contextmanager
def request_limits(timeout: int | None = None, retries: int = 0) -> Iterator[None]:
    """Limit how long (seconds) and how often MLflow asks a server within the block."""
    limits = {_RETRIES: str(retries), **({_TIMEOUT: str(timeout)} if timeout else {})}
    before = {name: os.environ.get(name) for name in limits}
    os.environ.update(limits)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
