"""Temporary folders of a process that is gone are removed by the next run, and no others."""

import os
import signal
import subprocess
import sys

import pytest
from tests.warm import COLD

from lockstep.engines.scratch import drop_partial, output_folder, scratch_folder

HOLDS = """
import signal, sys
from pathlib import Path
from lockstep.engines.scratch import output_folder, scratch_folder
place = Path(sys.argv[1])
with output_folder(place / "tidy") as tidy, scratch_folder(place, "known") as known:
    for folder in (tidy, known):
        (folder / "rows.parquet").touch()
    print("holds", flush=True)
    signal.pause()
"""


@pytest.fixture
def holder(tmp_path, monkeypatch):
    """Return a process that is at work in an output's folder and a scratch folder."""
    monkeypatch.setenv(*next(iter(COLD.items())))
    command = [sys.executable, "-c", HOLDS, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "holds\n"
            yield process
        finally:
            process.kill()


def made_here(place):
    """Make the same folders here; return what lies beside them meanwhile and afterwards."""
    with output_folder(place / "tidy") as tidy, scratch_folder(place, "known") as known:
        (tidy / "rows.parquet").touch()
        meanwhile = set(place.iterdir()) - {tidy, known}
        assert all(folder.match(".*.part") for folder in (tidy, known))
    return meanwhile, {path.name for path in place.iterdir()}


def test_folders_of_a_killed_process_are_removed_and_those_of_a_living_one_stay(holder, tmp_path):
    own = set(tmp_path.iterdir())
    assert len(own) == 2
    (tmp_path / ".features.0000.part").mkdir()
    others = {*own, tmp_path / ".features.0000.part"}
    assert made_here(tmp_path) == (others, {path.name for path in others} | {"tidy"})
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    left = {tmp_path / "tidy", tmp_path / ".features.0000.part"}
    assert made_here(tmp_path) == (left, {path.name for path in left})


def test_the_folder_of_another_user_stays(tmp_path, monkeypatch):
    others = tmp_path / ".known.0000.part"
    others.mkdir()
    opened = os.open

    def refuse(path, *words, **more):
        if path == others:
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *words, **more)

    monkeypatch.setattr(os, "open", refuse)
    with scratch_folder(tmp_path, "known"):
        pass
    assert list(tmp_path.iterdir()) == [others]


@pytest.mark.parametrize("withheld", [0o002, 0o027])
def test_executors_of_another_user_may_write_as_far_as_the_umask_lets_them(tmp_path, withheld):
    before = os.umask(withheld)
    try:
        with (
            output_folder(tmp_path / "tidy") as tidy,
            scratch_folder(tmp_path, "known") as known,
            scratch_folder(tmp_path, "secret", private=True) as secret,
        ):
            modes = [folder.stat().st_mode & 0o777 for folder in (tidy, known, secret)]
    finally:
        os.umask(before)
    assert modes == [0o777 & ~withheld] * 2 + [0o700]


def test_an_output_holds_no_partial_file_and_is_not_replaced_by_a_broken_one(tmp_path):
    with output_folder(tmp_path / "tidy") as tidy:
        (tidy / "part").mkdir()
        (tidy / "part" / ".rows.parquet.0123.part").touch()
        (tidy / "part" / "rows.parquet").write_text("whole")
    with pytest.raises(ValueError, match="amid"), output_folder(tmp_path / "tidy") as tidy:
        (tidy / "rows.parquet").touch()
        raise ValueError("amid")
    assert [path.name for path in tmp_path.rglob("*")] == ["tidy", "part", "rows.parquet"]
    drop_partial(tmp_path / "nowhere")
