"""The packages that an artifact needs, with their dependencies, by its version's requirements.lock.

The dependencies come from the lock's notes (``# via``), not from what is installed here, which may
be another environment by now. The notes cover every extra that the lock resolved.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lockstep.audit.provenance import CLOSURE, KEPT, LINEAGE
from lockstep.dvc.git import git
from lockstep.io import read_json
from lockstep.registry.store.versions import Version

LOCK = "requirements.lock"
_PIN = re.compile(r"([A-Za-z0-9][\w.-]*)(?:\[[^\]]*\])?==([^\s;\\]+)\s*(?:;\s*([^\\]*[^\\\s]))?")
_VIA = re.compile(r"\s+#\s+(?:via\s+)?([A-Za-z0-9][\w.-]*)")


@dataclass
class Locked:
    """One package of a lock: its pins, several if they depend on the platform, and who needs it."""

    pins: list[str] = field(default_factory=list)
    needed_by: set[str] = field(default_factory=set)


def closed(wanted: Sequence[str], lock: str) -> list[str]:
    """Return the pins of the wanted packages and all they need, by name, with the lock's markers.

    Empty where the lock has other versions of the wanted ones, or no notes of dependencies.
    """
    packages, asked = read_lock(lock), [_name(line.partition("==")[0]) for line in wanted]
    if not all(name in packages for name in asked) or not any(
        p.needed_by for p in packages.values()
    ):
        return []
    if not {line.strip() for line in wanted} <= {
        pin.partition(" ")[0] for p in packages.values() for pin in p.pins
    }:
        return []
    found, left = set[str](), set(asked)
    while left:
        found |= left
        left = {name for name, package in packages.items() if package.needed_by & left} - found
    return [pin for name in sorted(found) for pin in packages[name].pins]


def read_lock(lock: str) -> dict[str, Locked]:
    """Return a lock's packages by name."""
    packages: dict[str, Locked] = {}
    name = ""
    for line in lock.splitlines():
        if pin := _PIN.match(line):
            name = _name(pin[1])
            marker = f" ; {pin[3]}" if pin[3] else ""
            packages.setdefault(name, Locked()).pins.append(f"{name}=={pin[2]}{marker}")
        elif name and (via := _VIA.match(line)):
            packages[name].needed_by.add(_name(via[1]))
    return packages


def recorded_lock(root: Path, version: Version, folder: Path) -> str | None:
    """Return the lock with the version's digest: from its run's folder, here, or its commit."""
    closure = folder / LINEAGE / CLOSURE
    if not closure.is_file():
        return None
    digest = read_json(closure)["environment"][LOCK]
    places = (folder / LINEAGE / KEPT / LOCK, root / LOCK)
    texts = [path.read_text(encoding="utf-8") for path in places if path.is_file()]
    if commit := version.tag("git_commit"):
        texts.append(f"{git(root, 'show', f'{commit}:./{LOCK}')}\n")
    return next((t for t in texts if hashlib.sha256(t.encode()).hexdigest() == digest), None)


def _name(name: str) -> str:
    """Return a package's name as an index spells it."""
    return re.sub(r"[-_.]+", "-", name).lower()
