"""`make check-reproducible` says what it rebuilt under, and fails where it rebuilt nothing."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(
    not (sys.platform == "linux" and os.uname().machine == "x86_64"),
    reason="the script runs on Linux x86-64 alone",
)


def program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.fixture
def check(tmp_path):
    """Return what runs the script in a small repository, whose DVC notes what it was told."""
    project, noted = tmp_path / "a-project", tmp_path / "noted"
    (project / "scripts").mkdir(parents=True)
    shutil.copy(ROOT / "scripts" / "check_reproducible.sh", project / "scripts")
    (project / "metrics").mkdir()
    (project / "metrics" / "a.json").write_text("{}")
    (project / "dvc.lock").touch()
    (project / ".gitignore").write_text(".venv\n")
    identity = ("-c", "user.name=a", "-c", "user.email=a@b")
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run(["git", *identity, *words], cwd=project, check=True)
    variables = "$OPENBLAS_CORETYPE $LANG $TZ $OMP_NUM_THREADS"
    program(project / ".venv" / "bin" / "dvc", f'echo "{variables}" >> "{noted}"')
    program(tmp_path / "bin" / "grep", "exit 1")  # a processor without AVX-512

    def run(*kernels: str) -> tuple[int, str, list[list[str]]]:
        done = subprocess.run(
            [project / "scripts" / "check_reproducible.sh", *kernels],
            env={**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        lines = noted.read_text().splitlines() if noted.exists() else []
        return done.returncode, done.stdout + done.stderr, [line.split() for line in lines]

    return run


def test_each_kernel_has_another_language_time_zone_and_number_of_threads(check):
    code, said, noted = check("Haswell", "Zen")
    assert code == 0
    assert said.splitlines()[-1].endswith("byte for byte under: Haswell Zen")
    (_, *first), (_, *second) = noted
    assert not set(first) & set(second)


def test_a_kernel_that_was_left_out_is_not_said_to_have_run(check):
    code, said, noted = check("Haswell", "SkylakeX")
    assert code == 0
    assert said.splitlines()[-1].endswith("byte for byte under: Haswell")
    assert [line[0] for line in noted] == ["Haswell"]


def test_where_no_kernel_runs_nothing_is_reproduced(check):
    code, said, noted = check("SkylakeX")
    assert (code, noted) == (1, [])
    assert "✗ none of these kernels runs on this processor: SkylakeX" in said
