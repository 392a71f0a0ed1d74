"""DVC's own commands: same interpreter, in the project's folder, without analytics."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from getpass import getuser
from pathlib import Path

from lockstep.errors import NO_HOME, ConfigError, has_home
from lockstep.preload.process import own_programs_first


def run_dvc(root: Path, *arguments: str) -> str:
    """Run a DVC command below ``root`` and return its output; a failure is a ConfigError."""
    repair_locks(root)
    done = subprocess.run(
        _command(arguments),
        cwd=root,
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ConfigError(f"`dvc {' '.join(arguments)}` failed: {_last_words(done.stderr)}")
    return done.stdout.strip()


def show_dvc(root: Path, *arguments: str) -> int:
    """Run a DVC command below ``root`` on the caller's own terminal and return its exit code."""
    with dvc_beside(root, *arguments) as process:
        return process.wait()


@contextmanager
def dvc_beside(
    root: Path, *arguments: str, variables: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a DVC command on the caller's own terminal while the block runs, and wait for it.

    ``variables`` are set for it. Interrupted, this waits until DVC has ended its stage, and repairs
    its locks. ConfigError for a folder that can't be written: DVC needs several lines to say so.
    """
    _check_writable(root)
    repair_locks(root)
    environment = {**_environment(), **(variables or {})}
    process = subprocess.Popen(_command(arguments), cwd=root, env=environment)
    try:
        with process:
            yield process
    finally:
        process.wait()
        repair_locks(root)


def _check_writable(root: Path) -> None:
    own = dvc_folder(root)
    for folder in (root, own, own / "tmp"):
        if folder.is_dir() and not os.access(folder, os.W_OK | os.X_OK):
            fault = f"{folder} can't be written by this user, and `dvc` works there"
            raise ConfigError(f"{fault}; make it writable, or work in a clone of your own")


def dvc_folder(root: Path) -> Path:
    """Return DVC's own folder: the nearest from the project's folder upwards."""
    above = (folder / ".dvc" for folder in (root, *root.parents))
    return next((folder for folder in above if folder.is_dir()), root / ".dvc")


def repair_locks(root: Path) -> None:
    """Remove DVC's list of locks if an interruption or a full disk cut it off.

    DVC would refuse to run for ever. It rewrites `.dvc/tmp/rwlock` in place, under a lock of its
    own that is taken here too. A list that can't be read holds nobody's lock.
    """
    listed = dvc_folder(root) / "tmp" / "rwlock"
    if not _cut_off(listed):
        return
    with listed.with_name("rwlock.lock").open("a") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if _cut_off(listed):
            listed.unlink()


def _cut_off(listed: Path) -> bool:
    try:
        json.loads(listed.read_bytes())
    except FileNotFoundError:
        return False
    except ValueError:
        return True
    return False


def default_remote(root: Path) -> str | None:
    """Return the name of the default DVC remote, or None without one."""
    return run_dvc(root, "config", "core.remote") or None


def cache_folder(root: Path) -> Path:
    """Return the folder of DVC's cache."""
    return Path(run_dvc(root, "cache", "dir"))


def _command(arguments: tuple[str, ...]) -> list[str]:
    return [sys.executable, "-m", "dvc", *arguments]


def _environment() -> dict[str, str]:
    if not has_home():
        raise ConfigError(NO_HOME)
    # Called from within a stage, DVC would take the stage's tree for its own.
    own = {"DVC_ROOT", "DVC_STAGE"}
    inherited = {name: os.environ[name] for name in os.environ.keys() - own}
    path = {"PATH": own_programs_first()}
    return {**_user(), **inherited, **path, "DVC_NO_ANALYTICS": "true"}


def _user() -> dict[str, str]:
    """Return a name for a user that has a number only, as in containers: DVC asks for one."""
    try:
        getuser()
    except (OSError, KeyError):
        return {"USER": f"uid-{os.getuid()}"}
    return {}


def _last_words(stderr: str) -> str:
    """Return DVC's error in one line: from its first ERROR on, without links to its manual."""
    lines = [line.strip() for line in stderr.splitlines() if "https://" not in line]
    words = [line for line in lines if line]
    errors = [number for number, line in enumerate(words) if line.startswith("ERROR:")]
    shown = words[errors[0] :] if errors else words[-1:]
    return " ".join(shown).removeprefix("ERROR: ") or "it gave no reason"
