"""Fill a registry with many versions of one model: rows as MLflow and this project write them.

Each version is a copy of the template, an existing one, with its own digest, event and stage. The
events are chained by the project's own code, and the files are the template's. `make_postgres`
copies a local registry's rows into a database of a server.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import sqlalchemy as sa

from lockstep.io import sha256_json
from lockstep.registry.record.descriptions import version_description
from lockstep.registry.record.events import (
    End,
    Event,
    Step,
    Who,
    begin_tag,
    end_tag,
    head_tag,
    read_record,
)
from lockstep.registry.record.journal import EVENT_TAG
from lockstep.registry.store.names import DIGEST_TAG, STAGE_TAG
from lockstep.registry.store.versions import Version

TABLES = ("model_versions", "model_version_tags", "registered_model_tags")
EVERY = 5
"""So many versions lie between two that were in Production."""
WAITING = 3
"""Versions in Staging."""
TIME = "2026-01-01T00:00:00.000Z"
AT_ONCE = 500


def fill(uri: str, name: str, template: int, most: int) -> None:
    """Add copies of a version until ``name`` has ``most``, without aliases; MLflow is not asked.

    Of five versions one was in Production, where the newest of these stands; three are in Staging.
    The next move of the model sets its aliases and its description.
    """
    engine = sa.create_engine(uri)
    known = sa.MetaData()
    known.reflect(engine, only=TABLES)
    versions, tags, model_tags = (known.tables[table] for table in TABLES)
    with engine.begin() as connection:
        of_model = model_tags.c.name == name
        rows = connection.execute(sa.select(model_tags.c.key, model_tags.c.value).where(of_model))
        record = read_record({row.key: row.value for row in rows})
        there = (versions.c.name == name) & (versions.c.version == template)
        row = dict(connection.execute(sa.select(versions).where(there)).mappings().one())
        tagged = (tags.c.name == name) & (tags.c.version == template)
        found = connection.execute(sa.select(tags.c.key, tags.c.value).where(tagged))
        own = {one.key: one.value for one in found}
        (newest,) = connection.execute(
            sa.select(sa.func.max(versions.c.version)).where(versions.c.name == name)
        ).one()
        numbers = range(newest + 1, most + 1)
        stages = {number: stage_of(number, most) for number in numbers}
        events = list(_events(record.last, numbers, stages, own[DIGEST_TAG]))
        tokens = {e.of_version: e.token for e in events if e.action == "register"}
        made = [_copied(row, own, number, stages[number], tokens[number]) for number in numbers]
        for start in range(0, len(made), AT_ONCE):
            some = made[start : start + AT_ONCE]
            connection.execute(versions.insert(), [one for one, _ in some])
            content = [
                {"workspace": row["workspace"], "name": name, "version": one["version"]}
                | {"key": key, "value": value}
                for one, given in some
                for key, value in given.items()
            ]
            connection.execute(tags.insert(), content)
        written = [tag for event in events for tag in (begin_tag(event), end_tag(event))]
        head = model_tags.c.key == "lockstep.head"
        connection.execute(model_tags.delete().where(of_model & head))
        place = {"workspace": row["workspace"], "name": name}
        connection.execute(
            model_tags.insert(),
            [
                {**place, "key": key, "value": value}
                for key, value in [*written, head_tag(events[-1])]
            ],
        )
    engine.dispose()


def stage_of(number: int, most: int) -> str:
    """Return the stage of a version in the end."""
    if number > most - WAITING:
        return "Staging"
    last = (most - WAITING) // EVERY * EVERY
    if number == last:
        return "Production"
    return "Archived" if number % EVERY == 0 else "None"


def _events(
    last: Event | None, numbers: range, stages: dict[int, str], digest: str
) -> Iterator[Event]:
    """Yield the events of new versions, ended and chained to the last one."""
    served: int | None = None

    def made(action: str, end: int | None = None, **content: Any) -> Event:
        nonlocal last
        number, before = (last.number + 1, last.digest) if last else (1, "")
        who = Who("ana@team", "weekly retrain")
        event = Event(number, action, who, TIME, uuid4().hex, "filled", before, **content)
        last = replace(event, end=End("done", TIME, version=end))
        return last

    for number in numbers:
        details = {"model_digest": digest_of(digest, number), "run_id": "0" * 32}
        yield made("register", number, stage="None", details=details)
        if number % EVERY == 0 and stages[number] in ("Production", "Archived"):
            leave = [Step(served, "Production", "Archived")] if served else []
            steps = (*leave, Step(number, "None", "Production"))
            yield made("promote", version=number, steps=steps)
            served = number
        elif stages[number] == "Staging":
            steps = (Step(number, "None", "Staging"),)
            yield made("transition", version=number, steps=steps)


def digest_of(template: str, number: int) -> str:
    """Return the digest of a copy's model."""
    return sha256_json([template, number])


def _copied(
    row: dict[str, Any], tags: dict[str, str], number: int, stage: str, token: str
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the row and the tags of a copy, with the description that its next move expects."""
    given = {**tags, STAGE_TAG: stage, EVENT_TAG: token}
    given[DIGEST_TAG] = digest_of(tags[DIGEST_TAG], number)
    source = f"models:/m-{uuid4().hex}"
    created = row["creation_time"] + number
    version = Version(row["name"], number, created, row["run_id"], source, stage, given, stage)
    text = version_description(version)
    changed = {"version": number, "source": source, "current_stage": stage, "description": text}
    return {**row, **changed, "creation_time": created, "last_updated_time": created}, given


def make_postgres(source: str, target: str) -> None:
    """Copy all rows of MLflow's tables from one database into another, which has the tables."""
    here, there = sa.create_engine(source), sa.create_engine(target)
    known = sa.MetaData()
    known.reflect(there)
    names = [table for table in known.sorted_tables if table.name != "alembic_version"]
    with here.connect() as reading, there.begin() as writing:
        for table in reversed(names):
            writing.execute(table.delete())
        for table in names:
            rows = [dict(row) for row in reading.execute(sa.select(table)).mappings()]
            for start in range(0, len(rows), AT_ONCE):
                writing.execute(table.insert(), rows[start : start + AT_ONCE])
        if there.dialect.name == "postgresql":
            # As autovacuum does in a registry that grows: without it MLflow's search takes minutes.
            writing.execute(sa.text("ANALYZE"))
    here.dispose()
    there.dispose()
