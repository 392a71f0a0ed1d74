"""An archive of Spark's classes, as Java has them in memory: sessions start in half the time.

`make setup-spark` writes it. Java ignores an archive of another version of Java or of Spark.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from pyspark.find_spark_home import _find_spark_home

from lockstep.engines.java import check_java
from lockstep.errors import ConfigError, run_command

_SECONDS = 300
_PROGRAM = """
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
spark.range(0, 2, 1, 2).mapInArrow(lambda batches: batches, "id long").count()
"""
"""What loads the classes that every session needs."""
_FAULT = re.compile(r"(Exception in |[\w.]*(Error|Exception):)")


def archive() -> Path:
    """Return the archive's place in this environment."""
    return Path(sys.prefix) / "share" / "lockstep" / f"spark-{version('pyspark')}.jsa"


def java_option() -> str:
    """Return what lets Java use the archive; nothing without one."""
    return _option("SharedArchiveFile", archive()) if archive().is_file() else ""


def main() -> None:
    """Write the archive, unless it is there."""
    check_java()
    place = archive()
    if place.is_file():
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent) as made:
        whole = _made(Path(made))
        if whole.is_file():
            # Java reads it through memory, so it must never be there in part.
            os.replace(whole, place)
        else:
            slower = "Spark works, and a session takes twice as long to start"
            print(f"note: Java wrote no archive of Spark's classes; {slower}", file=sys.stderr)


def _made(folder: Path) -> Path:
    """Let Java run a small program; return where it writes the classes it loaded as it ends."""
    program, whole = folder / "program.py", folder / "classes.jsa"
    program.write_text(_PROGRAM, encoding="utf-8")
    command = [
        os.path.join(_find_spark_home(), "bin", "spark-submit"),
        "--master", "local[2]",
        "--conf", "spark.ui.enabled=false",
        "--conf", "spark.driver.host=127.0.0.1",
        "--conf", "spark.driver.bindAddress=127.0.0.1",
        "--conf", f"spark.local.dir={folder}",
        "--conf", f"spark.driver.extraJavaOptions={_option('ArchiveClassesAtExit', whole)}",
        str(program),
    ]  # fmt: skip
    done = _run(command, folder)
    if done.returncode:
        lines = [line.strip() for line in (done.stdout + done.stderr).splitlines()]
        faults = [line for line in lines if _FAULT.match(line)]
        told = (faults or lines or ["it printed nothing"])[0]
        raise ConfigError(f"Spark can't run a small program here: {told}")
    return whole


def _run(command: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PYSPARK_PYTHON": sys.executable}
    try:
        return subprocess.run(
            command, cwd=folder, env=environ, timeout=_SECONDS,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise ConfigError(
            f"Spark ran a small program for more than {_SECONDS} seconds; run `make setup-spark` "
            "again when this machine is less busy"
        ) from None


def _option(name: str, path: Path) -> str:
    """Return an option of Java with a path, which may hold spaces."""
    return f'"-XX:{name}={path}"'


if __name__ == "__main__":
    run_command(main)
