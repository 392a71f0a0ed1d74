"""requirements.lock: the pinned version of each distribution, and which others it needs.

Only the file counts, not what is installed, so every machine gets the same answer.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from lockstep.errors import ConfigError, nearest

DISTRIBUTIONS = {
    "PIL": "pillow",
    "dateutil": "python-dateutil",
    "dotenv": "python-dotenv",
    "ruamel": "ruamel-yaml",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}
"""Import names whose distribution has another name."""
BUILDS = {"xgboost": "xgboost-cpu"}
"""Distributions that are another one's build for some systems: both count as the latter."""
_PIN = re.compile(
    r"(?P<name>[A-Za-z0-9._-]+)(\[[^\]]*\])?==(?P<version>[^\s;\\]+)\s*(?P<marker>;[^\\]*)?"
)
_VIA = re.compile(r"\s+#(?: via)?\s+(?!via$)(?P<name>[A-Za-z0-9._-]+)(\[[^\]]*\])?$")


@dataclass(frozen=True)
class Pins:
    """What a lock file pins: versions by distribution, and what each distribution needs.

    ``lines`` are the pins themselves, with the lock's markers: what an installer reads.
    """

    versions: dict[str, str] = field(default_factory=dict)
    needs: dict[str, set[str]] = field(default_factory=dict)
    lines: dict[str, list[str]] = field(default_factory=dict)

    def of(self, imported: str, importer: str) -> str:
        """Return the distribution of an import name; one without a pin is a ConfigError."""
        name = distribution(DISTRIBUTIONS.get(imported, imported))
        if name in self.versions:
            return name
        fault = f"{importer} imports {imported}, but requirements.lock has no pin of {name}"
        raise ConfigError(
            f"{fault}{nearest(name, self.versions)}; add it to pyproject.toml and run `make lock`, "
            "or add its distribution's name to DISTRIBUTIONS in lockstep/code/pins.py"
        )

    def with_needs(self, names: Iterable[str]) -> dict[str, str]:
        """Return the pinned versions of distributions and of all that they need, sorted by name."""
        found: set[str] = set()
        waiting = list(names)
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting += self.needs.get(name, ())
        return {name: self.versions[name] for name in sorted(found)}


def normalized(name: str) -> str:
    """Return a distribution's name as lock files write it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def distribution(name: str) -> str:
    """Return the name that a distribution counts under, whichever build of it is meant."""
    return BUILDS.get(normalized(name), normalized(name))


def read_pins(text: str) -> Pins:
    """Read a lock file of `uv pip compile`, where `# via` says what needs each pin."""
    lines: dict[str, list[str]] = defaultdict(list)
    needs: dict[str, set[str]] = defaultdict(set)
    name = ""
    for line in text.splitlines():
        if pin := _PIN.match(line):
            name = distribution(pin["name"])
            wanted = f"{normalized(pin['name'])}=={pin['version']} {pin['marker'] or ''}"
            lines[name].append(wanted.strip())
        elif via := _VIA.match(line):
            needs[distribution(via["name"])].add(name)
    if lines and not needs:
        fault = "requirements.lock does not say what needs each pin (`# via`)"
        raise ConfigError(f"{fault}; run `make lock`")
    return Pins({name: _versions(pins) for name, pins in lines.items()}, dict(needs), dict(lines))


def _versions(lines: list[str]) -> str:
    """Return the version of a distribution, with its marker, or all that the lock has.

    Builds that agree give one version, so that each system trains by the same digest.
    """
    names, pins = zip(*(line.split("==", 1) for line in lines), strict=True)
    bare = {pin.partition(" ")[0] for pin in pins}
    return ", ".join(sorted(bare if len(set(names)) > 1 and len(bare) == 1 else pins))
