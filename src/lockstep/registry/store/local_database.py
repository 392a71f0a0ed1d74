"""MLflow's database in a local file: initialised once, checked, and repaired after a move."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

from filelock import FileLock

from lockstep.errors import RegistryError
from lockstep.io import whole_file
from lockstep.registry.store.uris import ARTIFACTS, SQLITE

_PATIENCE = 20.0
"""Seconds that sqlite waits for another process."""
_PUBLISH_AGAIN = "run `dvc repro -s register`, which publishes the workspace's models again"
_LOCATIONS = (  # every column of MLflow's schema that holds an absolute artifact location
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def prepare_sqlite(database: Path, lock_root: Path) -> None:
    """Initialise a missing database; correct the locations in one that was moved."""
    if database.is_dir():
        fault = "is a folder where MLflow's database should be"
        raise RegistryError(f"{database} {fault}; move it away")
    _check_not_emptied(database)
    if not (database.is_file() and database.stat().st_size):
        with _lock(lock_root):
            if not (database.is_file() and database.stat().st_size):
                _initialise(database)
    check_sqlite(database)
    if moved_from(database):
        with _lock(lock_root):
            repair_locations(database)


@contextmanager
def _lock(root: Path) -> Iterator[None]:
    """Hold the workspace's store lock: parallel initialisations destroy a database."""
    path = root / ".lockstep" / "store.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path):
        yield


def _initialise(database: Path) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    with whole_file(database) as part:
        store = SqlAlchemyStore(f"{SQLITE}{part}", str(database.parent / ARTIFACTS))
        store.engine.dispose()


def _check_not_emptied(database: Path) -> None:
    """Refuse an empty file beside artifacts: it is no new store, it was emptied by accident."""
    if not database.is_file() or database.stat().st_size:
        return
    artifacts = database.parent / ARTIFACTS
    if any(path.is_file() for path in artifacts.rglob("*")):
        fault = f"{database} is empty (0 bytes) while {artifacts} holds artifacts"
        fix = f"put a backup in its place, or remove it and {_PUBLISH_AGAIN}"
        raise RegistryError(f"{fault}: the record of runs, versions and stages is missing; {fix}")


def check_sqlite(database: Path) -> None:
    """Refuse what is no complete MLflow database; roll back what a killed process left open."""
    try:
        # Rolling back needs write access; sqlite opens a read-only database with rw as ro.
        uri = f"file:{quote(str(database))}?mode=rw"
        with closing(sqlite3.connect(uri, uri=True, timeout=_PATIENCE)) as connection:
            connection.execute("SELECT version_num FROM alembic_version").fetchone()
            connection.execute("SELECT 1 FROM registered_models LIMIT 1").fetchone()
            (page,) = connection.execute("PRAGMA page_size").fetchone()
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
            fix = "end it and run again"
            raise RegistryError(f"{database} is locked by another process; {fix}") from error
        raise _damaged(database, str(error)) from error
    if database.stat().st_size % page:
        raise _damaged(database, "its last page is cut off")


def _damaged(database: Path, reason: str) -> RegistryError:
    fix = f"put a backup in its place, or move it aside and {_PUBLISH_AGAIN}"
    return RegistryError(f"{database} is no complete MLflow database ({reason}); {fix}")


def moved_from(database: Path) -> list[str]:
    """Return the recorded artifact roots whose files are now beside the database."""
    here = database.parent / ARTIFACTS
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute("SELECT artifact_location FROM experiments").fetchall()
    roots = set()
    for (location,) in rows:
        parent, found, rest = (location or "").rpartition(f"/{ARTIFACTS}/")
        moved = found and parent.startswith("/") and Path(parent) != database.parent
        if moved and (here / rest).is_dir():
            roots.add(f"{parent}/{ARTIFACTS}")
    return sorted(roots)


def repair_locations(database: Path) -> None:
    """Point recorded artifact locations below a moved root to the folder beside the database."""
    here = str(database.parent / ARTIFACTS)
    with closing(sqlite3.connect(database, timeout=_PATIENCE)) as connection, connection:
        for old in moved_from(database):
            for table, column in _LOCATIONS:
                connection.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                    f"WHERE substr({column}, 1, ?) = ?",
                    (here, len(old) + 1, len(old) + 1, f"{old}/"),
                )
