"""`make test-again` runs few failed tests once more, and refuses where many failed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.again import MOST, main

ROOT = Path(__file__).parents[1]


@pytest.fixture
def failed(tmp_path):
    def write(*names):
        file = tmp_path / "lastfailed"
        file.write_text(json.dumps(dict.fromkeys(names, True)))
        return file

    return write


@pytest.mark.parametrize("many", [0, MOST + 1])
def test_none_or_many_are_refused(failed, capsys, many):
    assert main(failed(*(f"test_{n}" for n in range(many)))) == 1
    assert f"{many} tests failed" in capsys.readouterr().out


def test_without_a_record_it_is_refused(tmp_path):
    assert main(tmp_path / "none") == 1


@pytest.mark.parametrize("passes", [True, False])
def test_few_are_run_again_and_those_alone(failed, tmp_path, passes):
    file = tmp_path / "test_some.py"
    file.write_text(
        f"def test_one():\n    assert {passes}\n\ndef test_other():\n    assert False\n"
    )
    record = failed(f"{file}::test_one")
    code = f"import pathlib, sys, tests.again as a; sys.exit(a.main(pathlib.Path({str(record)!r})))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == (0 if passes else 1), done.stdout + done.stderr
    assert f"{file}::test_one" in done.stdout
    assert ("1 passed" if passes else "1 failed") in done.stdout
