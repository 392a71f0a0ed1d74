"""The addresses of the files that the pages of the API load, also where their packages lack."""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from pathlib import Path

PLACE = "/docs/files/"


def address_of(file: Path) -> str:
    """Return the address of a file; it changes with the content, so that no cache is outdated."""
    return f"{PLACE}{file.name}?{sha256(content_of(file)).hexdigest()[:12]}"


@cache
def content_of(file: Path) -> bytes:
    """Return what a file holds; it is read once."""
    return file.read_bytes()
