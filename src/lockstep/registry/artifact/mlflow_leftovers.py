"""Files that MLflow and Python add to a model folder when they load it: no part of it, no damage.

MLflow's own loaders open a model of a local store in place. They note which version was asked for,
and Python caches the shipped code compiled beside it. This project reads and runs neither.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

REGISTERED_META = "registered_model_meta"
"""MLflow's note of the version as which a folder was loaded."""
_CODE, _COMPILED = "code", "__pycache__"
_COMPILED_NAME = re.compile(r"(?P<module>\w+)\.[a-z]+-?\d+(\.opt-[12])?\.pyc(\.\d+)?")
"""A name by importlib; while it writes, and after a kill then, a number follows."""


def added_on_loading(folder: Path) -> list[str]:
    """Return the paths that loading in place added: MLflow's note, and compiled code with a source.

    Compiled code without its source, or in another place than Python's, is not included, nor is a
    link.
    """
    found = [folder / REGISTERED_META, *(folder / _CODE).rglob(f"{_COMPILED}/*")]
    names = [p.relative_to(folder).as_posix() for p in found if p.is_file() and not p.is_symlink()]
    return sorted(name for name in names if name == REGISTERED_META or _has_source(folder, name))


def drop_added_on_loading(folder: Path) -> None:
    """Remove from a copy of a model folder what loading the original in place added."""
    for path in (folder / name for name in added_on_loading(folder)):
        path.unlink()
        if path.parent.name == _COMPILED and not any(path.parent.iterdir()):
            path.parent.rmdir()


def _has_source(folder: Path, name: str) -> bool:
    """Return whether a file in ``__pycache__`` belongs to a source file beside that folder."""
    path = PurePosixPath(name)
    parts = _COMPILED_NAME.fullmatch(path.name)
    return parts is not None and (folder / path.parents[1] / f"{parts['module']}.py").is_file()
