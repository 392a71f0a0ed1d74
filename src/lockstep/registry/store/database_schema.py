"""The revision of a database's tables, and the one that the installed MLflow needs."""

from __future__ import annotations

import re
from pathlib import Path

import mlflow
import sqlalchemy

from lockstep.console import without_password
from lockstep.errors import RegistryError

DATABASE_SECONDS = 3
"""How long a database server may take to answer."""


def schema_of(uri: str) -> str:
    """Return the revision of a database's tables; RegistryError where it cannot be read in time."""
    is_server = uri.startswith(("postgresql", "mysql"))
    patience = {"connect_timeout": DATABASE_SECONDS} if is_server else {}
    try:
        engine = sqlalchemy.create_engine(uri, poolclass=sqlalchemy.NullPool, connect_args=patience)
        with engine.connect() as connection:
            found = connection.exec_driver_sql("SELECT version_num FROM alembic_version")
            return str(found.scalar())
    except sqlalchemy.exc.SQLAlchemyError as error:
        reason = " ".join(str(error).split())[:200]
        command = f"`mlflow db upgrade {without_password(uri)}`"
        fix = f"start it, correct the address, or make its tables with {command}"
        raise RegistryError(f"it cannot be read ({reason}); {fix}") from error


def newest_schema() -> str:
    """Return the revision that the installed MLflow needs, by the text of its migration scripts."""
    scripts = (Path(mlflow.__file__).parent / "store" / "db_migrations" / "versions").glob("*.py")
    lines = [line for path in scripts for line in path.read_text(encoding="utf-8").splitlines()]
    named, before = _named(lines, "revision"), _named(lines, "down_revision")
    return " ".join(sorted(named - before))


def _named(lines: list[str], key: str) -> set[str]:
    """Return the revisions that the scripts assign to a name."""
    found = (line for line in lines if re.match(rf"{key}\b.*=", line))
    return {name for line in found for name in re.findall(r"[\"'](\w+)[\"']", line)}
