"""The lock installs on every system and Python that docs/platforms.md promises."""

import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SYSTEMS = {
    "Linux x86-64": "x86_64-manylinux_2_28",
    "Linux arm64": "aarch64-manylinux_2_28",
    "macOS arm64": "aarch64-apple-darwin",
}
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
SOURCE_ONLY = "antlr4-python3-runtime"
"""Published without a wheel; it is plain Python."""
UNREACHED = ("Failed to fetch", "error sending request", "network was disabled")
OPTIONS = ("--system-certs", "--dry-run", "--require-hashes", "--only-binary", ":all:")


def resolved(folder: Path, lock: Path, python: str, platform: str, *more: str) -> str:
    """Return what uv says against installing a lock; skip the test if no index is reached."""
    where = ["--target", str(folder), "--python", sys.executable]
    target = ["--python-version", python, "--python-platform", platform]
    uv = Path(sys.prefix) / "bin" / "uv"
    command = [
        uv,
        "pip",
        "install",
        *OPTIONS,
        "--no-binary",
        SOURCE_ONLY,
        *where,
        *target,
        *more,
        "-r",
        lock,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)
    if done.returncode and any(words in done.stderr for words in UNREACHED):
        pytest.skip("no package index is reached from here")
    return done.stderr if done.returncode else ""


@pytest.mark.long
@pytest.mark.parametrize(("system", "python"), list(product(SYSTEMS, PYTHONS)))
def test_every_package_has_a_wheel(tmp_path, system, python):
    """The development lock holds all of the other one at the same versions."""
    lock = ROOT / "requirements-dev.lock"
    assert resolved(tmp_path, lock, python, SYSTEMS[system]) == ""


def test_a_package_without_a_wheel_is_found(tmp_path):
    """As it was before xgboost was pinned for macOS by a marker."""
    text = (ROOT / "requirements-dev.lock").read_text("utf-8")
    lock = tmp_path / "lock"
    lock.write_text(text.replace("; sys_platform != 'darwin'", ""))
    assert "xgboost-cpu" in resolved(tmp_path, lock, "3.12", SYSTEMS["macOS arm64"])


def test_no_index_is_no_failure(tmp_path):
    lock, cache = ROOT / "requirements-dev.lock", str(tmp_path / "cache")
    with pytest.raises(pytest.skip.Exception, match="no package index"):
        resolved(tmp_path, lock, "3.12", "linux", "--offline", "--cache-dir", cache)
