import time

import pytest

from lockstep.errors import ConfigError
from lockstep.serving import api_keys as module
from lockstep.serving.api_keys import ApiKeys, hashed, new_key, read_keys


def test_a_file_holds_hashes_and_the_key_opens(tmp_path):
    key, line = new_key("batch")
    path = tmp_path / "keys"
    path.write_text(f"# ours\n{line}  # since May\n\n")
    assert key not in path.read_text()
    assert read_keys(path) == {hashed(key): "batch"}
    known = ApiKeys(path)
    assert known.name_of(key) == "batch"
    assert known.name_of(key[:-1]) is None
    assert known.name_of("") is None


def test_a_changed_file_is_read_again_and_a_broken_one_keeps_the_keys(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_LOOK_AGAIN", 0.0)
    (old, old_line), (new, new_line) = new_key("old"), new_key("new")
    path = tmp_path / "keys"
    path.write_text(old_line)
    known = ApiKeys(path)
    path.write_text(f"{old_line}\n{new_line}\n")
    assert (known.name_of(old), known.name_of(new)) == ("old", "new")
    path.write_text("nonsense")
    assert known.name_of(new) == "new"
    assert "line 1 is not of the form NAME:SHA256" in known.fault
    path.unlink()
    assert known.name_of(new) == "new"
    assert "is missing" in known.fault
    path.write_text(new_line)
    assert (known.name_of(old), known.name_of(new), known.fault) == (None, "new", "")


def test_the_file_is_not_looked_at_for_every_request(tmp_path):
    key, line = new_key("one")
    path = tmp_path / "keys"
    path.write_text(line)
    known = ApiKeys(path)
    path.write_text(new_key("other")[1])
    assert known.name_of(key) == "one"
    known._looked = time.monotonic() - 1
    assert known.name_of(key) is None


@pytest.mark.parametrize(
    ("text", "message"), [("", "holds no key"), ("a:b", "line 1"), ("# none\n", "holds no key")]
)
def test_a_file_without_keys_is_refused(tmp_path, text, message):
    (tmp_path / "keys").write_text(text)
    with pytest.raises(ConfigError, match=message):
        ApiKeys(tmp_path / "keys")


def test_a_missing_file_says_how_to_make_a_key(tmp_path):
    with pytest.raises(ConfigError, match="--new-key NAME"):
        ApiKeys(tmp_path / "none")
