"""A state of the project, read from its folder or from a commit."""

import subprocess
from pathlib import Path

import pytest

from lockstep.dvc.revision import Revision
from lockstep.errors import ConfigError


def test_a_file_that_is_not_utf_8_is_named_in_a_folder_and_in_a_commit(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_bytes("title: Gerät\n".encode("latin-1"))
    identity = ("-c", "user.name=a", "-c", "user.email=a@b")
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run(["git", *identity, *words], cwd=tmp_path, check=True)
    for revision in (Revision(tmp_path, "this folder"), Revision(tmp_path, "trunk", "HEAD")):
        with pytest.raises(ConfigError, match=r"params\.yaml.* is not UTF-8 \(byte 0xe4 at 10\)"):
            revision.text("params.yaml")
    assert Revision(tmp_path, "trunk", "HEAD").text("dvc.lock") == ""
