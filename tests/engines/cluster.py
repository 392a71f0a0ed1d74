"""A real standalone cluster on loopback: a master and workers of one core and one gigabyte each."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pyspark
import requests
from tests.engines.conftest import QUICK_JAVA
from tests.registry_workspace import free_port

HOME = Path(pyspark.__file__).parent
SECONDS = 120
"""How long a busy machine may take for what an idle one does in five seconds."""


def wait_for(condition: Callable[[], Any], what: str, seconds: float = SECONDS) -> Any:
    """Return what a condition gives as soon as it is true."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds} seconds"
        time.sleep(0.05)
    return found


class Cluster:
    """The processes of a cluster; each is ended by its own id, also if the start fails."""

    def __init__(self, workers: int = 2) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="lockstep-cluster-"))
        port, page = free_port(), free_port()
        self.url, self.page = f"spark://127.0.0.1:{port}", f"http://127.0.0.1:{page}"
        place = ["--host", "127.0.0.1", "--port", str(port), "--webui-port", str(page)]
        self.master = self._start("master.Master", *place)
        self.workers: list[subprocess.Popen[bytes]] = []
        try:
            wait_for(self.state, "the start of the master")
            for _ in range(workers):
                self.add_worker()
            self.wait_for_workers()
        except BaseException:
            self.stop()
            raise

    def add_worker(self) -> None:
        """Start one more worker, without waiting for it."""
        own = ["--host", "127.0.0.1", "--webui-port", "0", "--cores", "1", "--memory", "1g"]
        work = self.folder / f"worker {len(self.workers)}"
        self.workers.append(self._start("worker.Worker", *own, "-d", str(work), self.url))

    def _start(self, name: str, *words: str) -> subprocess.Popen[bytes]:
        command = [HOME / "bin" / "spark-class", f"org.apache.spark.deploy.{name}", *words]
        settings = {
            "SPARK_HOME": str(HOME),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_DAEMON_MEMORY": "256m",
            "SPARK_DAEMON_JAVA_OPTS": f"{QUICK_JAVA} -XX:-UsePerfData",
            # A lost worker is noticed by its closed connection; this is for one that hangs.
            "SPARK_MASTER_OPTS": "-Dspark.worker.timeout=20",
        }
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                command, env={**os.environ, **settings}, cwd=self.folder, stdout=log, stderr=log
            )

    def state(self) -> dict[str, Any] | None:
        """Return the master's page as JSON; None while there is none, or not this one yet."""
        assert self.master.poll() is None, (self.folder / "log").read_text()
        try:
            answer = requests.get(f"{self.page}/json/", timeout=5)
        except (requests.ConnectionError, requests.Timeout):
            return None
        # While it starts, it answers with pages of another kind.
        ready = answer.ok and "json" in answer.headers.get("Content-Type", "")
        return answer.json() if ready else None

    def wait_for_workers(self) -> None:
        """Wait until the running workers are registered, and no other is."""
        wait_for(
            lambda: (self.state() or {}).get("aliveworkers") == len(self.workers),
            f"the registration of {len(self.workers)} workers",
        )

    def stop_worker(self) -> None:
        """Kill the first worker with all that it started, as a lost machine does."""
        worker = self.workers.pop(0)
        for process in psutil.Process(worker.pid).children(recursive=True):
            process.kill()
        worker.kill()
        worker.wait()

    def repaired(self, workers: int = 2) -> bool:
        """Start workers for those that were stopped; False if the master is gone."""
        if self.master.poll() is not None:
            return False
        for _ in range(workers - len(self.workers)):
            self.add_worker()
        self.wait_for_workers()
        return True

    def stop_master(self) -> None:
        """Kill the master, as a lost machine does."""
        self.master.kill()
        self.master.wait()

    def stop(self) -> None:
        """End all processes and remove the folder."""
        for process in [*self.workers, self.master]:
            process.terminate()
        for process in [*self.workers, self.master]:
            process.wait(timeout=30)
        shutil.rmtree(self.folder, ignore_errors=True)
