"""Opening a model's journal: take its lock, then end what a crash left open."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lockstep.registry.record.events import Event, Step, Who, head_tag
from lockstep.registry.record.journal import (
    EVENT_TAG,
    REFUSED,
    Journal,
    check_intact,
    default_who,
)
from lockstep.registry.record.locking import lock_model
from lockstep.registry.record.registered_models import Model, get_model
from lockstep.registry.store.versions import Version

if TYPE_CHECKING:
    from lockstep.registry.store.connection import Client

ADOPTED_AT_ONCE = 50
"""Versions that one event takes over: a tag holds no more."""


@contextmanager
def open_journal(client: Client, name: str, who: Who | None = None) -> Iterator[Journal]:
    """Hold a model within the block, its record whole: what a crash left open is ended first."""
    with lock_model(client, name) as lock:
        book = Journal(client, get_model(client, name), who or default_who(), lock)
        check_intact(book.model)
        book.mended = tuple(finish(book))
        adopt(book)
        yield book


def finish(book: Journal) -> list[Event]:
    """End what a crash left open, by doing the rest of it; return those events."""
    # A second crash between an end and the head would look like a loss.
    if event := book.model.record.headless:
        book.write(head_tag(event))
    return [_finished(book, event) for event in book.model.record.open]


def _finished(book: Journal, event: Event) -> Event:
    by = book.who.actor
    if event.gate.get("verdict") == REFUSED:
        return book.end(event, "refused", mended_by=by)
    if event.action == "export":  # nobody can see from here whether its folder came to be
        return book.end(event, "dropped", mended_by=by)
    if event.action == "prune":
        from lockstep.registry.record.deletions import carry_out

        return carry_out(book, event, mended_by=by)
    if event.action != "register":
        return _moved(book, event, by)
    made = next((v for v in book.model.versions if v.tags.get(EVENT_TAG) == event.token), None)
    if made is None:
        return book.end(event, "dropped", mended_by=by)
    done = book.end(event, version=made.version, mended_by=by)
    book.settle()
    return done


def _moved(book: Journal, event: Event, by: str) -> Event:
    """End a move; nothing of one whose version was deleted meanwhile, as MLflow's own pages can."""
    there = {version.version for version in book.model.versions}
    if any(step.version not in there for step in event.steps):
        done = book.end(event, "dropped", mended_by=by)
        book.settle()
        return done
    book.apply(event.steps)
    return book.end(event, mended_by=by)


def adopt(book: Journal) -> None:
    """Take versions into the record that it does not know: they were registered before it, or by another tool."""
    known = book.model.record.stages
    strange = [v for v in book.model.versions if v.version not in known]
    for start in range(0, len(strange), ADOPTED_AT_ONCE):
        some = strange[start : start + ADOPTED_AT_ONCE]
        steps = tuple(Step(v.version, "None", adoptable(v, book.model)) for v in some)
        event = book.begin("adopt", steps=steps, details={"note": "registered without a record"})
        book.apply(steps)
        book.end(event)


def adoptable(version: Version, model: Model) -> str:
    """Return the stage a version without a record is taken over in: its tag's, but no second Production.

    What stands there on record has passed its gates and stays.
    """
    others = [v.version for v in model.versions if v.stage == "Production"]
    if version.stage != "Production" or len(others) == 1:
        return version.stage
    if any(v.recorded == "Production" for v in model.versions):
        return "Archived"
    pointed = model.aliases.get("production")
    keep = pointed if pointed in others else others[-1]
    return "Production" if version.version == keep else "Archived"
