"""A real cluster of two workers, and what is lost of it at work."""

import os
import re
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil
import pytest
from tests.engines.cluster import Cluster, wait_for
from tests.engines.conftest import CONF
from tests.registry_workspace import free_port

from lockstep.engines.capacity import check_capacity, check_slots
from lockstep.engines.executors import executors
from lockstep.engines.faults import EngineError, one_line_faults
from lockstep.engines.master import check_reachable, find_master
from lockstep.engines.session import spark_session
from lockstep.errors import ConfigError

pytestmark = pytest.mark.long


def opened(*words, **settings):
    """Open a session that must not open; return what it said."""
    with pytest.raises(ConfigError) as caught, spark_session(*words, **settings):
        pytest.fail("the session opened")
    return str(caught.value)


@pytest.fixture(scope="module")
def session(whole_cluster):
    """One session for the tests that take something away from it, one after the other."""
    with spark_session(whole_cluster.url, slots=2) as spark:
        yield spark


def started_in(folder):
    """Return the processes that started below a folder and still run."""
    found = ((process.pid, process.info["cwd"] or "") for process in psutil.process_iter(["cwd"]))
    return [pid for pid, place in found if place.startswith(str(folder))]


def test_a_cluster_whose_start_fails_ends_what_it_started(tmp_path, monkeypatch):
    def fail(cluster):
        assert len(started_in(tmp_path)) >= 2, "a master and a worker"
        raise AssertionError("the worker is not registered")

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(Cluster, "wait_for_workers", fail)
    with pytest.raises(AssertionError, match="the worker is not registered"):
        Cluster(workers=1)
    # Spark's shell script starts Java twice; its first one ends by itself.
    wait_for(lambda: not started_in(tmp_path), "the end of all processes", 30)
    assert not [*tmp_path.iterdir()]


def run_while(spark, folder, event, *, barrier=False):
    """Let two tasks run, do something to the cluster, let them end; return their results."""
    started, released = str(folder / "started"), str(folder / "released")

    def task(numbers):
        for number in numbers:
            Path(f"{started} {os.getpid()}").touch()
            while not Path(released).exists():
                time.sleep(0.05)
            yield number * 10

    def act():
        wait_for(lambda: len(list(folder.glob("started*"))) >= 2, "the tasks")
        event()
        (folder / "released").touch()

    thread = threading.Thread(target=act)
    thread.start()
    try:
        numbers = spark.sparkContext.parallelize([1, 2], 2)
        tasks = numbers.barrier() if barrier else numbers
        with one_line_faults():
            return tasks.mapPartitions(task).collect()
    finally:
        thread.join()


def kill_executor(folder):
    """Kill the executor of one of the tasks: the parent of the parent of its Python."""
    task = next(folder.glob("started*")).name.split()[1]
    psutil.Process(int(task)).parents()[1].kill()


# ---- before tasks run ---------------------------------------------------------------------------


def test_more_slots_or_memory_than_there_are(cluster, monkeypatch):
    assert "3 tasks must run at once, and the 2 workers of" in opened(cluster.url, slots=3)
    monkeypatch.setenv("LOCKSTEP_SPARK_CONF", f"{CONF} spark.executor.memory=2g")
    assert "asks for 2g of memory, and the largest worker of" in opened(cluster.url)


def test_one_of_several_masters_is_enough(cluster):
    place = cluster.url.removeprefix("spark://")
    check_reachable(find_master(f"spark://127.0.0.1:{free_port()},{place}"))


@pytest.mark.parametrize("page", ["http://127.0.0.1:9", "{master}/no"])
def test_without_the_masters_page_nothing_is_counted(cluster, monkeypatch, page):
    monkeypatch.setenv("LOCKSTEP_SPARK_MASTER_PAGE", page.format(master=cluster.page))
    assert check_capacity(find_master(cluster.url), 3, "2g") is False


def test_another_masters_page_does_not_count(cluster):
    assert check_capacity(find_master("spark://127.0.0.1:9"), 3, "2g") is False


def test_executors_with_other_versions_or_without_a_package(cluster, tmp_path, monkeypatch):
    """A Python that sees one package, in an old version, and no lockstep."""
    folder = tmp_path / "numpy-1.26.4.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 1.26.4\n")
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    bare.chmod(0o755)
    monkeypatch.setenv("PYSPARK_PYTHON", str(bare))
    monkeypatch.setenv("LOCKSTEP_SPARK_CONF", f"{CONF} spark.executorEnv.PYTHONPATH={tmp_path}")
    told = opened(cluster.url, slots=2)
    assert re.match(
        r"the executor at 127\.0\.0\.1:\d+ has no lockstep \(driver: code \w{8}\), numpy 1\.26\.4 "
        r"\(driver: 2\.\S+\), no pandas \(driver: 3\..*, no lightgbm .*; 2 of 2 "
        r"executors differ: install the driver's versions there",
        told,
    ), told


# ---- while tasks run: each test waits for two executors, as lost ones are replaced ---------------


def two_executors(spark):
    wait_for(lambda: len(executors(spark)) == 2, "the registration of two executors")


def test_without_the_masters_page_slots_are_waited_for(session, monkeypatch):
    monkeypatch.setenv("LOCKSTEP_SPARK_WAIT", "1")
    with pytest.raises(ConfigError, match=r"gave cores for 2: .* than 1 seconds by LOCKSTEP_SPARK"):
        check_slots(session, 3)
    monkeypatch.setenv("LOCKSTEP_SPARK_WAIT", "long")
    with pytest.raises(ConfigError, match="LOCKSTEP_SPARK_WAIT is 'long'; write whole seconds"):
        check_slots(session, 3)


def test_an_executor_is_killed_while_tasks_run(cluster, session, tmp_path):
    two_executors(session)
    assert run_while(session, tmp_path, lambda: kill_executor(tmp_path)) == [10, 20]


def test_an_executor_is_killed_while_barrier_tasks_run(cluster, session, tmp_path):
    two_executors(session)
    with pytest.raises(EngineError, match=r"^executor \d was lost while tasks ran; run the comm"):
        run_while(session, tmp_path, lambda: kill_executor(tmp_path), barrier=True)
    two_executors(session)
    assert run_while(session, tmp_path, lambda: None, barrier=True) == [10, 20]


def test_a_worker_is_lost_while_barrier_tasks_run(cluster, session, tmp_path):
    two_executors(session)
    with pytest.raises(EngineError, match=r"^executor \d was lost while tasks ran; run the comm"):
        run_while(session, tmp_path, cluster.stop_worker, barrier=True)
    cluster.wait_for_workers()
    with pytest.raises(ConfigError, match="2 tasks must run at once, and the 1 workers of"):
        check_capacity(find_master(cluster.url), 2, "1g")


def test_the_master_is_lost_while_tasks_run(cluster, session, tmp_path):
    """The fixture has started another worker, where the session gets an executor."""
    two_executors(session)
    assert run_while(session, tmp_path, cluster.stop_master, barrier=True) == [10, 20]
    with pytest.raises(ConfigError, match="can't be reached"):
        check_reachable(find_master(cluster.url))
