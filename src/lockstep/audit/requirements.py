"""The packages that an artifact needs, with their dependencies, by its version's requirements.lock.

The dependencies come from the lock's notes (``# via``), not from what is installed here, which may
be another environment by now. The notes cover every extra that the lock resolved.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from lockstep.code.pins import distribution, read_pins
from lockstep.dvc.git import git
from lockstep.errors import ConfigError
from lockstep.io import read_json
from lockstep.registry.store.names import CLOSURE, KEPT_INPUTS
from lockstep.registry.store.versions import Version

LOCK = "requirements.lock"


def closed(wanted: Sequence[str], lock: str) -> list[str]:
    """Return the pins of the wanted packages and all they need, by name, with the lock's markers.

    A package with a build of its own for some systems has a pin for each.

    Empty where the lock has other versions of the wanted ones, or no notes of dependencies.
    """
    try:
        pins = read_pins(lock)
    except ConfigError:
        return []
    known = {line.partition(" ")[0] for locked in pins.lines.values() for line in locked}
    if not {line.partition(";")[0].strip() for line in wanted} <= known:
        return []
    names = (distribution(line.partition("==")[0]) for line in wanted)
    return [line for name in pins.with_needs(names) for line in pins.lines[name]]


def recorded_lock(root: Path, version: Version, folder: Path) -> str | None:
    """Return the lock with the version's digest: from its run's folder, here, or its commit."""
    closure = folder / CLOSURE
    if not closure.is_file():
        return None
    digest = read_json(closure)["environment"][LOCK]
    places = (folder / KEPT_INPUTS / LOCK, root / LOCK)
    texts = [path.read_text(encoding="utf-8") for path in places if path.is_file()]
    if commit := version.tag("git_commit"):
        texts.append(f"{git(root, 'show', f'{commit}:./{LOCK}')}\n")
    return next((t for t in texts if hashlib.sha256(t.encode()).hexdigest() == digest), None)
