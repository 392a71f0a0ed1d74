"""Folders of files that can be made again: bounded, whole, and shared by processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep.registry.artifact.disk_cache import read_cached, write_cached

WRITER = """
import sys
from pathlib import Path
from lockstep.registry.artifact.disk_cache import read_cached, write_cached
folder, own = Path(sys.argv[1]), sys.argv[2]
for number in range(300):
    write_cached(folder / f"{own}{number % 7}", own.encode() * 100, 1000)
    for name in "ab":
        found = read_cached(folder / f"{name}{number % 7}")
        assert found in (None, name.encode() * 100), found
"""


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def used(path: Path, second: int) -> None:
    os.utime(path, (second, second))


def test_what_was_used_longest_ago_goes_first(tmp_path: Path) -> None:
    for number, name in enumerate("abc", start=1):
        write_cached(tmp_path / name, b"12345", 15)
        used(tmp_path / name, number)
    assert read_cached(tmp_path / "a") == b"12345"
    write_cached(tmp_path / "d", b"12345", 15)
    assert names(tmp_path) == {"a", "c", "d"}
    assert read_cached(tmp_path / "b") is None


def test_the_file_just_kept_stays_however_large(tmp_path: Path) -> None:
    write_cached(tmp_path / "a", b"1", 10)
    write_cached(tmp_path / "b", b"1" * 11, 10)
    assert names(tmp_path) == {"b"}


@settings(max_examples=40, deadline=None)
@given(sizes=st.lists(st.integers(0, 30), min_size=1, max_size=12), most=st.integers(0, 60))
def test_a_folder_never_grows_beyond_its_bound(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], most: int
) -> None:
    folder = tmp_path_factory.mktemp("bounded")
    for number, size in enumerate(sizes):
        write_cached(folder / str(number), b"x" * size, most)
        total = sum(path.stat().st_size for path in folder.iterdir())
        assert total <= max(most, size)
        assert read_cached(folder / str(number)) == b"x" * size


def test_what_a_crash_left_half_written_goes_after_a_day(tmp_path: Path) -> None:
    old, young = tmp_path / ".a.1.part", tmp_path / ".b.2.part"
    old.write_bytes(b"half")
    young.write_bytes(b"half")
    used(old, 1)
    write_cached(tmp_path / "c", b"1", 0)
    assert names(tmp_path) == {".b.2.part", "c"}


def test_a_place_that_cannot_be_written_keeps_nothing(tmp_path: Path) -> None:
    (tmp_path / "a file").write_bytes(b"")
    write_cached(tmp_path / "a file" / "a", b"1", 10)
    assert read_cached(tmp_path / "a file" / "a") is None


def test_two_processes_share_a_folder(tmp_path: Path) -> None:
    both = [subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), name]) for name in "ab"]
    assert [process.wait(60) for process in both] == [0, 0]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 1000
    assert not [name for name in names(tmp_path) if name.endswith(".part")]
