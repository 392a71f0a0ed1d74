"""What tests of commands that call DVC share."""

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def project(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the module's own ``template`` repository.

    Its folder has a space in its name and is the current one.
    """
    root = tmp_path / "my project"
    shutil.copytree(template, root)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(root)
    return root
