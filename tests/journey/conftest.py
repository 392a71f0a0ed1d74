"""A clone of this project, small sample, trained once: what a user has after the first command."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from filelock import FileLock
from tests import warm

ROOT = Path(__file__).parents[2]
ACCIDENTS = 1500
HOUSING = "california_housing"
CREDIT = "credit_risk"


@dataclass(frozen=True)
class Project:
    """A working copy and how a user's shell runs commands in it."""

    folder: Path
    home: Path
    cold: bool = False
    """Every command is a process of its own, as a user's are."""

    def environment(self, **more: str) -> dict[str, str]:
        path = f"{self.folder / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
        plain = {
            k: v
            for k, v in os.environ.items()
            # Without bytecode each of hundreds of processes would compile this copy's source.
            # A make below another one says which folder it enters.
            if not k.startswith(("MLFLOW_", "DAGSHUB", "LOCKSTEP", "DVC_", "PYTHON", "MAKE"))
        }
        # The environment's editable install points at the tree under test;
        # this copy has its own source.
        return {
            **plain,
            "PATH": path,
            "HOME": str(self.home),
            "PYTHONPATH": str(self.folder / "src"),
            **(warm.COLD if self.cold else {}),
            **more,
        }

    def run(self, command: str, *, code: int = 0, folder: Path | None = None, **env: str) -> str:
        """Run a command as typed; its output (stdout, then stderr) where it ends with ``code``."""
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=folder or self.folder,
            env=self.environment(**env),
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        output = done.stdout + done.stderr
        assert done.returncode == code, f"`{command}` ended with {done.returncode}:\n{output}"
        return output

    def edit(self, name: str, pattern: str, replacement: str) -> None:
        """Change the one place of a file that matches."""
        path = self.folder / name
        text, count = re.subn(pattern, replacement, path.read_text(), flags=re.MULTILINE)
        assert count == 1, f"{pattern!r} stands {count} times in {name}"
        path.write_text(text)

    def copy(self, folder: Path) -> Project:
        """Return an independent copy with all it has: data, cache, registry."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return replace(self, folder=folder)


def clone(folder: Path, home: Path, *, cold: bool = False) -> Project:
    """Copy what git knows or would take into a repository of its own with another branch name."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in listed.stdout.decode().split("\0")[:-1]:
        source, target = ROOT / name, folder / name
        if source.is_symlink() or source.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
    lend_environment(folder)
    home.mkdir(parents=True, exist_ok=True)
    project = Project(folder, home, cold)
    project.run(
        "git config --global user.name Tester && git config --global user.email tester@example.org"
    )
    project.run("git init -q -b trunk && git add -A && git commit -q -m 'fresh clone'")
    return project


def without(params: str, entries: str) -> str:
    """Return a params.yaml without the entries of its sections whose names match."""
    text, count = re.subn(rf"^  (?:{entries}):\n(?:    .*\n)+", "", params, flags=re.MULTILINE)
    assert count, f"params.yaml has no entry {entries}"
    return text


def lend_environment(folder: Path) -> None:
    """Give a clone the environment of the tree under test, and keep make from building it anew."""
    (folder / ".venv").symlink_to(warm.environment())
    for name in (
        "requirements.lock",
        "requirements-dev.lock",
        "pyproject.toml",
        "scripts/make_env.sh",
    ):
        os.utime(folder / name, (0, 0))


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project after `make run-train`, with spaces in its path. Tests are not to change it.

    All processes of a test run share one: the first to need it makes it.
    """
    own = tmp_path_factory.getbasetemp()
    # With xdist each worker's folder lies in the run's own;
    # without it, the parent is that of other runs too.
    base = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "journey"
    base.mkdir(exist_ok=True)
    folder, home, log = base / "my projects" / "lock step", base / "home", base / "run-train.log"
    with FileLock(base / "lock"):
        if not log.exists():
            shutil.rmtree(folder, ignore_errors=True)
            log.write_text(train(clone(folder, home)))
    return Project(folder, home)


def train(project: Project) -> str:
    """Train a small sample of one problem, commit what came of it, and return what was printed."""
    project.edit("params.yaml", r"units: 20000", f"units: {ACCIDENTS}")
    path = project.folder / "params.yaml"
    path.write_text(without(path.read_text(), f"(?:{HOUSING}|{CREDIT}).*"))
    project.run("git commit -qam 'a small sample of one problem'")
    output = project.run("make run-train")
    project.run("git add -A && git commit -q -m 'trained'")
    return output


@pytest.fixture(scope="session")
def run_train_output(trained: Project) -> str:
    """What `make run-train` printed."""
    return (trained.home.parent / "run-train.log").read_text()


@pytest.fixture
def own(trained: Project, tmp_path: Path) -> Project:
    """A copy of the trained project that a test may change."""
    return trained.copy(tmp_path / "own copy")
