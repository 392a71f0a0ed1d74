"""The packages that are installed here, beside those that a lock file pins."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from lockstep.code.pins import read_pins


def installed_version(name: str) -> str | None:
    """Return the version of a distribution that is installed here; None if it is not."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def differing(lock: Path) -> list[str]:
    """Return what is installed here in another version than a lock file's, or is missing."""
    pins = read_pins(lock.read_text(encoding="utf-8"))
    return [fault for lines in pins.lines.values() if (fault := _fault(lines))]


def _fault(lines: list[str]) -> str:
    """Return what is installed in place of a distribution's pins; empty if one of them is.

    Pins with a marker may all be of other systems.
    """
    pins = [line.partition(" ")[0].split("==") for line in lines]
    found = {name: installed_version(name) for name, _ in pins}
    is_optional = all(";" in line for line in lines) and not any(found.values())
    if is_optional or any(found[name] == pinned for name, pinned in pins):
        return ""
    name, pinned = pins[0]
    has = found[name]
    return f"{name} {has} in place of {pinned}" if has else f"{name} {pinned} is missing"
