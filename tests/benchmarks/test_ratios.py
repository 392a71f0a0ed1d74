"""The short form of the benchmarks fails if a ratio is a third worse, and only then."""

import json
import sys
from pathlib import Path

import pytest
from benchmarks.ratios import EXPECTED, RATIOS, check, of_commands, worse

ROOT = Path(__file__).parents[2]
BURN = "n = 0\nfor i in range({}): n += i * i"
LOOPS = 4_000_000


def measures(*values):
    """Return one ratio whose measurements give these values, one after the other."""
    left = list(values)
    return {"cold": lambda root, turns: left.pop(0)}


def test_a_ratio_that_is_a_third_worse_fails(tmp_path, capsys):
    assert check(measures(2.7, 2.7), {"cold": 2.0}, tmp_path, 1) == 1
    assert "cold" in capsys.readouterr().err


def test_a_ratio_that_is_a_little_worse_passes(tmp_path):
    assert check(measures(2.6), {"cold": 2.0}, tmp_path, 1) == 0


def test_what_is_worse_once_is_measured_again(tmp_path):
    assert check(measures(2.9, 2.1), {"cold": 2.0}, tmp_path, 1) == 0


def test_other_names_than_expected_are_refused(tmp_path):
    with pytest.raises(SystemExit, match="--renew"):
        check(measures(1.0), {"warm": 1.0}, tmp_path, 1)


def test_more_work_in_a_real_command_is_found(tmp_path):
    same, more = ((sys.executable, "-c", BURN.format(int(LOOPS * n))) for n in (1, 3))
    expected = of_commands(same, same)(tmp_path, 3)
    assert worse({"burn": of_commands(more, same)(tmp_path, 3)}, {"burn": expected}) == ["burn"]


def test_the_committed_figures_are_those_that_ci_measures():
    expected = json.loads(EXPECTED.read_text(encoding="utf-8"))
    assert expected.keys() == RATIOS.keys()
    assert all(value > 0 for value in expected.values())
    assert "benchmarks/ratios.py" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
