"""API keys: a file holds their hashes. It is read again when it changes, so keys rotate at once."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import time
from pathlib import Path

from lockstep.errors import ConfigError

_LINE = re.compile(r"(?P<name>[\w.-]{1,64}):(?P<digest>[0-9a-f]{64})")
_LOOK_AGAIN = 0.5
"""Seconds between two looks at the file: a withdrawn key works at most that long."""


def new_key(name: str) -> tuple[str, str]:
    """Return a new key and its line for the file. 256 random bits need no slow hash."""
    key = f"lk_{secrets.token_urlsafe(32)}"
    line = f"{name}:{hashed(key)}"
    if not _LINE.fullmatch(line):
        fix = "use up to 64 letters, digits, '.', '_' and '-'"
        raise ConfigError(f"'{name}' is no key name; {fix}")
    return key, line


def hashed(key: str) -> str:
    """Return the SHA-256 of a key, in hexadecimal."""
    return hashlib.sha256(key.encode()).hexdigest()


def read_keys(path: Path) -> dict[str, str]:
    """Return names by hash; ConfigError for a missing, empty or malformed file."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        fix = "`python -m lockstep.serving --new-key NAME` makes a key"
        raise ConfigError(f"API_KEYS_FILE {path} is missing; {fix}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"API_KEYS_FILE {path} cannot be read: {error}") from error
    found: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        match = _LINE.fullmatch(text)
        if match is None:
            raise ConfigError(f"API_KEYS_FILE {path}, line {number} is not of the form NAME:SHA256")
        found[match["digest"]] = match["name"]
    if not found:
        raise ConfigError(f"API_KEYS_FILE {path} holds no key; every request would be refused")
    return found


class ApiKeys:
    """The keys of a file; an unreadable change keeps the previous keys and sets ``fault``."""

    def __init__(self, path: Path) -> None:
        self.path, self.fault = path, ""
        self._stamp = self._current_stamp()
        self._known = read_keys(path)
        self._looked = time.monotonic()

    def name_of(self, key: str) -> str | None:
        """Return the name of a key, None if it is unknown. Looking up hashes leaks no timing."""
        if time.monotonic() - self._looked > _LOOK_AGAIN:
            self._look()
        return self._known.get(hashed(key))

    def _look(self) -> None:
        self._looked = time.monotonic()
        previous, self._stamp = self._stamp, self._current_stamp()
        if self._stamp == previous:
            return
        try:
            self._known, self.fault = read_keys(self.path), ""
        except ConfigError as error:
            self.fault = f"{error}; the previous keys stay valid"

    def _current_stamp(self) -> tuple[int, int, int]:
        try:
            stat = os.stat(self.path)
        except OSError:
            return (0, 0, 0)
        return stat.st_mtime_ns, stat.st_size, stat.st_ino
