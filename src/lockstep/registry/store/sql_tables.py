"""A local registry read from MLflow's own tables, as a listing needs a tenth of the time.

It only reads, and only tables of a known schema. For any other, and for cases that MLflow treats in
another way, ``local_tables`` returns None, and MLflow itself is asked.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lockstep.errors import RegistryError
from lockstep.registry.store.names import DIGEST_TAG, MONITORED_TAG, NAME_TAG, STAGE_TAG, UNNAMED
from lockstep.registry.store.uris import SQLITE
from lockstep.registry.store.versions import Version

SCHEMAS = ("dc11669786a5",)
"""The known revisions of MLflow's schema; a test compares with the installed MLflow's answers."""
_PATIENCE = 20.0
_ELSEWHERE = ("MLFLOW_REGISTRY_URI", "MLFLOW_ENABLE_WORKSPACES")
"""Variables that point MLflow to another registry, or to a part of this one."""
_UNUSUAL = """
    SELECT EXISTS (SELECT 1 FROM registered_models WHERE workspace <> 'default')
        OR EXISTS (SELECT 1 FROM registered_model_tags WHERE key = 'mlflow.prompt.is_prompt')
        OR EXISTS (SELECT 1 FROM model_version_tags WHERE key = 'mlflow.prompt.is_prompt')"""
_HERE = "workspace = 'default'"
"""The workspace is the first column of every index."""
_TAGGED_OF = (
    "version IN (SELECT version FROM model_version_tags"
    f" WHERE {_HERE} AND name = ? AND key = ? AND value = ?)"
)
_TAGGED = (
    "(name, version) IN (SELECT name, version FROM model_version_tags"
    f" WHERE {_HERE} AND key = ? AND value = ?)"
)


@dataclass(frozen=True)
class Entry:
    """A registered model with MLflow's attributes."""

    name: str
    tags: dict[str, str]
    aliases: dict[str, int]
    description: str = ""


