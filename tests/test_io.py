"""Files that appear whole or not at all."""

import errno
import json
import math
import stat
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.errors import DataError
from lockstep.io import (
    read_json,
    read_parquet,
    rounded,
    sha256_json,
    whole_file,
    whole_folder,
    write_json,
    write_parquet,
)


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"x": 1})
    with pytest.raises(RuntimeError, match="half-way"), whole_file(path) as part:
        part.write_text("half")
        raise RuntimeError("half-way")
    assert json.loads(path.read_text()) == {"x": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_failed_folder_leaves_the_old_one_and_no_litter(tmp_path):
    folder = tmp_path / "raw"
    with whole_folder(folder) as part:
        (part / "one").write_text("1")
    with pytest.raises(RuntimeError, match="half-way"), whole_folder(folder) as part:
        (part / "two").write_text("2")
        raise RuntimeError("half-way")
    assert [p.name for p in folder.iterdir()] == ["one"]
    assert [p.name for p in tmp_path.iterdir()] == ["raw"]


@pytest.mark.parametrize("make", [whole_file, whole_folder])
@pytest.mark.parametrize("moment", ["touch", "mkdir", "chmod", "replace"])
def test_an_interruption_at_any_moment_leaves_old_or_new_and_no_litter(
    tmp_path, monkeypatch, make, moment
):
    path = tmp_path / "output"
    with make(path):
        pass
    done = getattr(Path, moment)

    def interrupted(self, *arguments, **named):
        done(self, *arguments, **named)
        if self.name.startswith(".output"):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, moment, interrupted)
        with suppress(KeyboardInterrupt), make(path):
            pass
    assert [p.name for p in tmp_path.iterdir()] == ["output"]


def test_a_full_disk_names_the_output_and_not_its_hidden_part(tmp_path):
    with pytest.raises(OSError, match="No space") as without, whole_file(tmp_path / "a"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert without.value.filename == str(tmp_path / "a")
    with pytest.raises(OSError, match="No space") as within, whole_folder(tmp_path / "b") as part:
        raise OSError(errno.ENOSPC, "No space left on device", "source", None, str(part / "c"))
    assert (within.value.filename, within.value.filename2) == (str(tmp_path / "b"), None)
    with pytest.raises(OSError, match="gone") as other, whole_file(tmp_path / "a"):
        raise OSError(errno.ENOENT, "gone", "elsewhere")
    assert other.value.filename == "elsewhere"


def test_files_are_as_readable_as_any_other(tmp_path):
    plain = tmp_path / "plain"
    plain.touch()
    write_json(tmp_path / "a.json", {})
    assert stat.S_IMODE((tmp_path / "a.json").stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_rounding_is_idempotent_and_close(value):
    once = rounded(value)
    assert rounded(once) == once
    assert math.isclose(once, value, rel_tol=1e-5, abs_tol=5e-324)


@given(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=5))
def test_the_digest_of_json_ignores_the_order_of_keys(content):
    assert sha256_json(content) == sha256_json(dict(reversed(content.items())))


def test_nan_never_reaches_a_json_file(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert not (tmp_path / "a.json").exists()


def test_missing_and_broken_files_are_named(tmp_path):
    with pytest.raises(DataError, match=r"none\.json is missing; run `dvc repro`"):
        read_json(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(DataError, match=r"bad\.json is no valid JSON"):
        read_json(tmp_path / "bad.json")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 cut off")
    with pytest.raises(DataError, match=r"bad\.parquet is no readable Parquet file"):
        read_parquet(tmp_path / "bad.parquet")


def test_parquet_round_trip_has_the_same_bytes_twice(tmp_path):
    table = pd.DataFrame({"a": [1.5, None], "b": ["x", "y"]})
    write_parquet(tmp_path / "a.parquet", table)
    write_parquet(tmp_path / "b.parquet", table)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    pd.testing.assert_frame_equal(read_parquet(tmp_path / "a.parquet"), table)
