"""The extras of the package: what `pip install .` leaves out, and how to add it."""

from __future__ import annotations

from importlib.util import find_spec

from lockstep.errors import ConfigError, listed

PACKAGES = {
    "serve": ("fastapi", "uvicorn", "uvloop", "httptools", "swagger_ui_bundle"),
    "s3": ("dvc_s3",),
}


def install_line(extra: str) -> str:
    """Return the fix of an extra that is missing."""
    # Not by name: the public index has another project of this name.
    return f"run `make env`, or `pip install '.[{extra}]'` in the project's folder"


def require_extra(extra: str, what: str) -> None:
    """Raise ConfigError if a package of the extra is missing, which ``what`` needs."""
    if missing := [name for name in PACKAGES[extra] if find_spec(name) is None]:
        lacks = f"{what} needs packages that are not installed: {listed(missing)}"
        raise ConfigError(f"{lacks}; {install_line(extra)}")
