"""Real DVC, after an interruption has cut its list of locks off."""

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path
from threading import Thread

import pytest

from lockstep.dvc import command
from lockstep.dvc.command import repair_locks, run_dvc, show_dvc
from lockstep.errors import ConfigError


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "dvc.yaml").write_text(
        "stages: {make: {cmd: echo made > out.txt, outs: [out.txt]}}\n"
    )
    subprocess.run(
        [sys.executable, "-m", "dvc", "init", "--no-scm", "-q"], cwd=tmp_path, check=True
    )
    return tmp_path


@pytest.mark.parametrize("left", ["", '{"read": {"'])
def test_a_list_of_locks_that_was_cut_off_stops_nobody(project: Path, left: str, capfd) -> None:
    listed = project / ".dvc" / "tmp" / "rwlock"
    listed.write_text(left)
    refused = subprocess.run(
        [sys.executable, "-m", "dvc", "repro"],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "rwlock" in refused.stderr  # DVC by itself never gets over it
    assert show_dvc(project, "repro") == 0
    assert (project / "out.txt").read_text() == "made\n"
    listed.write_text(left)
    run_dvc(project, "repro", "-f")


def test_the_locks_of_a_project_in_a_subfolder_lie_above_it(tmp_path: Path) -> None:
    listed = tmp_path / ".dvc" / "tmp" / "rwlock"
    listed.parent.mkdir(parents=True)
    listed.write_text("")
    (tmp_path / "sub").mkdir()
    repair_locks(tmp_path / "sub")
    assert not listed.exists()


@pytest.mark.parametrize("place", [".", ".dvc", ".dvc/tmp"])
def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path, monkeypatch, place) -> None:
    """A mount that is read-only also for root, for whom a folder's mode means nothing."""
    (tmp_path / ".dvc" / "tmp").mkdir(parents=True)
    allowed = os.access
    locked = tmp_path / place
    monkeypatch.setattr(os, "access", lambda path, mode: path != locked and allowed(path, mode))
    with pytest.raises(ConfigError, match="can't be written by this user") as caught:
        show_dvc(tmp_path, "repro")
    assert str(locked) in str(caught.value)


def test_a_list_that_can_be_read_is_left_alone(tmp_path: Path) -> None:
    listed = tmp_path / ".dvc" / "tmp" / "rwlock"
    repair_locks(tmp_path)
    assert not listed.parent.exists()
    listed.parent.mkdir(parents=True)
    listed.write_text('{"write": {"out.txt": {"pid": 1, "cmd": "dvc repro"}}}')
    repair_locks(tmp_path)
    assert json.loads(listed.read_text())["write"]["out.txt"]["pid"] == 1


def test_a_list_that_is_just_being_written_is_waited_for(tmp_path: Path) -> None:
    listed = tmp_path / ".dvc" / "tmp" / "rwlock"
    listed.parent.mkdir(parents=True)
    listed.write_text("")
    with listed.with_name("rwlock.lock").open("a") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        mending = Thread(target=repair_locks, args=[tmp_path])
        mending.start()
        mending.join(0.1)
        assert mending.is_alive()
        listed.write_text("{}")
    mending.join(5)
    assert listed.read_text() == "{}"


def test_a_user_without_a_name_runs_dvc_under_its_number(project: Path, monkeypatch) -> None:
    """As in a container that is started with --user 12345."""
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)

    def nameless(*_: object) -> None:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr(command, "getuser", nameless)
    assert command._environment()["USER"] == f"uid-{os.getuid()}"
    monkeypatch.setenv("USER", "ann")
    assert command._environment()["USER"] == "ann"


def test_a_stage_finds_this_interpreter_although_nobody_activated_it(
    project: Path, monkeypatch, tmp_path_factory
) -> None:
    other = tmp_path_factory.mktemp("other") / "python"
    other.write_text("#!/bin/sh\nexit 3\n")
    other.chmod(0o755)
    monkeypatch.setenv("PATH", f"{other.parent}{os.pathsep}{os.environ['PATH']}")
    (project / "dvc.yaml").write_text(
        "stages: {make: {cmd: python -c 1 && echo made > out.txt, outs: [out.txt]}}\n"
    )
    assert show_dvc(project, "repro") == 0
    assert (project / "out.txt").is_file()


def test_a_user_without_a_home_folder_is_told_before_dvc_starts(project: Path, monkeypatch) -> None:
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    with pytest.raises(ConfigError, match="set HOME to a folder"):
        show_dvc(project, "repro")
    assert not (project / "out.txt").exists()
