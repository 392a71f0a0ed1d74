"""The tracking store: which one, initialised once, reachable, and mended after a move."""

from __future__ import annotations

import difflib
import gc
import os
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from lockstep.config.settings import Settings, main_tree
from lockstep.errors import ConfigError, RegistryError
from lockstep.io import whole_file

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from requests import PreparedRequest

DATABASE = "mlflow.db"
ARTIFACTS = "mlruns"
_SQLITE = "sqlite:///"
_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
_CREDENTIALS = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")
_SERVER = re.compile(
    r"(?P<scheme>https?)(?::|[:;.,]?[/\\]+)[/\\]*(?P<rest>[^/\\:].*)", re.IGNORECASE
)
_HOST_AND_PORT = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*:\d{2,5}(/.*)?")
_PATIENCE = 20.0
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
_LOCATIONS = (  # every column of MLflow's schema that holds an absolute artifact location
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def connect(settings: Settings, root: Path) -> MlflowClient:
    """Return a client of the configured store, checked to be there; RegistryError in one line otherwise.

    A local database is initialised once, under a lock, and follows a workspace that was moved.
    """
    uri = resolve_uri(settings, root)
    if uri.startswith(_SQLITE):
        prepare_sqlite(Path(uri.removeprefix(_SQLITE)), main_tree(root))
    elif is_http(uri):
        check_server(uri, settings)
    _hand_credentials(settings)
    with _importing():
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

    try:
        with _importing():
            client = MlflowClient(tracking_uri=uri)
        client.get_experiment("0") if not is_http(uri) else None
    except MlflowException as error:
        raise RegistryError(f"{shown(uri)} cannot be used: {one_line(error)}") from error
    return client


@contextmanager
def _importing() -> Iterator[None]:
    """Import without the garbage collector, which looks through all of a growing heap: a quarter of the time."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def resolve_uri(settings: Settings, root: Path) -> str:
    """Return the absolute tracking URI; plain file stores are refused with the way out."""
    main = main_tree(root)
    uri = settings.tracking_uri or f"{_SQLITE}{DATABASE}"
    told = f"tracking URI '{shown(uri)}' (from {settings.source_of('tracking_uri')})"
    if meant := meant_uri(uri):
        raise ConfigError(f"{told} is no URI of a server or database; write {shown(meant)}")
    scheme = urlsplit(uri).scheme
    if scheme == "file" or _is_path(uri, main):
        raise ConfigError(
            f"{told} is a plain file store, which "
            f"MLflow refuses now; use {_SQLITE}{DATABASE} (the default) and move old runs there with "
            "`mlflow migrate-filestore`"
        )
    if not scheme or (is_http(uri) and not urlsplit(uri).netloc):
        raise ConfigError(
            f"{told} is no URI; write http://HOST:PORT for a server, or {_SQLITE}{DATABASE} (the default)"
        )
    if scheme == "sqlite":
        path = uri.removeprefix(_SQLITE)
        if path == uri or path in ("", ":memory:"):
            raise ConfigError(
                f"tracking URI '{uri}' names no database file; write {_SQLITE}{DATABASE}"
            )
        return f"{_SQLITE}{main / path}"
    return uri


def meant_uri(uri: str) -> str:
    """Return the URI a mistyped one seems to mean (colon, slash or letter missing, no scheme); empty for none."""
    if _HOST_AND_PORT.fullmatch(uri):
        return f"http://{uri}"
    scheme, parted, rest = uri.partition("://")
    if parted and rest[:1] not in ("", "/"):
        known = ("http", "https", *_DATABASES)
        close = difflib.get_close_matches(scheme, known, n=1, cutoff=0.75)
        return f"{close[0]}://{rest}" if close and scheme.split("+")[0].lower() not in known else ""
    server = _SERVER.fullmatch(uri)
    return f"{server['scheme'].lower()}://{server['rest']}" if server else ""


def _is_path(uri: str, main: Path) -> bool:
    """Tell whether a text without a scheme (or with a drive's letter) is a folder's name."""
    if len(scheme := urlsplit(uri).scheme) == 1:
        return True
    return not scheme and (
        uri.startswith((".", "/", "~")) or ARTIFACTS in uri or (main / uri).is_dir()
    )


def is_http(uri: str) -> bool:
    """Tell whether a tracking URI names a server."""
    return urlsplit(uri).scheme in ("http", "https")


def artifact_root(uri: str, root: Path) -> Path | None:
    """Return the folder of a database's artifacts: beside it for sqlite; None where a server keeps them."""
    if uri.startswith(_SQLITE):
        return Path(uri.removeprefix(_SQLITE)).parent / ARTIFACTS
    is_database = urlsplit(uri).scheme.split("+")[0] in _DATABASES
    return main_tree(root) / ARTIFACTS if is_database else None


def check_server(uri: str, settings: Settings) -> None:
    """Ask a server for its health; one that refuses, hangs, fails or is locked is a RegistryError in time."""
    import requests

    source = settings.source_of("tracking_uri")
    told = f"tracking server {shown(uri)} (from {source})"
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
    import requests

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
    from requests.auth import HTTPBasicAuth

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


def shown(uri: str) -> str:
    """Return a URI without the password that it may carry."""
    return re.sub(r"(//[^/@:]*):[^/]*@", r"\1:***@", uri)


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


def prepare_sqlite(database: Path, lock_root: Path) -> None:
    """Initialise a database that is not there yet and correct its locations if it was moved."""
    if database.is_dir():
        raise RegistryError(
            f"{database} is a folder where MLflow's database should be; move it away"
        )
    _check_not_emptied(database)
    if not (database.is_file() and database.stat().st_size):
        with _lock(lock_root):
            if not (database.is_file() and database.stat().st_size):
                _initialise(database)
    check_sqlite(database)
    if moved_from(database):
        with _lock(lock_root):
            mend_locations(database)


@contextmanager
def _lock(root: Path) -> Iterator[None]:
    """Hold the workspace's store lock: parallel initialisations would break a database for good."""
    from filelock import FileLock

    path = root / ".lockstep" / "store.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path):
        yield


def _initialise(database: Path) -> None:
    """Create the database whole or not at all; takes a few seconds once."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    with whole_file(database) as part:
        store = SqlAlchemyStore(f"{_SQLITE}{part}", str(database.parent / ARTIFACTS))
        store.engine.dispose()


def _check_not_emptied(database: Path) -> None:
    """Refuse to take a file of no bytes for a new store while there are artifacts: it was emptied by accident."""
    if not database.is_file() or database.stat().st_size:
        return
    artifacts = database.parent / ARTIFACTS
    if any(path.is_file() for path in artifacts.rglob("*")):
        raise RegistryError(
            f"{database} is empty (0 bytes) while {artifacts} holds artifacts: the record of runs, versions and "
            "stages is gone; put a backup in its place, or remove it and run `dvc repro register`, which "
            "publishes the workspace's models again"
        )


def check_sqlite(database: Path) -> None:
    """Refuse what is no whole MLflow database; a transaction that a killed process left open is rolled back."""
    try:
        # Only who may write can roll back; for a database that is read-only sqlite takes rw for ro.
        uri = f"file:{_quoted(database)}?mode=rw"
        with closing(sqlite3.connect(uri, uri=True, timeout=_PATIENCE)) as connection:
            connection.execute("SELECT version_num FROM alembic_version").fetchone()
            connection.execute("SELECT 1 FROM registered_models LIMIT 1").fetchone()
            (page,) = connection.execute("PRAGMA page_size").fetchone()
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
            raise RegistryError(
                f"{database} is locked by another process; end it and run again"
            ) from error
        raise _damaged(database, str(error)) from error
    if database.stat().st_size % page:
        raise _damaged(database, "its last page is cut off")


def _damaged(database: Path, reason: str) -> RegistryError:
    return RegistryError(
        f"{database} is no complete MLflow database ({reason}); put a backup in its place, or move it aside "
        "and run `dvc repro register`, which publishes the workspace's models again"
    )


def _quoted(path: Path) -> str:
    from urllib.parse import quote

    return quote(str(path))


def moved_from(database: Path) -> list[str]:
    """Return the artifact roots recorded in a database whose files now lie beside it (moved or copied)."""
    here = database.parent / ARTIFACTS
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute("SELECT artifact_location FROM experiments").fetchall()
    parted = [
        path.rpartition(f"/{ARTIFACTS}/") for (path,) in rows if path and f"/{ARTIFACTS}/" in path
    ]
    elsewhere = [
        (f"{head}/{ARTIFACTS}", rest) for head, _, rest in parted if Path(head) != database.parent
    ]
    return sorted(
        {root for root, rest in elsewhere if root.startswith("/") and (here / rest).is_dir()}
    )


def mend_locations(database: Path) -> None:
    """Point every recorded artifact location below a vanished root to the folder beside the database."""
    here = str(database.parent / ARTIFACTS)
    with closing(sqlite3.connect(database, timeout=_PATIENCE)) as connection, connection:
        for old in moved_from(database):
            for table, column in _LOCATIONS:
                connection.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                    f"WHERE substr({column}, 1, ?) = ?",
                    (here, len(old) + 1, len(old) + 1, f"{old}/"),
                )


def experiment_id(client: MlflowClient, uri: str, root: Path, name: str) -> str:
    """Return the id of an experiment, made where it is missing, its artifacts anchored at the store."""
    from mlflow.exceptions import MlflowException

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
    import mlflow

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
