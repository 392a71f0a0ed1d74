"""Moves killed half-way and of many processes at once, in short; `make stress` is the long form."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]


def stressed(what: str, database: Path, folder: Path, *options: str) -> str:
    """Run the stress script on its own store, in a process that opened none before it forks."""
    store = folder / "mlflow.db"
    shutil.copyfile(database, store)
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "tests.registry.stress",
        what,
        f"sqlite:///{store}",
        *options,
    ]
    done = subprocess.run(
        command, cwd=PROJECT, capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_moves_killed_at_random_points_are_mended_whole(empty_database, tmp_path):
    assert "trials=10" in stressed("kill", empty_database, tmp_path, "--trials", "10")


@pytest.mark.long
def test_many_processes_lose_no_move(empty_database, tmp_path):
    assert "'moves': 32" in stressed("crowd", empty_database, tmp_path, "--moves", "32")


def test_a_model_of_many_versions_is_listed(empty_database, tmp_path):
    told = stressed("many", empty_database, tmp_path, "--versions", "300")
    assert all(name in told for name in ("list-versions", "get-model", "history"))
