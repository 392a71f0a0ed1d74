"""`make env` builds a moved or damaged environment again."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def project_without_packages(folder: Path) -> Path:
    """Return a folder whose `make env` has no package to install."""
    (folder / "scripts").mkdir(parents=True)
    shutil.copyfile(ROOT / "Makefile", folder / "Makefile")
    shutil.copy(ROOT / "scripts" / "make_env.sh", folder / "scripts" / "make_env.sh")
    for name in ("requirements.lock", "requirements-dev.lock", "pyproject.toml"):
        (folder / name).touch()
    return folder


def test_a_python_that_is_too_old_comes_with_the_command_for_another(tmp_path):
    project = project_without_packages(tmp_path / "project")
    old = tmp_path / "python3"
    old.write_text(f'#!/bin/sh\nprintf %s "$PATH" > "{tmp_path}/path"\nexit 1\n')
    old.chmod(0o755)
    done = subprocess.run(
        [project / "scripts" / "make_env.sh", old], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.endswith("or run: make env PYTHON=/path/to/python3\n")
    # An empty folder at the end would be whichever one the command is called in.
    assert (tmp_path / "path").read_text() == os.environ["PATH"].rstrip(":")


@pytest.mark.long
def test_a_damaged_environment_is_not_built_with_its_own_python(tmp_path):
    project = project_without_packages(tmp_path / "project")
    programs = project / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "python3").symlink_to(Path(sys.executable).resolve())

    subprocess.run(["make", "env"], cwd=project, capture_output=True, timeout=300, check=False)

    assert (programs / "python").resolve() == Path(shutil.which("python3")).resolve()
    version = [programs / "python", "-m", "pip", "--version"]
    found = subprocess.run(version, capture_output=True, text=True, timeout=60, check=True)
    assert found.stdout.startswith("pip ")
