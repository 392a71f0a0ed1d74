"""Events in words: the board, the report and the listing of a record say the same of one."""

import pytest

from lockstep.commands.registry_listings import _event_row
from lockstep.registry.publishing.report import _move
from lockstep.registry.record.event_text import moved_text
from lockstep.registry.record.events import End, Event, Step, Who

TIME = "2026-11-29T19:40:23.123Z"


def event(action, outcome="done", **more):
    end = End(outcome, TIME, more.pop("made", None))
    return Event(3, action, Who("ana", "new rows"), TIME, "t", "c", end=end, **more)


PROMOTED = event("promote", version=2, steps=(Step(1, "Production", "Archived"),))
MANY = event("archive", steps=tuple(Step(n, "None", "Archived") for n in range(1, 6)))
CASES = [
    (event("register", made=7), "version 7: new → None"),
    (PROMOTED, "version 1: Production → Archived"),
    (
        MANY,
        ", ".join(f"version {n}: None → Archived" for n in range(1, 5)) + ", …",
    ),
    (event("describe"), ""),
]


@pytest.mark.parametrize(("one", "text"), CASES)
def test_a_move_is_told_alike_in_pages_and_listings(one, text):
    assert moved_text(one) == text
    assert _move("M", one).what == text
    assert _event_row(one)["versions"] == text.replace("version ", "")
    assert _move("M", one).time == _event_row(one)["time (utc)"] == "2026-11-29 19:40:23"


def test_a_refused_version_stays():
    refused = event("promote", "refused", version=2, details={"to": "Production"})
    assert moved_text(refused) == "version 2: stays, not in Production"
    assert _move("M", refused).what == "version 2: stays, not in Production"
    assert _event_row(refused)["versions"] == "2: stays"
