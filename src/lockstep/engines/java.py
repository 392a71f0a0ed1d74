"""The Java that Spark starts: found and checked before anything is started."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping

from lockstep.errors import ConfigError

OLDEST = 17
"""The oldest Java that Spark 4 runs on."""
INSTALL = (
    "install Java 17 (Debian: apt install openjdk-17-jre-headless, macOS: brew install openjdk@17)"
)


def check_java(environ: Mapping[str, str] = os.environ) -> None:
    """Raise ConfigError unless the Java that Spark would start is there and new enough."""
    java = _java(environ)
    version = _version(java)
    if version < OLDEST:
        where = "in JAVA_HOME" if environ.get("JAVA_HOME") else "on PATH"
        raise ConfigError(
            f"{java} is Java {version}, and Spark needs {OLDEST} or newer; {INSTALL} and put it "
            f"{where}"
        )


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
