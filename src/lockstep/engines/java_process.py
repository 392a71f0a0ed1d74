"""The process of Java that a session runs in: started, connected to and ended here.

pyspark's own start leaves Java running if it is interrupted meanwhile.
"""

from __future__ import annotations

import logging
import os
import shlex
import signal
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, Popen, TimeoutExpired
from typing import Any

from py4j.protocol import Py4JError
from pyspark import SparkConf, SparkContext
from pyspark.find_spark_home import _find_spark_home
from pyspark.java_gateway import launch_gateway

from lockstep.engines.faults import EngineError
from lockstep.errors import LockstepError

_STARTING, _STOPPING = 120, 20
"""Seconds after which a Java that does not start, or does not stop, is killed."""
# py4j logs what it raises as well, and a Ctrl-C, partly as root.
logging.getLogger("py4j").setLevel(logging.CRITICAL)
logging.getLogger().addFilter(lambda record: "py4j" not in Path(record.pathname).parts)


class JavaProcess:
    """A running Java and its output, below a temporary folder."""

    def __init__(self, conf: SparkConf, folder: Path) -> None:
        self._log = folder / "java.log"
        self._connection = folder / "connection"
        pairs = [part for key, value in conf.getAll() for part in ("--conf", f"{key}={value}")]
        script = Path(_find_spark_home()) / "bin" / "spark-submit"
        rest = shlex.split(os.environ.get("PYSPARK_SUBMIT_ARGS", "pyspark-shell"))
        found = {"SPARK_CONNECT_MODE": "0", "_PYSPARK_DRIVER_CONN_INFO_PATH": str(self._connection)}
        with self._log.open("wb") as out:
            shown = None if os.environ.get("LOCKSTEP_TRACEBACK") else out
            # In a session of its own it hears no Ctrl-C; the end of its input ends it, if we can't.
            self._process = Popen(
                [str(script), *pairs, *rest], stdin=PIPE, stdout=shown, stderr=shown,
                env={**os.environ, **found}, start_new_session=True,
            )  # fmt: skip

    def connect(self) -> Any:
        """Return py4j's gateway, as soon as Java takes connections."""
        deadline = time.monotonic() + _STARTING
        while not self._connection.is_file():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise EngineError(f"Spark's Java did not start: {self.first_fault()}")
            time.sleep(0.05)
        port, length = struct.unpack_from(">ii", content := self._connection.read_bytes())
        names = ("PYSPARK_GATEWAY_PORT", "PYSPARK_GATEWAY_SECRET")
        os.environ.update(zip(names, (str(port), content[8 : 8 + length].decode()), strict=True))
        try:
            return launch_gateway()
        finally:
            for name in names:
                del os.environ[name]

    def first_fault(self) -> str:
        """Return the first line of Java's output that names a fault."""
        lines = self._log.read_text("utf-8", errors="replace").splitlines()
        faults = [line.strip() for line in lines if "Error" in line or "Exception" in line]
        return (faults or ["it printed no error"])[0]

    def has_ended(self, seconds: float = 0) -> bool:
        """Return whether Java has ended, or does so in some seconds."""
        try:
            self._process.wait(seconds)
        except TimeoutExpired:
            return False
        return True

    @contextmanager
    def killed_after(self, seconds: float) -> Iterator[None]:
        """Kill Java if the block takes longer: its own waiting can't be interrupted."""
        watch = threading.Timer(seconds, self.kill)
        watch.start()
        try:
            yield
        finally:
            watch.cancel()

    def kill(self) -> None:
        """Kill Java and the scripts that started it."""
        if not self.has_ended():
            os.killpg(self._process.pid, signal.SIGKILL)

    def end(self) -> None:
        """End Java by closing its input, or kill it; wait until it is gone."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        # Before it takes connections it does not look at its input.
        if not self._connection.is_file() or not self.has_ended(_STOPPING):
            self.kill()
        self._process.wait()


@contextmanager
def java_process(conf: SparkConf, folder: Path) -> Iterator[tuple[JavaProcess, Any]]:
    """Yield a Java of our own and the connection to it; end it whatever happens.

    If Java ends inside the block, one line says so: py4j says it in many ways.
    """
    java = JavaProcess(conf, folder)
    try:
        gateway = java.connect()
        try:
            yield java, gateway
        finally:
            # The next session starts its own.
            SparkContext._gateway = SparkContext._jvm = None
            gateway.shutdown()
    except (LockstepError, Py4JError, OSError) as error:
        cause = error.__cause__ if isinstance(error, LockstepError) else error
        if not isinstance(cause, Py4JError | OSError) or not java.has_ended(1):
            raise
        raise EngineError(
            f"Spark's Java ended: {java.first_fault()}; it may have been killed for memory (see "
            "LOCKSTEP_SPARK_MEMORY): run the command again"
        ) from error
    finally:
        java.end()
