"""Writing the record: an event before its move, its end after it.

The model is locked meanwhile (``locking.lock_model``), and what is read is read under the lock.
"""

from __future__ import annotations

import socket
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version as package_version
from typing import Any
from uuid import uuid4

from lockstep.config.layout import project_root
from lockstep.config.settings import environment
from lockstep.errors import RegistryError
from lockstep.registry.record.descriptions import model_description, version_description
from lockstep.registry.record.events import End, Event, Step, Who, begin_tag, end_tag, head_tag
from lockstep.registry.record.locking import HeldLock
from lockstep.registry.record.registered_models import (
    ALIASES,
    Model,
    aliases_of,
    get_in_use,
    get_model,
)
from lockstep.registry.store.connection import Client, translating_mlflow_errors
from lockstep.registry.store.names import STAGE_TAG
from lockstep.registry.store.owners import user_name
from lockstep.registry.store.versions import Version

EVENT_TAG = "lockstep.registered_by"
"""On a version: the token of the event that made it."""
CLIENT = f"lockstep {package_version('lockstep')}"
"""The program that writes an event."""
REFUSED = "refused"
"""The verdict of a gate that forbids a move."""


@dataclass
class Journal:
    """A locked model and its record: events begin and end here."""

    client: Client
    model: Model
    who: Who
    lock: HeldLock
    repaired: tuple[Event, ...] = ()
    """The events that a crash had left open and that were ended when the journal was opened."""

    @property
    def name(self) -> str:
        """The registered model's name."""
        return self.model.name

    def begin(self, action: str, **content: Any) -> Event:
        """Write that a move begins."""
        number, last = self.model.record.next_number, self.model.record.last
        before, token = "" if last is None else last.digest, uuid4().hex
        event = Event(number, action, self.who, now(), token, CLIENT, before, **content)
        self.write(begin_tag(event))
        self._note(event)
        return event

    def end(self, event: Event, outcome: str = "done", **content: Any) -> Event:
        """Write how a move ended."""
        whole = replace(event, end=End(outcome, now(), **content))
        self.write(end_tag(whole))
        self.write(head_tag(whole))
        self._note(whole)
        return whole

    def move(self, action: str, steps: Sequence[Step], **content: Any) -> Event:
        """Make some steps as one event."""
        event = self.begin(action, steps=tuple(steps), **content)
        self.apply(steps)
        return self.end(event)

    def apply(self, steps: Sequence[Step]) -> None:
        """Write the stages that steps give, then bring what repeats them in line."""
        with translating_mlflow_errors():
            for step in steps:
                self.checked_client().set_model_version_tag(
                    self.name, str(step.version), STAGE_TAG, step.now
                )
            self.model = with_stages(self.model, {step.version: step.now for step in steps})
            self.model = _aligned(self)
            self.model = _described(self)

    def settle(self) -> None:
        """Read the model again, of a part the same part, and bring all that repeats it in line."""
        if self.model.whole:
            self.model = get_model(self.client, self.name)
        else:
            self.model = get_in_use(self.client, self.name, self.model.numbers)
        self.apply([])

    def checked_client(self) -> Client:
        """Return the client for one write; RegistryError if another process broke the lock."""
        self.lock.check()
        return self.client

    def write(self, tag: tuple[str, str]) -> None:
        """Write one tag of the record, if the model is still locked."""
        with translating_mlflow_errors():
            self.checked_client().set_registered_model_tag(self.name, *tag)

    def _note(self, event: Event) -> None:
        before = tuple(e for e in self.model.record.events if e.number != event.number)
        record = replace(self.model.record, events=(*before, event))
        self.model = replace(self.model, record=record)


def with_stages(model: Model, stages: Mapping[int, str]) -> Model:
    """Return a model after some versions got a stage."""
    moved = (
        replace(v, recorded=stages[v.version], tags={**v.tags, STAGE_TAG: stages[v.version]})
        if v.version in stages
        else v
        for v in model.versions
    )
    return replace(model, versions=tuple(moved))


def _aligned(journal: Journal) -> Model:
    """Bring tags, aliases and MLflow's own stages in line with the stages; write only changes."""
    model, name = journal.model, journal.name
    for version in model.versions:
        if version.tags.get(STAGE_TAG) != version.stage:
            tag = (str(version.version), STAGE_TAG, version.stage)
            journal.checked_client().set_model_version_tag(name, *tag)
        if version.mirrored != version.stage:
            _mirror(journal.checked_client(), version)
    wanted = aliases_of(model)
    for alias in ALIASES:
        if alias not in wanted and alias in model.aliases:
            journal.checked_client().delete_registered_model_alias(name, alias)
        elif alias in wanted and model.aliases.get(alias) != wanted[alias]:
            # An upsert: without a delete before it, one version can be loaded at any moment.
            number = str(wanted[alias])
            journal.checked_client().set_registered_model_alias(name, alias, number)
    others = {alias: model.aliases[alias] for alias in model.aliases if alias not in ALIASES}
    settled = (
        replace(v, mirrored=v.stage, tags={**v.tags, STAGE_TAG: v.stage}) for v in model.versions
    )
    return replace(model, versions=tuple(settled), aliases=others | wanted)


def _described(journal: Journal) -> Model:
    """Write the descriptions that stages and tags contradict."""
    model, versions = journal.model, []
    for version in model.versions:
        text = version_description(version)
        if text != version.description:
            number = str(version.version)
            journal.checked_client().update_model_version(version.name, number, text)
        versions.append(replace(version, description=text))
    text = model_description(model)
    if text != model.description:
        journal.checked_client().update_registered_model(model.name, text)
    return replace(model, versions=tuple(versions), description=text)


def _mirror(client: Client, version: Version) -> None:
    if not hasattr(client, "transition_model_version_stage"):
        return
    with warnings.catch_warnings():
        deprecated = r".*transition_model_version_stage`` is deprecated"
        warnings.filterwarnings("ignore", deprecated, FutureWarning)
        client.transition_model_version_stage(version.name, str(version.version), version.stage)


def default_who() -> Who:
    """Return who acts if nobody is named: LOCKSTEP_ACTOR, else the user and the host."""
    found = environment(project_root()).get("LOCKSTEP_ACTOR")
    named = found.value.strip() if found else ""
    return Who(named or f"{user_name()}@{socket.gethostname()}")


def now() -> str:
    """Return the time in UTC to the millisecond, for people: numbers order the events."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def check_intact(model: Model) -> None:
    """Raise RegistryError if a model's record has a fault: nothing is built upon it."""
    if model.record.faults:
        damage = f"the record of {model.name} is damaged: {model.record.faults[0]}"
        look = f"look at it with `manage_model_registry.py verify --model-name {model.name}`"
        raise RegistryError(f"{damage}; {look}, then accept what stands with `doctor --fix`")
