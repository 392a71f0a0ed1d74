"""One move at a time on a registered model, over plain MLflow, which has no compare-and-swap.

Creating a registered model with a taken name fails atomically: the process that creates
``lockstep.lock.NAME`` has the lock on NAME. On sqlite a file lock comes first, so that processes of
one machine queue without asking. A lock whose owner died on this machine is broken at once, any
other after ``LEASE`` seconds without a sign of life from its owner. The waiting process measures
them by its own monotonic clock. A long move gives signs as it writes.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from filelock import FileLock, Timeout

from lockstep.errors import RegistryError
from lockstep.registry.store import owners
from lockstep.registry.store.connection import Client, tolerating, translating_mlflow_errors
from lockstep.registry.store.names import LOCK_PREFIX, SCRIPT
from lockstep.registry.store.uris import sqlite_file

MARK = "breaking."
"""Prefix of a lock on breaking the lock whose name follows."""
LEASE = 45.0
"""Seconds without a sign of life after which another process may break a lock."""
PATIENCE = 120.0
"""Seconds that a command waits for a lock."""
_SHORTEST = 0.02
"""Seconds between the first two tries."""
_TOKEN, _OWNER, _BEAT = "lockstep.token", "lockstep.owner", "lockstep.beat"
_TAKEN = ("RESOURCE_ALREADY_EXISTS", "ALREADY_EXISTS", "RESOURCE_DOES_NOT_EXIST")
"""Error codes of a create whose name is taken; the last if it was released meanwhile."""


@dataclass(frozen=True)
class Lock:
    """A lock as the registry shows it."""

    name: str
    token: str
    owner: dict[str, Any]
    created: int = 0
    """Milliseconds since 1970, by the registry's clock."""
    beat: str = ""
    """The owner's last sign of life, different each time."""

    @property
    def life(self) -> str:
        """What stays the same until its owner gives a sign of life."""
        return f"{self.token} {self.beat}"

    @property
    def owner_text(self) -> str:
        """Its owner for people: user, host, process."""
        user, host, pid = (self.owner.get(key, "?") for key in ("user", "host", "pid"))
        return f"{user} on {host} (pid {pid})"

    @property
    def dead(self) -> bool:
        """Whether its owner was a process of this machine, since its last boot, that has ended."""
        return owners.has_ended(self.owner)


@dataclass
class HeldLock:
    """A lock of this process; ``since`` is the monotonic time of its last sign of life."""

    client: Client
    name: str
    token: str
    since: float

    def check(self) -> None:
        """Raise RegistryError if another process broke the lock; also give a sign of life."""
        if time.monotonic() - self.since < LEASE / 4:
            return
        lock = find_lock(self.client, self.name)
        if not _is_of(lock, self.token):
            fault = f"this command was stopped for so long that another took over {self.name}"
            raise RegistryError(f"{fault}; look at its history and run the command again")
        with translating_mlflow_errors():
            self.client.set_registered_model_tag(f"{LOCK_PREFIX}{self.name}", _BEAT, uuid4().hex)
        self.since = time.monotonic()


@contextmanager
def lock_model(client: Client, name: str) -> Iterator[HeldLock]:
    """Lock a registered model within the block; RegistryError after ``PATIENCE`` seconds."""
    with ExitStack() as stack:
        if database := sqlite_file(client.tracking_uri):
            stack.enter_context(_file_held(database, name))
        token = uuid4().hex
        _take(client, name, token)
        stack.push(lambda error, *_: _release(client, name, token, failing=error is not None))
        yield HeldLock(client, name, token, time.monotonic())


def find_lock(client: Client, name: str) -> Lock | None:
    """Return the lock on a model, if there is one."""
    with tolerating("RESOURCE_DOES_NOT_EXIST"):
        return _lock(client.get_registered_model(f"{LOCK_PREFIX}{name}"))
    return None


def all_locks(client: Client) -> list[Lock]:
    """Return every lock, including those on breaking one."""
    found = client.search_registered_models(f"name LIKE '{LOCK_PREFIX}%'", max_results=1000)
    return [_lock(model) for model in found]


