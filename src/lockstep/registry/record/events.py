"""The record of a registered model: numbered events, chained by digest, and the stages they give.

An event is a tag of the registered model, written once before its move and never changed; a second
tag says how it ended. Each event carries the digest of the one before and its end, so a removed or
altered event shows. All of it takes and returns plain values; nothing asks a registry.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import orjson

from lockstep.console import check_plain
from lockstep.errors import UsageError
from lockstep.io import sha256_json

BEGUN, ENDED, HEAD = "lockstep.event.", "lockstep.ended.", "lockstep.head"
"""Tags of a registered model: begin and end of an event, and the last that ended."""
_REQUIRED = ("action", "time", "token", "client")
_OPTIONAL = {"version": int, "stage": str, "gate": dict, "details": dict, "undoes": int}
_OF_END = {"outcome": str, "time": str, "version": int, "mended_by": str}
_KEYS = (
    "number", "action", "actor", "reason", "time", "token", "client", "before", "version",
    "steps", "stage", "gate", "details", "undoes",
)  # fmt: skip
"""The parts of an event's begin, in the order in which listings show them."""
LONGEST_REASON, LONGEST_ACTOR = 500, 100
LONGEST_TAG = 5000
"""Characters in a database column of MLflow's."""


@dataclass(frozen=True)
class Step:
    """One version's change of stage."""

    version: int
    was: str
    now: str


@dataclass(frozen=True)
class Who:
    """Who makes a move, and why."""

    actor: str
    reason: str = ""

    def __post_init__(self) -> None:
        for what, text, most in (
            ("actor", self.actor, LONGEST_ACTOR),
            ("reason", self.reason, LONGEST_REASON),
        ):
            if len(text) > most:
                raise UsageError(f"the {what} has {len(text):,} characters; give at most {most}")
            check_plain(f"the {what}", text)
        if not self.actor.strip():
            raise UsageError("the actor is empty; give --actor NAME or set LOCKSTEP_ACTOR")


@dataclass(frozen=True)
class End:
    """How an event ended: ``done``, ``refused``, or ``dropped`` after a crash."""

    outcome: str
    time: str
    version: int | None = None
    mended_by: str = ""


@dataclass(frozen=True)
class Event:
    """One entry of the record; ``steps`` are its changes of stage, in the order of writing."""

    number: int
    action: str
    who: Who
    time: str
    token: str
    client: str
    before: str = ""
    version: int | None = None
    steps: tuple[Step, ...] = ()
    stage: str | None = None
    gate: dict[str, Any] = field(default_factory=dict)
    details: dict[str, str] = field(default_factory=dict)
    undoes: int | None = None
    end: End | None = None

    @property
    def done(self) -> bool:
        """Whether the move was made."""
        return self.end is not None and self.end.outcome == "done"

    @cached_property
    def digest(self) -> str:
        """The digest of the event and its end, which the next event carries as ``before``."""
        return sha256_json([content_of(self), None if self.end is None else end_content(self.end)])

    @property
    def of_version(self) -> int | None:
        """The version it is about; for a registration the one it made."""
        return self.version if self.version is not None or self.end is None else self.end.version


@dataclass(frozen=True)
class Record:
    """A model's events in order, and their faults: the event's number and one line each."""

    events: tuple[Event, ...] = ()
    found: tuple[tuple[int, str], ...] = ()
    highest: int = 0
    """The highest number seen, also of an event that is unreadable or missing."""
    head: int = 0
    """The number of the event that the head names; after a crash it may be one behind."""

    @property
    def headless(self) -> Event | None:
        """The last event that ended, if the head does not name it yet."""
        ended = [event for event in self.events if event.end is not None]
        return ended[-1] if ended and ended[-1].number > self.head else None

    @property
    def next_number(self) -> int:
        """The number of the next event; no number is given twice."""
        return 1 + max(self.highest, self.last.number if self.last else 0)

    @property
    def faults(self) -> tuple[str, ...]:
        """The faults that were not accepted since, one line each."""
        return tuple(text for number, text in self.found if number > self.accepted)

    @property
    def accepted(self) -> int:
        """The number of the last event that accepted the record; open events before it stay."""
        numbers = (event.number for event in self.events if event.action == "accept" and event.done)
        return max(numbers, default=0)

    @property
    def last(self) -> Event | None:
        """The newest event."""
        return self.events[-1] if self.events else None

    @property
    def open(self) -> tuple[Event, ...]:
        """Events without an end: a crash left them, or they are under way."""
        return tuple(e for e in self.events if e.end is None and e.number > self.accepted)

    @property
    def stages(self) -> dict[int, str]:
        """Each version's stage after all events: the fold of the record."""
        found: dict[int, str] = {}
        for event in self.events:
            found |= changes(event)
        return found


