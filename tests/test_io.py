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

from lockstep.errors import ConfigError, DataError
from lockstep.io import (
    parse_yaml,
    read_json,
    read_parquet,
    read_utf8,
    rounded,
    sha256_json,
    whole_file,
    whole_folder,
    write_json,
    write_parquet,
    yaml_text,
)

ROOT = Path(__file__).parents[1]


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


@pytest.mark.parametrize(
    "text", ["1e-05", "1e3", "-1E+3", "1.5e3", "1.e-2", "1_0e2", "0.5", "-3", "1.5e+3", "-.5"]
)
def test_a_number_is_the_one_that_dvc_reads(text):
    from ruamel.yaml import YAML

    of_dvc = YAML(typ="safe").load(f"a: {text}")["a"]
    found = parse_yaml(f"a: {text}", "a file")["a"]
    assert (found, type(found)) == (of_dvc, type(of_dvc))


@pytest.mark.parametrize(
    "text", ["'1e-05'", '"1e3"', "e5", "1e", "1e5x", "2025-12", "1e-", "3e4e5", ".e5", "v1e5"]
)
def test_what_is_quoted_or_no_number_stays_a_text(text):
    assert parse_yaml(f"a: {text}", "a file") == {"a": text.strip("'\"")}


@given(
    st.dictionaries(
        st.text("1e-5. ab", max_size=6),
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text("1e+-.5"),
    )
)
def test_what_is_written_as_yaml_is_read_the_same_by_us_and_by_dvc(content):
    from ruamel.yaml import YAML

    text = yaml_text(content)
    assert parse_yaml(text, "a file") == content
    assert YAML(typ="safe").load(text) == content


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\nb: 2\na: 3\n", 3),
        ("top:\n  a: 1\n  'a': 2\n", 3),
        ("- {b: 1}\n- {a: 1, a: 2}\n", 2),
        ("1: x\n1: y\n", 2),
        ("x: &all {a: {b: 1, b: 2}}\ny: *all\n", 1),
    ],
)
def test_a_key_that_is_there_twice_is_told_with_its_line(text, line):
    with pytest.raises(ConfigError, match=rf"found duplicate key .* line {line},") as caught:
        parse_yaml(text, "schema.yaml")
    assert str(caught.value).startswith("schema.yaml is no valid YAML: ")
    assert "\n" not in str(caught.value)


def test_keys_that_are_merged_may_be_overridden_and_merged_again():
    text = """
        base: &base {x: 1, y: 1}
        deep: {more: &more {<<: *base, x: 2}}
        first: {<<: *more, y: 3}
        last: {<<: [*base, *more], z: 4}
        again: {<<: *base, <<: *more}
        same: *more
    """
    found = parse_yaml(text, "a file")
    assert found["first"] == {"x": 2, "y": 3}
    assert found["last"] == {"x": 1, "y": 1, "z": 4}
    assert found["same"] == found["deep"]["more"] == {"x": 2, "y": 1}


def test_every_yaml_file_of_the_project_reads_as_before():
    import subprocess

    import yaml

    listed = subprocess.run(
        ["git", "ls-files", "*.yaml", "*.yml", "*.cff", "dvc.lock"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    names = [name for name in listed.stdout.split() if name != "mkdocs.yml"]  # it has tags
    assert "src/config/model_config.yaml" in names
    for name in names:
        text = read_utf8(ROOT / name)
        assert parse_yaml(text, name) == yaml.safe_load(text), name


def test_a_date_that_is_none_is_one_line():
    with pytest.raises(ConfigError, match=r"^a file is no valid YAML: month must be in 1\.\.12"):
        parse_yaml("a: 2025-13-01", "a file")


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_a_text_in_another_encoding_is_named(tmp_path, encoding):
    (tmp_path / "schema.yaml").write_bytes("title: Gerät\r\n".encode(encoding))
    with pytest.raises(ConfigError, match=r"schema\.yaml is not UTF-8 \(byte 0x.*; save it as"):
        read_utf8(tmp_path / "schema.yaml")
    (tmp_path / "schema.yaml").write_bytes("title: Gerät\r\n".encode())
    assert read_utf8(tmp_path / "schema.yaml") == "title: Gerät\n"