def break_lock(client: Client, lock: Lock) -> bool:
    """Remove a lock whose owner is gone, unless it changed since; return whether it was removed.

    Only one process may break a lock: it sets a mark first. The mark is a lock like any other, so
    the mark of a process that died meanwhile is broken in the same way.
    """
    mark, token, begun = f"{MARK}{lock.name}", uuid4().hex, time.monotonic()
    if not _create(client, mark, token) and not _is_of(find_lock(client, mark), token):
        return False
    try:
        now = find_lock(client, lock.name)
        # A process that was stopped for long may have lost the mark.
        if now is None or now.life != lock.life or time.monotonic() - begun > LEASE / 2:
            return False
        _delete(client, f"{LOCK_PREFIX}{lock.name}")
        return True
    finally:
        _delete_own(client, mark, token)


def _lock(model: Any) -> Lock:
    """Return MLflow's entry as a lock; an unreadable owner is empty."""
    tags, created = model.tags, int(model.creation_timestamp or 0)
    owner = owners.from_tag(tags.get(_OWNER, ""))
    name = model.name.removeprefix(LOCK_PREFIX)
    return Lock(name, tags.get(_TOKEN, ""), owner, created, tags.get(_BEAT, ""))


def _is_of(lock: Lock | None, token: str) -> bool:
    return lock is not None and lock.token == token


def _take(client: Client, name: str, token: str) -> None:
    begun = time.monotonic()
    seen: dict[str, float] = {}
    pause = _SHORTEST
    while not _create(client, name, token):
        lock = find_lock(client, name)
        if _is_of(lock, token):  # MLflow asked twice because the first answer was lost
            break
        if time.monotonic() - begun > PATIENCE:
            raise RegistryError(_impatient(name, lock))
        if lock is None:
            time.sleep(_SHORTEST * random.uniform(0.5, 1.5))
        elif not _broken(client, lock, seen):
            time.sleep(pause * random.uniform(0.5, 1.5))
            pause = min(pause * 1.5, 0.5)
    mark = find_lock(client, f"{MARK}{name}")
    if mark is not None and mark.dead:  # of a process that died after it broke the lock
        _broken(client, mark, seen)


def _impatient(name: str, lock: Lock | None) -> str:
    if lock is None:
        strange = "the registry says its lock is taken, and shows none"
        return f"{name} cannot be held: {strange}; look at its server"
    held = f"{name} is held by {lock.owner_text} for another move"
    repair = f"`{SCRIPT} doctor --fix` if it never does"
    return f"{held}; run the command again when that has ended, or {repair}"


def _broken(client: Client, lock: Lock, seen: dict[str, float]) -> bool:
    """Break a lock, or the mark on it, if its owner is gone; return whether one was removed.

    ``seen`` holds the monotonic time at which each sign of life was first seen.
    """
    now = time.monotonic()
    if not lock.dead and now - seen.setdefault(lock.life, now) <= LEASE:
        return False
    if break_lock(client, lock):
        return True
    mark = find_lock(client, f"{MARK}{lock.name}")
    return mark is not None and _broken(client, mark, seen)


def _delete_own(client: Client, name: str, token: str) -> None:
    if _is_of(find_lock(client, name), token):
        _delete(client, f"{LOCK_PREFIX}{name}")


def _release(client: Client, name: str, token: str, failing: bool) -> None:
    """Remove the lock; if the store fails now, warn that the move is done (unless it failed)."""
    try:
        _delete_own(client, name, token)
    except RegistryError as error:
        if not failing:
            wait = f"the next move of {name} waits up to {LEASE:g} s for it"
            done = f"WARNING the move is done, but its lock stands ({error})"
            print(f"{done}; {wait}", file=sys.stderr)


def _create(client: Client, name: str, token: str) -> bool:
    tags = {_TOKEN: token, _OWNER: owners.to_tag()}
    with tolerating(*_TAKEN):
        text = "one move at a time; goes with it"
        client.create_registered_model(f"{LOCK_PREFIX}{name}", tags=tags, description=text)
        return True
    return False


def _delete(client: Client, name: str) -> None:
    with tolerating("RESOURCE_DOES_NOT_EXIST"):
        client.delete_registered_model(name)


@contextmanager
def _file_held(database: Path, name: str) -> Iterator[None]:
    try:
        with FileLock(f"{database}.moves.lock", timeout=PATIENCE):
            yield
    except Timeout:
        fault = f"another command has been moving versions in {database.parent} for {PATIENCE:g} s"
        raise RegistryError(f"{fault}; run {name}'s move again when it has ended") from None