def changes(event: Event) -> dict[int, str]:
    """Return the stages that an event gave, by version; none unless it is done."""
    if not event.done:
        return {}
    given = {step.version: step.now for step in event.steps}
    if event.action == "register" and event.end and event.end.version is not None:
        given[event.end.version] = event.stage or "None"
    return given


@dataclass(frozen=True)
class Turn:
    """An event that changed which versions are in a stage, with those before and after it."""

    event: Event
    before: frozenset[int]
    after: frozenset[int]


def turns(record: Record, stage: str) -> list[Turn]:
    """Return every change of the versions in a stage, the oldest first."""
    found, there = [], frozenset[int]()
    for event in record.events:
        given = changes(event)
        came = {version for version, now in given.items() if now == stage}
        if came or not there.isdisjoint(given):  # copying a large stage for each event takes long
            after = (there - given.keys()) | came
            if after != there:
                found.append(Turn(event, there, after))
            there = after
    return found


def to_undo(record: Record, stage: str) -> Turn | None:
    """Return the last change of a stage that was not undone and undoes none, if any."""
    undone = {event.undoes for event in record.events if event.done and event.undoes is not None}
    made = [turn for turn in turns(record, stage) if turn.event.undoes is None]
    left = [turn for turn in made if turn.event.number not in undone]
    return left[-1] if left else None


# ---------------------------------------------------------------- events as tags


def begin_tag(event: Event) -> tuple[str, str]:
    """Return the tag, name and value, with which an event begins."""
    return f"{BEGUN}{event.number:06d}", _packed(content_of(event))


def end_tag(event: Event) -> tuple[str, str]:
    """Return the tag with which an event ends."""
    assert event.end is not None
    return f"{ENDED}{event.number:06d}", _packed(end_content(event.end))


def head_tag(event: Event) -> tuple[str, str]:
    """Return the tag that names the last event that ended."""
    return HEAD, f"{event.number} {event.digest}"


def content_of(event: Event) -> dict[str, Any]:
    """Return an event's begin as plain JSON values, without empty ones."""
    steps = [[step.version, step.was, step.now] for step in event.steps]
    special = {"actor": event.who.actor, "reason": event.who.reason, "steps": steps}
    plain = {key: special[key] if key in special else getattr(event, key) for key in _KEYS}
    return {key: value for key, value in plain.items() if value not in (None, "", [], {})}


def end_content(end: End) -> dict[str, Any]:
    """Return an event's end as plain JSON values, without empty ones."""
    return {key: value for key, value in asdict(end).items() if value not in (None, "")}


def read_record(tags: Mapping[str, str]) -> Record:
    """Return the record in a registered model's tags, its chain, numbers and head checked."""
    numbers = sorted(_numbers(BEGUN, tags))
    events: list[Event] = []
    unread: list[tuple[int, str]] = []
    for number in numbers:
        try:
            events.append(_event(number, tags))
        except (ValueError, KeyError, TypeError):
            unread.append((number, f"event {number} cannot be read: it was altered"))
    _note_digests(events, tags)
    faults = (*unread, *_chain_faults(events), *_head_faults(events, tags))
    head, _ = _head(tags)
    return Record(tuple(events), faults, max([head, *numbers, *_numbers(ENDED, tags)]), head)


