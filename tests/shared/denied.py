"""A folder that may not be listed, also where the tests run as root."""

import errno
import os
from pathlib import Path

import pytest


def deny(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Refuse the listing of every folder of this name."""
    scandir = os.scandir

    def denied(path: int | str | os.PathLike[str]) -> object:
        if not isinstance(path, int) and Path(path).name == name:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", denied)
