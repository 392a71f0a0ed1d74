"""Events in words, as listings and pages show them."""

from __future__ import annotations

from lockstep.registry.record.events import Event

MOST_STEPS = 4
"""So many changes of stage of one event are spelt out."""


def moved_text(event: Event) -> str:
    """Return in words which versions an event moved where, or which it left where it was."""
    if moved := stages_text(event):
        return moved
    if not event.of_version:
        return ""
    wanted = event.details.get("to")
    return f"version {event.of_version}" + (f": stays, not in {wanted}" if wanted else "")


def stages_text(event: Event, title: str = "version ") -> str:
    """Return the changes of stage of an event; ``title`` stands before a version's number."""
    if event.action == "register" and event.of_version:
        return f"{title}{event.of_version}: new → {event.stage or 'None'}"
    moved = ", ".join(f"{title}{s.version}: {s.was} → {s.now}" for s in event.steps[:MOST_STEPS])
    return moved + (", …" if len(event.steps) > MOST_STEPS else "")


def time_text(event: Event) -> str:
    """Return an event's time for people, to the second."""
    return event.time[:19].replace("T", " ")