def _note_digests(events: Sequence[Event], tags: Mapping[str, str]) -> None:
    """Give each event the digest of its stored text, if the next event or the head names this one.

    Tags are written in the canonical form, so that it is the digest of the content. Writing all
    content again takes most of the time that a long record needs.
    """
    named = [event.before for event in events[1:]] + [_head(tags)[1]]
    for event, digest in zip(events, named, strict=True) if events else ():
        begun, ended = (tags.get(f"{part}{event.number:06d}", "null") for part in (BEGUN, ENDED))
        if hashlib.sha256(f"[{begun},{ended}]".encode()).hexdigest() == digest:
            vars(event)["digest"] = digest


def _numbers(prefix: str, tags: Mapping[str, str]) -> list[int]:
    form = re.compile(rf"{re.escape(prefix)}([0-9]{{6,9}})")
    found = (form.fullmatch(key) for key in tags)
    return [int(match[1]) for match in found if match]


@lru_cache(maxsize=1024)
def _who(actor: str, reason: str) -> Who:
    """Return who made a move; the same few people make many, and each text is checked once."""
    return Who(actor, reason)


def _event(number: int, tags: Mapping[str, str]) -> Event:
    content: dict[str, Any] = orjson.loads(tags[f"{BEGUN}{number:06d}"])
    if content["number"] != number:
        raise ValueError("another event's content")
    _check_kinds(content, _OPTIONAL)
    ended = tags.get(f"{ENDED}{number:06d}")
    required: dict[str, Any] = {key: str(content[key]) for key in _REQUIRED}
    optional = {key: content[key] for key in _OPTIONAL if key in content}
    steps = ((int(version), str(was), str(now)) for version, was, now in content.get("steps", []))
    try:
        who = _who(str(content["actor"]), str(content.get("reason", "")))
    except UsageError as error:
        raise ValueError(str(error)) from error
    return Event(
        number=number,
        who=who,
        before=str(content.get("before", "")),
        steps=tuple(Step(*step) for step in steps),
        end=_end(ended) if ended else None,
        **required,
        **optional,
    )


def _end(text: str) -> End:
    content: dict[str, Any] = orjson.loads(text)
    _check_kinds(content, _OF_END)
    return End(**content)


def _check_kinds(content: Mapping[str, Any], kinds: Mapping[str, type]) -> None:
    """Raise ValueError if a part of an event has another type than it was written with."""
    if any(type(content[key]) is not kinds[key] for key in kinds if key in content):
        raise ValueError("a part of another type")


def _chain_faults(events: Sequence[Event]) -> Iterable[tuple[int, str]]:
    before, number = "", 0
    for event in events:
        if event.number != number + 1:
            first, last = number + 1, event.number - 1
            missing = f"{first}" if first == last else f"{first} to {last}"
            yield event.number, f"event {missing} is missing from the record"
        elif event.before != before:
            altered = f"event {number} was altered: it is not the one that"
            altered = altered if number else "the first event is not one;"
            yield event.number, f"{altered} event {event.number} follows"
        before, number = event.digest, event.number


def _head_faults(events: Sequence[Event], tags: Mapping[str, str]) -> Iterable[tuple[int, str]]:
    """Yield what the head shows; after a crash it may be one event behind."""
    finished = {event.number: event for event in events if event.end is not None}
    last = max(finished, default=0)
    head, digest = _head(tags)
    if head in finished and finished[head].digest != digest:
        yield head, f"event {head} was altered after it ended"
    elif head > last:
        yield head, f"event {head}, the last that ended, is missing from the record"
    elif head < last - 1:
        lost = "whether later events are missing cannot be known"
        yield last, f"the record's head is missing: {lost}"


def _head(tags: Mapping[str, str]) -> tuple[int, str]:
    number, _, digest = tags.get(HEAD, "").partition(" ")
    return int(number) if re.fullmatch(r"[0-9]{1,9}", number) else 0, digest


def _packed(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    if len(text) > LONGEST_TAG:
        raise UsageError(f"this move's record has {len(text):,} characters; give a shorter reason")
    return text
