"""Opening a model's journal: lock the model, then finish what a crash left open."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager

from lockstep.registry.record.deletions import carry_out
from lockstep.registry.record.events import Event, Step, Who, head_tag
from lockstep.registry.record.journal import EVENT_TAG, REFUSED, Journal, check_intact, default_who
from lockstep.registry.record.locking import lock_model
from lockstep.registry.record.registered_models import Model, get_in_use, get_model
from lockstep.registry.store.connection import Client
from lockstep.registry.store.versions import Version

ADOPTED_AT_ONCE = 50
"""Versions that one event adopts: a tag has no room for more."""


@contextmanager
def open_journal(
    client: Client, name: str, who: Who | None = None, numbers: Collection[int] | None = None
) -> Iterator[Journal]:
    """Lock a model within the block; first end what a crash left open in its record.

    With ``numbers`` the journal's model has these versions and those in use (``get_in_use``), which
    takes as long for a model with very many versions.
    """
    with lock_model(client, name) as lock:
        model = get_model(client, name) if numbers is None else get_in_use(client, name, numbers)
        journal = Journal(client, model, who or default_who(), lock)
        check_intact(journal.model)
        journal.repaired = tuple(finish(journal))
        adopt(journal)
        yield journal


def finish(journal: Journal) -> list[Event]:
    """End what a crash left open by doing the rest of it; return those events."""
    # A second crash between an end and the head would look like a loss.
    if event := journal.model.record.headless:
        journal.write(head_tag(event))
    return [_finish(journal, event) for event in journal.model.record.open]


def _finish(journal: Journal, event: Event) -> Event:
    by = journal.who.actor
    if event.gate.get("verdict") == REFUSED:
        return journal.end(event, "refused", mended_by=by)
    if event.action == "prune":
        return carry_out(journal, event, mended_by=by)
    if event.action not in ("register", "export"):
        return _finish_move(journal, event, by)
    made = next((v for v in journal.model.versions if v.tags.get(EVENT_TAG) == event.token), None)
    if made is None:  # as of an export: whether its folder was written cannot be seen from here
        return journal.end(event, "dropped", mended_by=by)
    done = journal.end(event, version=made.version, mended_by=by)
    journal.settle()
    return done


def _finish_move(journal: Journal, event: Event, by: str) -> Event:
    if {step.version for step in event.steps} - journal.model.numbers:  # deleted by another tool
        done = journal.end(event, "dropped", mended_by=by)
        journal.settle()
        return done
    journal.apply(event.steps)
    return journal.end(event, mended_by=by)


def adopt(journal: Journal) -> None:
    """Take versions into the record that were registered before it or by another tool."""
    known = journal.model.record.stages
    strange = [v for v in journal.model.versions if v.version not in known]
    for start in range(0, len(strange), ADOPTED_AT_ONCE):
        some = strange[start : start + ADOPTED_AT_ONCE]
        steps = [Step(v.version, "None", adoptable(v, journal.model)) for v in some]
        journal.move("adopt", steps, details={"note": "registered without a record"})


def adoptable(version: Version, model: Model) -> str:
    """Return the stage in which a version is adopted: its tag's, but no second Production."""
    others = [v.version for v in model.versions if v.stage == "Production"]
    if version.stage != "Production" or len(others) == 1:
        return version.stage
    if any(v.recorded == "Production" for v in model.versions):  # which has passed its gates
        return "Archived"
    pointed = model.aliases.get("production")
    keep = pointed if pointed in others else others[-1]
    return "Production" if version.version == keep else "Archived"
