"""Train a problem in a clone of the last commit, then rebuild each version from another clone.

    python scripts/check_reproduce_types.py [PROBLEM]

A clone has what git holds only: no cache, no data, no settings of the user. The exit code is 1 if a
version is not bit-identical.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LOCKED = ("requirements.lock", "requirements-dev.lock", "pyproject.toml", "scripts/make_env.sh")
MANAGE = (sys.executable, "-W", "ignore", "scripts/manage_model_registry.py")
IDENTICAL = "bit-identical"


def clone(source: Path, folder: Path) -> Path:
    """Clone a repository and give it this project's environment, which `make` takes for its own."""
    subprocess.run(["git", "clone", "-q", str(source), str(folder)], check=True)
    (folder / ".venv").symlink_to(ROOT / ".venv")
    for name in LOCKED:
        os.utime(folder / name, (0, 0))
    return folder


def asked(folder: Path, *command: str, uri: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command in a clone; its variables name programs and the clone's own code only."""
    own = {
        "HOME": str(folder.parent),
        "PATH": f"{ROOT / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(folder / "src"),
        "TMPDIR": str(folder.parent),
        **({"MLFLOW_TRACKING_URI": uri} if uri else {}),
    }
    return subprocess.run(command, cwd=folder, env=own, capture_output=True, text=True, check=False)


def trained(folder: Path, problem: str) -> list[dict[str, Any]]:
    """Train a problem as a user does, without a cache; return every version of each model."""
    done = asked(folder, "make", "run-train", f"PROBLEM={problem}")
    if done.returncode:
        sys.exit(
            f"{done.stdout}{done.stderr}✗ `make run-train` ended with exit code {done.returncode}"
        )
    shutil.rmtree(folder / ".dvc" / "cache")
    listed = asked(folder, *MANAGE, "list-models", "--json")
    names = [model["name"] for model in json.loads(listed.stdout)]
    return [version for name in names for version in versions_of(folder, name)]


def versions_of(folder: Path, name: str) -> list[dict[str, Any]]:
    """Return the versions of a model: a fresh clone has one of each type."""
    done = asked(folder, *MANAGE, "list-versions", "--model-name", name, "--json")
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def reproduced(work: Path, version: dict[str, Any]) -> tuple[str, float]:
    """Rebuild a version from a clone of its own; return the verdict or the error, and seconds."""
    folder = clone(work / "trained", work / f"{version['name']}-{version['version']}")
    which = ("--model-name", version["name"], "--version", str(version["version"]))
    started = time.monotonic()
    done = asked(
        folder, *MANAGE, "reproduce", *which, "--json", uri=f"sqlite:///{work}/trained/mlflow.db"
    )
    seconds = time.monotonic() - started
    if (folder / ".dvc" / "cache").exists():
        sys.exit(
            f"✗ {folder.name}: the clone got a cache, so the next would not be made from nothing"
        )
    if done.stdout.startswith("{"):
        return str(json.loads(done.stdout)["verdict"]), seconds
    return next(
        (line for line in done.stderr.splitlines() if line.startswith("✗")), "no answer"
    ), seconds


def main() -> int:
    """Print a line a version as it comes; return the exit code."""
    problem = sys.argv[1] if len(sys.argv) > 1 else "accidents"
    with tempfile.TemporaryDirectory(prefix="lockstep-types-") as made:
        work = Path(made).resolve()
        started = time.monotonic()
        versions = trained(clone(ROOT, work / "trained"), problem)
        print(
            f"{problem}: {len(versions)} versions trained in {time.monotonic() - started:.0f} s",
            flush=True,
        )
        verdicts = []
        for version in versions:
            verdict, seconds = reproduced(work, version)
            verdicts.append(verdict)
            title = f"{version['name']} version {version['version']}"
            print(f"  {title:54} {verdict:16} {seconds:4.0f} s", flush=True)
    other = sum(verdict != IDENTICAL for verdict in verdicts)
    print(
        f"✗ {other} of {len(verdicts)} came out otherwise"
        if other or not verdicts
        else "✓ all bit-identical"
    )
    return int(bool(other) or not verdicts)


if __name__ == "__main__":
    sys.exit(main())
