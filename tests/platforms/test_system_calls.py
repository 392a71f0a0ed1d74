"""The programs run on Linux and macOS; a call that one of them lacks has another way."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import joblib
import pytest
from tests.platforms.system_calls import MAKE, in_python, in_shell

from lockstep.models import training
from lockstep.serving import server

ROOT = Path(__file__).parents[2]
FOLDERS = ("src", "scripts", "benchmarks", "tests")
PYTHON = sorted(
    path
    for folder in FOLDERS
    for path in ROOT.glob(f"{folder}/**/*.py")
    if path.parent != Path(__file__).parent
)
SCRIPTS = sorted([*ROOT.glob("scripts/*.sh"), *ROOT.glob("benchmarks/*.sh"), ROOT / ".ci" / "run"])
WITH_ANOTHER_WAY = {
    "src/lockstep/registry/store/owners.py": {"/proc", "/proc/self/ns/pid"},
    "src/lockstep/serving/shadow.py": {"/proc/"},
    "tests/conftest.py": {"/dev/shm"},
    "tests/kernels.py": {"/proc/cpuinfo"},
    "src/lockstep/preload/process.py": {"os.pidfd_open"},
    "src/lockstep/preload/server.py": {"os.pidfd_open"},
}
"""Calls that only Linux has, and that are left alone elsewhere."""
LEFT_OUT = {"/proc/cpuinfo"}
"""Files in scripts that end on other systems before they read them."""


def test_python_calls_what_every_system_has():
    assert len(PYTHON) > 200
    found = {str(p.relative_to(ROOT)): set(in_python(p.read_text("utf-8"))) for p in PYTHON}
    assert {name: calls for name, calls in found.items() if calls} == WITH_ANOTHER_WAY


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda p: p.name)
def test_scripts_use_what_every_system_has(path):
    found = list(in_shell(path.read_text("utf-8")))
    assert [line for line in found if not any(name in line for name in LEFT_OUT)] == []


def test_the_makefile_is_one_for_gnu_make_3_81():
    assert list(in_shell((ROOT / "Makefile").read_text("utf-8"), MAKE)) == []


@pytest.mark.parametrize(
    "line",
    [
        "os.sched_getaffinity(0)",
        "from os import sched_getaffinity",
        "Path('/proc/self/stat').read_text()",
        "open(f'/proc/{pid}/stat')",
        "os.listdir('/sys/x')",
        "os.open(path, os.O_DIRECT)",
        "listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)",
        "from select import epoll",
        "os.fdatasync(handle)",
        "signal.SIGRTMIN + 1",
    ],
)
def test_a_call_of_linux_is_found(line):
    assert list(in_python(line))


@pytest.mark.parametrize(
    "line",
    [
        "sed -i s/a/b/ file",
        "sed -E 's/:.*## /\\t/'",
        "grep -oP 'a' file",
        "from=$(realpath x)",
        "readlink -f x",
        "date -d yesterday",
        "size=$(stat -c %s file)",
        "cp --reflink=auto a b",
        "find . | xargs -0r rm",
        "head -n -1 file",
        "mktemp --tmpdir=x",
        "timeout 5 make",
        "cat x | sha256sum",
        "mapfile -t lines < x",
        "declare -A found",
        'echo "${name,,}"',
        'run "${words[@]}"',
        "make |& tee log",
        "x=${words[-1]}",
        "grep avx /proc/cpuinfo",
    ],
)
def test_a_line_that_macos_would_not_run_is_found(line):
    assert list(in_shell(line))


@pytest.mark.parametrize(
    "line",
    [".SHELLFLAGS := -e", ".ONESHELL:", "x := $(file < y)", "HERE != pwd", "X ::= 1", "a b &: c"],
)
def test_a_line_that_gnu_make_3_81_would_not_run_is_found(line):
    assert list(in_shell(line, MAKE))


@pytest.mark.parametrize(
    "line",
    [
        "sed -n '/^uv==/,/^    #/p' file > other",
        "work=$(mktemp -d)",
        'run "$@" "${@/#/--param=}" "${name##*/}" "${line%%:*}"',
        'run ${words[@]+"${words[@]}"}',
        "timeout=5",
        "# stat -c is not portable",
        "command >log 2>&1 || exit 1",
        "echo make run-train; test -e .venv/.ready",
    ],
)
def test_what_every_system_has_is_allowed(line):
    assert list(in_shell(line, MAKE)) == []


def test_cores_are_counted_where_the_system_knows_no_affinity(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert training.cores() == joblib.cpu_count() >= 1


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux binds processes to processors")
def test_cores_are_those_that_the_process_may_use():
    code = "import os; os.{}(0, {{0}}); from lockstep.models.training import cores; print(cores())"
    told = subprocess.check_output([sys.executable, "-c", code.format("sched_setaffinity")])
    assert int(told) == 1


@pytest.mark.parametrize("error", [ValueError("not allowed to raise maximum limit"), OSError(22)])
def test_a_system_that_refuses_more_open_files_serves_with_what_it_has(monkeypatch, error):
    asked = []

    def refuse(kind, limits):
        asked.append(limits)
        raise error

    monkeypatch.setattr(resource, "getrlimit", lambda kind: (256, resource.RLIM_INFINITY))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    server._allow_files(1000)
    assert asked == [(1000 + server._OTHER_FILES, resource.RLIM_INFINITY)]
