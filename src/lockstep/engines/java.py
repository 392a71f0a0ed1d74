"""The Java that Spark starts: found and checked before anything is started."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from importlib.metadata import version

from lockstep.errors import ConfigError, run_command

OLDEST = 17
"""The oldest Java that Spark 4 runs on."""
INSTALL = (
    "install Java 17 (Debian: apt install openjdk-17-jre-headless, macOS: brew install openjdk@17)"
)


def check_java(environ: Mapping[str, str] = os.environ) -> int:
    """Return the version of the Java that Spark would start; ConfigError for none or an old one."""
    java = _java(environ)
    found = _version(java)
    if found < OLDEST:
        where = "name it in JAVA_HOME" if environ.get("JAVA_HOME") else "put it first on PATH"
        fault = f"{java} is Java {found}, and Spark needs {OLDEST} or newer"
        raise ConfigError(f"{fault}; {INSTALL} and {where}")
    return found


def main() -> None:
    """Print that Spark can start here."""
    java = check_java()
    print(f"✓ Spark {version('pyspark')} and Java {java} are installed; next: docs/spark.md")


def _java(environ: Mapping[str, str]) -> str:
    """Return the program that Spark's scripts take: JAVA_HOME's, else the first on PATH."""
    home = environ.get("JAVA_HOME")
    if home:
        found = shutil.which(os.path.join(home, "bin", "java"))
        fault = f"JAVA_HOME is {home}, which holds no bin/java; correct or unset it, or {INSTALL}"
    else:
        found = shutil.which("java", path=environ.get("PATH", ""))
        fault = f"Spark needs Java, and there is no java on PATH; {INSTALL}, or set JAVA_HOME"
    if found is None:
        raise ConfigError(fault)
    return found


def _version(java: str) -> int:
    """Return the first number of a Java's version; 8 for the old form 1.8."""
    try:
        done = subprocess.run(
            [java, "-version"], capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"{java} does not start ({error}); {INSTALL}") from error
    found = re.search(r'version "(?:1\.)?(\d+)', done.stderr + done.stdout)
    if done.returncode or not found:
        raise ConfigError(f"`{java} -version` names no version; {INSTALL}")
    return int(found[1])


if __name__ == "__main__":
    run_command(main)
