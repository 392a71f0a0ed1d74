"""`make run-train` with a preloaded process: the same results, the same Ctrl-C, nothing left."""

import os
import signal

import psutil
import pytest
from tests.journey.faults import left_over, stopped, wait_for
from tests.journey.test_bad_input import MAKE_FAILED, versions
from tests.warm import PREFIX

from lockstep.dvc.lineage import is_current, is_settled
from lockstep.preload.process import is_possible

pytestmark = [
    pytest.mark.skipif(not is_possible(), reason="no process is preloaded on this system"),
]

ON, OFF = {"LOCKSTEP_PRELOAD": "1"}, {"LOCKSTEP_PRELOAD": "0"}
WRITTEN = ("dvc.lock", "metrics/accidents/model_comparison.csv", "metrics/accidents/champion.json")


@pytest.fixture
def own(trained, tmp_path):
    """A trained project with a user's own environment, in which one model is to be trained."""
    project = trained.copy(tmp_path / "a project")
    (project.folder / ".venv").unlink()
    (project.folder / ".venv").symlink_to(PREFIX)
    project.edit("params.yaml", r"(accidents-xgboost:\n(?:.*\n){4,8}?.*max_depth: )\d+", r"\g<1>3")
    return project


def remaining(project):
    """Return the command lines of processes that still work in a project's folder."""
    listed = (process.info for process in psutil.process_iter(["cwd", "cmdline"]))
    return [one["cmdline"] for one in listed if one["cwd"] == str(project.folder.resolve())]


@pytest.mark.long
def test_results_and_messages_are_those_of_processes_of_their_own(own, tmp_path):
    other = own.copy(tmp_path / "another project")
    said, plainly = own.run("make run-train", **ON), other.run("make run-train", **OFF)
    for name in WRITTEN:
        assert (own.folder / name).read_bytes() == (other.folder / name).read_bytes(), name
    new = "Accident_Prediction_XGBoost  version 2  None  new"
    for output in (said, plainly):
        assert output.count(new) == 1
        assert "What to do next" in output
        assert (own.folder / "reports" / "accidents.html").is_file()
    assert [v["version"] for v in versions(own)] == [2, 1]
    assert remaining(own) == []
    # Outputs written after dvc.lock are of a stage that still runs, whatever its model's sum.
    assert is_settled(own.folder, "accidents", "xgboost")
    os.utime(own.folder / "metrics" / "accidents" / "types" / "xgboost" / "plots")
    assert is_current(own.folder, "accidents", "xgboost")
    assert not is_settled(own.folder, "accidents", "xgboost")


@pytest.mark.long
@pytest.mark.parametrize("where", ["while a stage trains", "while the model is registered"])
def test_ctrl_c_leaves_nothing_and_the_next_command_goes_on(own, tmp_path, where):
    log = tmp_path / "terminal.txt"
    trains = lambda: "accidents xgboost  " in log.read_text()  # noqa: E731
    runs = lambda: len(list((own.folder / "mlruns").rglob("metrics.json")))  # noqa: E731
    before = runs()
    ready = trains if where == "while a stage trains" else lambda: runs() > before
    code, output = stopped(own, "make run-train", log, ready, **ON)
    assert code in (MAKE_FAILED, -signal.SIGINT), output
    assert "Traceback" not in output, output
    assert "interrupted" in output
    wait_for(lambda: remaining(own) == [], "a process outlived the signal")
    assert left_over(own.folder) == []
    assert "What to do next" in own.run("make run-train", **ON)
    assert [v["version"] for v in versions(own)] == [2, 1]


@pytest.mark.long
def test_a_stage_that_fails_registers_nothing(own):
    own.edit("params.yaml", r"(accidents-xgboost:\n(?:.*\n){4,8}?.*max_depth: )3", r"\g<1>-3")
    output = own.run("make run-train", code=2, **ON)
    assert "failed to reproduce" in output
    assert [v["version"] for v in versions(own)] == [1]
    assert remaining(own) == []
