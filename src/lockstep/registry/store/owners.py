"""Which process of which machine took a lock or began a run, and whether it has ended."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from getpass import getuser
from pathlib import Path
from typing import Any
from uuid import getnode


def this_process() -> dict[str, Any]:
    """Return what names this process among all that write to a registry."""
    pid = os.getpid()
    return {
        "user": user_name(),
        "host": socket.gethostname(),
        "boot": _boot(),
        "pids": _process_namespace(),
        "pid": pid,
        "started": _started(pid),
    }


def to_tag() -> str:
    """Return this process as the text of a tag."""
    return json.dumps(this_process(), sort_keys=True)


def from_tag(text: str) -> dict[str, Any]:
    """Return the process that a tag names; empty for one that can't be read."""
    try:
        owner = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return owner if isinstance(owner, dict) else {}


def has_ended(owner: Mapping[str, Any]) -> bool:
    """Return whether a process was one of this machine, since its last boot, and has ended."""
    pid = owner.get("pid")
    return _was_here(owner) and isinstance(pid, int) and not is_alive(owner)


def is_alive(owner: Mapping[str, Any]) -> bool:
    """Return whether a process is one of this machine that runs."""
    pid = owner.get("pid")
    return _was_here(owner) and isinstance(pid, int) and _started(pid) == owner.get("started")


def _was_here(owner: Mapping[str, Any]) -> bool:
    own = this_process()
    return all(owner.get(key) == own[key] for key in ("host", "boot", "pids"))


def user_name() -> str:
    """Return this user's name, or its number in a container without names."""
    try:
        return getuser()
    except (OSError, KeyError):
        return f"uid {os.getuid()}"


def _process_namespace() -> str:
    """Return the namespace of this process' number: each container of a host has its own."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _boot() -> str:
    """Return this machine's last boot; without Linux's /proc the machine, by its network address.

    That is enough: no process outlives a boot. Hosts may share a name, and a registry.
    """
    return _kernel_text("sys/kernel/random/boot_id").strip() or f"machine {getnode():012x}"


def _started(pid: int) -> str:
    """Return when a process started, in the kernel's ticks; empty if there is no such process.

    Without Linux's /proc, only whether it runs: a number that was used again looks alive.
    """
    fields = _kernel_text(f"{pid}/stat").rpartition(")")[2].split()
    if len(fields) > 19:
        return fields[19]
    return "running" if not _kernel_text("self/stat") and _runs(pid) else ""


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # of another user
        return True
    return True


def _kernel_text(name: str) -> str:
    try:
        return Path("/proc", name).read_text()
    except OSError:
        return ""