@dataclass(frozen=True)
class Tables:
    """The registry's tables in a database file."""

    database: Path

    @property
    def tracking_uri(self) -> str:
        """The address by which MLflow opens the same database."""
        return f"{SQLITE}{self.database.absolute()}"

    def entries(self, name: str | None = None) -> list[Entry]:
        """Return all registered models, or the one with a name."""
        where, values = ("WHERE name = ?", [name]) if name is not None else ("", [])
        with _open(self.database) as connection:
            names = connection.execute(
                f"SELECT name, description FROM registered_models {where}", values
            )
            found = {one: Entry(one, {}, {}, text or "") for one, text in names}
            tags = f"SELECT name, key, value FROM registered_model_tags {where}"
            for one, key, value in connection.execute(tags, values):
                found[one].tags[key] = value
            aliases = f"SELECT name, alias, version FROM registered_model_aliases {where}"
            for one, alias, version in connection.execute(aliases, values):
                found[one].aliases[alias] = version
        return list(found.values())

    def versions(self, name: str | None = None, stage: str | None = None) -> list[Version]:
        """Return all versions, or those of a model, or of these the ones tagged with a stage."""
        if stage is None:
            return self._rows("true", []) if name is None else self._rows("name = ?", [name])
        if name is None:
            return self._rows(_TAGGED, [STAGE_TAG, stage])
        return self._rows(f"name = ? AND {_TAGGED_OF}", [name, name, STAGE_TAG, stage])

    def with_digest(self, name: str, digest: str) -> list[Version]:
        """Return the versions of a model whose model has a digest."""
        return self._rows(f"name = ? AND {_TAGGED_OF}", [name, name, DIGEST_TAG, digest])

    def numbered(self, name: str, numbers: Collection[int]) -> list[Version]:
        """Return the versions with these numbers; nothing for those that were deleted."""
        marks = ", ".join("?" * len(numbers))
        return self._rows(f"name = ? AND version IN ({marks})", [name, *numbers]) if marks else []

    def newest(self, name: str, most: int = 1) -> list[Version]:
        """Return the newest versions of a model, the newest first."""
        numbers = (
            f"SELECT version FROM model_versions WHERE {_HERE} AND name = ?"
            " AND current_stage <> 'Deleted_Internal' ORDER BY version DESC LIMIT ?"
        )
        found = self._rows(f"name = ? AND version IN ({numbers})", [name, name, most])
        return sorted(found, key=lambda v: -v.version)

    def versions_of_run(self, run_id: str) -> list[Version]:
        """Return the versions that a run made."""
        made = f"SELECT name, version FROM model_versions WHERE {_HERE} AND run_id = ?"
        return self._rows(f"(name, version) IN ({made})", [run_id])

    def run_name(self, run_id: str) -> str | None:
        """Return what a run is called; None if there is no such run."""
        query = """
            SELECT value FROM runs LEFT JOIN tags ON tags.run_uuid = runs.run_uuid AND key = ?
            WHERE runs.run_uuid = ?"""
        with _open(self.database) as connection:
            found = connection.execute(query, [NAME_TAG, run_id]).fetchone()
        return None if found is None else str(found[0] or UNNAMED)

    def run_tag(self, run_id: str, key: str) -> str | None:
        """Return a tag of a run; None without it."""
        with _open(self.database) as connection:
            where = "SELECT value FROM tags WHERE run_uuid = ? AND key = ?"
            found = connection.execute(where, [run_id, key]).fetchone()
        return None if found is None else str(found[0])

    def has_active(self, run_id: str, model_id: str) -> bool:
        """Return whether there are a run and a logged model that nobody deleted."""
        query = """
            SELECT 1 FROM runs JOIN logged_models ON model_id = ? WHERE run_uuid = ?
            AND runs.lifecycle_stage = 'active' AND logged_models.lifecycle_stage = 'active'"""
        with _open(self.database) as connection:
            return connection.execute(query, [model_id, run_id]).fetchone() is not None

    def has_run(self, experiment: str, key: str, value: str) -> bool:
        """Return whether an experiment, by its name, has a finished run with a tag."""
        query = """
            SELECT EXISTS (
                SELECT 1 FROM tags JOIN runs USING (run_uuid) JOIN experiments USING (experiment_id)
                WHERE key = ? AND value = ? AND experiments.name = ? AND status = 'FINISHED'
                AND runs.lifecycle_stage = 'active' AND experiments.lifecycle_stage = 'active')"""
        with _open(self.database) as connection:
            return bool(connection.execute(query, [key, value, experiment]).fetchone()[0])

    def folder_of(self, version: Version) -> Path | None:
        """Return the folder of a version's files; None if it is not one of this machine."""
        query = f"""
            SELECT storage_location FROM model_versions
            WHERE {_HERE} AND name = ? AND version = ?"""
        with _open(self.database) as connection:
            found = connection.execute(query, [version.name, version.version]).fetchone()
        folder = Path(found[0] or "") if found else Path()
        return folder if folder.is_absolute() and folder.is_dir() else None

    def pointed(self, name: str, aliases: Collection[str]) -> dict[str, int]:
        """Return the versions that some aliases of a model name; those that it lacks are left out.

        A version that was deleted has no alias for MLflow.
        """
        marks = ", ".join("?" * len(aliases))
        there = (
            f"SELECT alias, a.version FROM registered_model_aliases a JOIN model_versions v"
            f" USING (workspace, name) WHERE {_HERE} AND name = ? AND alias IN ({marks})"
            " AND v.version = a.version AND current_stage <> 'Deleted_Internal'"
        )
        with _open(self.database) as connection:
            return dict(connection.execute(there, [name, *aliases]).fetchall())

    def analyses(self) -> list[tuple[int, dict[str, str]]]:
        """Return time and tags of the newest analysis of each served version."""
        runs = """
            SELECT run_uuid, max(start_time) FROM runs JOIN tags USING (run_uuid)
            WHERE key = ? AND status = 'FINISHED' AND lifecycle_stage = 'active' GROUP BY value"""
        with _open(self.database) as connection:
            found = connection.execute(runs, [MONITORED_TAG]).fetchall()
            tags = "SELECT key, value FROM tags WHERE run_uuid = ?"
            return [
                (time, dict(connection.execute(tags, [run_id]).fetchall()))
                for run_id, time in found
            ]

    def artifact_uri(self, run_id: str) -> str:
        """Return the address of a run's files; RegistryError for an unknown run."""
        with _open(self.database) as connection:
            where = "SELECT artifact_uri FROM runs WHERE run_uuid = ?"
            found = connection.execute(where, [run_id]).fetchone()
        if found is None:
            raise RegistryError(f"the registry has no run {run_id}")
        return str(found[0])

    def _rows(self, where: str, values: Sequence[Any]) -> list[Version]:
        where = f"WHERE {_HERE} AND {where}"
        rows = f"""
            SELECT name, version, creation_time, run_id, source, current_stage, description
            FROM model_versions {where} AND current_stage <> 'Deleted_Internal'"""
        tags = f"SELECT name, version, key, value FROM model_version_tags {where}"
        found: dict[tuple[str, int], Version] = {}
        with _open(self.database) as connection:
            for name, version, created, run_id, source, stage, text in connection.execute(
                rows, values
            ):
                mirrored = stage or "None"
                found[name, version] = Version(
                    name,
                    version,
                    created,
                    run_id or None,
                    source,
                    mirrored,
                    tags={},
                    description=text or "",
                )
            for name, version, key, value in connection.execute(tags, values):
                if (name, version) in found:
                    found[name, version].tags[key] = value
        return list(found.values())


def local_tables(database: Path) -> Tables | None:
    """Return the tables of a database with a known schema; None for any other."""
    if any(os.environ.get(name) for name in _ELSEWHERE):
        return None
    with _open(database) as connection:
        known = connection.execute("SELECT version_num FROM alembic_version").fetchall()
        if [revision for (revision,) in known if revision not in SCHEMAS]:
            return None
        (unusual,) = connection.execute(_UNUSUAL).fetchone()
    return None if unusual else Tables(database)


@contextmanager
def _open(database: Path) -> Iterator[sqlite3.Connection]:
    """Yield a connection that sees one state of the database, whatever others write."""
    try:
        uri = f"{database.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=_PATIENCE)) as connection:
            connection.execute("BEGIN")
            yield connection
    except sqlite3.Error as error:
        fix = "run the command again; `manage_model_registry.py doctor` looks closer"
        raise RegistryError(f"{database} cannot be read: {error}; {fix}") from error
