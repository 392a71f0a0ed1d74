"""What MLflow and Python write into a model folder when they load it where it lies: no part of it, and no damage.

MLflow's own loaders open a model of a local store in place. They note there which version was asked for, and Python
keeps the shipped code compiled beside it. Nothing of this project reads or runs either.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

REGISTERED_META = "registered_model_meta"
"""MLflow's note of the name and number by which a folder was loaded."""
_CODE, _COMPILED = "code", "__pycache__"
_COMPILED_NAME = re.compile(r"(?P<module>\w+)\.[a-z]+-?\d+(\.opt-[12])?\.pyc(\.\d+)?")
"""As importlib names it; while it writes, and for good where it is killed then, a number comes behind."""


def added_on_loading(folder: Path) -> list[str]:
    """Return the paths of what loading in place added: MLflow's note, and the compiled form of code that is there.

    Compiled code without its source, or elsewhere than Python puts it, is not among them, nor is any link.
    """
    found = [folder / REGISTERED_META, *(folder / _CODE).rglob(f"{_COMPILED}/*")]
    names = [p.relative_to(folder).as_posix() for p in found if p.is_file() and not p.is_symlink()]
    return sorted(name for name in names if name == REGISTERED_META or _has_source(folder, name))


def drop_added_on_loading(folder: Path) -> None:
    """Remove from a copy of a model folder what loading in place added to the original."""
    for path in (folder / name for name in added_on_loading(folder)):
        path.unlink()
        if path.parent.name == _COMPILED and not any(path.parent.iterdir()):
            path.parent.rmdir()


def _has_source(folder: Path, name: str) -> bool:
    """Tell whether a file in ``__pycache__`` is named after a source file beside that folder."""
    path = PurePosixPath(name)
    parts = _COMPILED_NAME.fullmatch(path.name)
    return parts is not None and (folder / path.parents[1] / f"{parts['module']}.py").is_file()
