"""What is lost amid `prepare_spark`: no half-written folder is taken for whole."""

import os
import re
import signal
import threading
import time
from pathlib import Path

import pytest
from tests.engines.cluster import wait_for
from tests.engines.workspace import KILLED, PROBLEM, Workspace, workspace
from tests.journey.faults import mounted

from lockstep.engines import prepare_spark, preparing
from lockstep.engines.faults import EngineError
from lockstep.engines.session import spark_session

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def attempts(tmp_path_factory) -> tuple[Workspace, str, list[str]]:
    """Return a workspace prepared on two cores, after a disk was full; what was said and left."""
    made = workspace(tmp_path_factory.mktemp("whole"))
    with spark_session("local[2]"):
        with (
            mounted(made.layout.data, "size=24k"),
            pytest.raises(EngineError) as caught,
        ):
            try:
                prepare_spark.run(made.root, PROBLEM)
            finally:
                left = [*made.files(), *made.hidden()]
        prepare_spark.run(made.root, PROBLEM)
    return made, str(caught.value), left


@pytest.fixture
def whole(attempts) -> Workspace:
    """Return a workspace that was prepared without a fault."""
    return attempts[0]


@pytest.fixture
def own(tmp_path):
    """Return a workspace that nothing was prepared in."""
    return workspace(tmp_path / "my workspace")


def held(original, notes, what):
    """Let tasks leave a partial file and wait for their release, before they do their work."""

    def work(*words):
        (into,) = (word for word in words if isinstance(word, Path) and word.suffix == ".part")
        partial = into / f".rows-{os.getpid()}.parquet.held.part"
        partial.write_bytes(b"PAR1 and nothing more")
        Path(f"{notes}/{what} {os.getpid()}").touch()
        while not Path(f"{notes}/released {what}").exists():
            time.sleep(0.05)
        partial.unlink()
        return original(*words)

    return work


@pytest.mark.soak
def test_a_worker_and_then_the_master_are_lost(whole, own, cluster, tmp_path, monkeypatch):
    """The tasks of the lost worker run again elsewhere; the partial files they left are no rows."""
    expected = whole.files()
    for name in ("_write_piece", "_write_chunk"):
        monkeypatch.setattr(preparing, name, held(getattr(preparing, name), tmp_path, name))
    lost = []

    def lose(what, tasks, event):
        wait_for(lambda: len(list(tmp_path.glob(f"{what} *"))) >= tasks, f"tasks of {what}")
        event()
        lost.append(len(list(own.layout.data.glob(".*/.*.part"))))
        (tmp_path / f"released {what}").touch()

    def act():
        lose("_write_piece", 2, cluster.stop_worker)
        lose("_write_chunk", 1, cluster.stop_master)

    thread = threading.Thread(target=act)
    thread.start()
    monkeypatch.setenv("LOCKSTEP_SPARK_MASTER", cluster.url)
    try:
        prepare_spark.run(own.root, PROBLEM)
    finally:
        thread.join()
    assert lost[0] == 2, "no task was lost amid its work"
    assert own.files() == expected
    assert own.hidden() == []


def stopped_amid_its_tasks(own, number):
    """Start the stage, and send it a signal when a task writes; return how it ended."""
    running = own.start("prepare_spark", LOCKSTEP_SPARK_MASTER="local[2]")
    writes = lambda: [*own.layout.data.glob(".tidy.*.part/*")]  # noqa: E731
    ended = own.stopped(running, writes, number, java=False)
    assert not own.layout.tidy.exists()
    assert not own.layout.features.exists()
    return ended


def test_ctrl_c_leaves_nothing(own):
    code, said = stopped_amid_its_tasks(own, signal.SIGINT)
    assert (code, said[:41]) == (1, "✗ interrupted; nothing half-written was k"), said
    assert (own.files(), own.hidden()) == ({}, [])


@pytest.mark.soak
def test_what_a_kill_leaves_is_removed_by_the_next_run(whole, own):
    assert stopped_amid_its_tasks(own, signal.SIGKILL) == (KILLED, "")
    assert own.hidden()
    prepare_spark.run(own.root, PROBLEM)
    assert own.files() == whole.files()
    assert own.hidden() == []


def test_the_disk_is_full(attempts):
    _, said, left = attempts
    assert re.match(r"the disk is full: .*/data/accidents/spark/.*; free some space there$", said)
    assert left == []
