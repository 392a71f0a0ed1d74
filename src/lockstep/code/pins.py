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
    "xgboost": "xgboost-cpu",
    "yaml": "pyyaml",
}
"""Import names whose distribution has another name."""
_PIN = re.compile(
    r"(?P<name>[A-Za-z0-9._-]+)(\[[^\]]*\])?==(?P<version>[^\s;\\]+)\s*(?P<marker>;[^\\]*)?"
)
_VIA = re.compile(r"\s+#(?: via)?\s+(?!via$)(?P<name>[A-Za-z0-9._-]+)(\[[^\]]*\])?$")


@dataclass(frozen=True)
class Pins:
    """What a lock file pins: versions by distribution, and what each distribution needs."""

    versions: dict[str, str] = field(default_factory=dict)
    needs: dict[str, set[str]] = field(default_factory=dict)

    def of(self, imported: str, importer: str) -> str:
        """Return the distribution of an import name; one without a pin is a ConfigError."""
        name = DISTRIBUTIONS.get(imported, normalized(imported))
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


def read_pins(text: str) -> Pins:
    """Read a lock file of `uv pip compile`, where `# via` says what needs each pin."""
    versions: dict[str, list[str]] = defaultdict(list)
    needs: dict[str, set[str]] = defaultdict(set)
    name = ""
    for line in text.splitlines():
        if pin := _PIN.match(line):
            name = normalized(pin["name"])
            versions[name].append(f"{pin['version']} {pin['marker'] or ''}".strip())
        elif via := _VIA.match(line):
            needs[normalized(via["name"])].add(name)
    if versions and not needs:
        fault = "requirements.lock does not say what needs each pin (`# via`)"
        raise ConfigError(f"{fault}; run `make lock`")
    return Pins({name: ", ".join(sorted(pins)) for name, pins in versions.items()}, dict(needs))
