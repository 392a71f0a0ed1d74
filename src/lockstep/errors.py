"""The errors a user can meet: one clear line each, with its fix."""

from __future__ import annotations

import difflib
import errno
import gc
import os
import sys
import traceback
from collections.abc import Callable, Iterable

NO_HOME = (
    "this user has no home folder, and DVC and MLflow look for settings there; set HOME to a "
    "folder that this user may write to"
)


class LockstepError(Exception):
    """Base of every expected failure; the message names the fix."""

    exit_code = 1


class UsageError(LockstepError):
    """The command line is wrong: an unknown option, name or value."""

    exit_code = 2


class ConfigError(LockstepError):
    """params.yaml, model_config.yaml, a schema or the environment is wrong."""


class DataError(LockstepError):
    """Input data do not fit what the schema or the source declares."""


class ArtifactError(LockstepError):
    """A model file or artifact is damaged, foreign or not allowed."""


class UnusableHere(ArtifactError):
    """An artifact that can't be read from here or loaded by the packages here: no damage."""


class RegistryError(LockstepError):
    """The tracking server or model registry refused, lacks something, or is unreachable."""


def nearest(name: object, known: Iterable[object]) -> str:
    """Return " (did you mean 'x'?)" for the known name closest to ``name``, or an empty string."""
    names = [str(k) for k in known]
    by_case = [k for k in names if k.lower() == str(name).lower()]
    begun = [k for k in names if len(str(name)) > 2 and k.lower().startswith(str(name).lower())]
    close = by_case or begun[:1] or difflib.get_close_matches(str(name), names, n=1, cutoff=0.6)
    return f" (did you mean '{close[0]}'?)" if close else ""


def listed(items: Iterable[object], most: int = 5) -> str:
    """Return the first items, separated by commas, and how many more there are."""
    texts = [str(item) for item in items]
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more


def unknown(what: str, name: object, known: Iterable[object]) -> str:
    """Return one line: ``name`` is no known ``what``, the nearest known and all of them."""
    names = [str(k) for k in known]
    return f"unknown {what} '{name}'{nearest(name, names)}; known: {', '.join(names) or 'none'}"


def _os_error_line(error: OSError) -> str:
    name = error.filename2 or error.filename  # of a copy the target
    where = f": {name}" if name else ""
    if error.errno == errno.ENOSPC:
        return f"the disk is full{where}; free some space and run the command again"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"no permission to write or read{where}; make the folder writable for this user"
    return f"{error.strerror or error}{where}"


def has_home() -> bool:
    """Return whether this user has a home folder: by HOME, or by the system's list of users."""
    return os.path.expanduser("~") != "~"


def run_command(main: Callable[[], int | None]) -> None:
    """Run a command's main function and leave the process with its exit code.

    Expected errors become one line on stderr; LOCKSTEP_TRACEBACK=1 shows where they came from.
    """
    try:
        code = main() or 0
    except KeyboardInterrupt:
        line = "interrupted; nothing half-written was kept, run the command again to go on"
        code = _fail(line, 1)
    except LockstepError as error:
        code = _fail(str(error), error.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except OSError as error:
        code = _fail(_os_error_line(error), 1)
    except RuntimeError:
        if has_home():
            raise
        code = _fail(NO_HOME, 1)
    leave_objects_to_the_system()
    sys.exit(code)


def leave_objects_to_the_system() -> None:
    """Skip the garbage collections at exit: after MLflow's imports they take a second."""
    gc.disable()
    gc.freeze()


def _fail(message: str, code: int) -> int:
    if os.environ.get("LOCKSTEP_TRACEBACK"):
        traceback.print_exc()
    print(f"✗ {message}", file=sys.stderr)
    return code
