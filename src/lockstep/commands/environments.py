"""`--env NAME`: train in the project itself, or in a folder apart with smaller parameters."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lockstep.config.params import Environment, load_params, read_params_text
from lockstep.config.params_file import KeyPath, parsed, with_values
from lockstep.config.settings import PUBLISH
from lockstep.dvc.command import cache_folder, run_dvc
from lockstep.errors import ConfigError
from lockstep.io import parse_yaml, write_text

FOLDER = Path(".lockstep")
COPIED = ("dvc.yaml", "metrics/dvc.yaml", "spark/dvc.yaml")
LINKED = ("src", "requirements.lock", "requirements-spark.lock", "data/external")
"""What a folder apart shares with the project: code, pins and the user's own data."""


def root_of(root: Path, name: str) -> Path:
    """Return the folder that an environment trains in: the project's, or one of its own."""
    environment = load_params(root).environment(name)
    if not environment.apart:
        return root
    own = root / FOLDER / name
    _arrange(root, own, environment)
    # Its stages are other processes, and none of them may register a trial.
    os.environ[PUBLISH] = "0"
    os.chdir(own)
    return own


def _arrange(root: Path, own: Path, environment: Environment) -> None:
    """Make the folder a DVC project with the environment's parameters; what is there stays."""
    text = overlaid(read_params_text(root), environment)
    for name in filter(lambda name: (root / name).is_file(), COPIED):
        (own / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / name, own / name)
    for name in filter(lambda name: (root / name).exists(), LINKED):
        _link(root / name, own / name)
    write_text(own / "params.yaml", text)
    if not (own / ".dvc").is_dir():
        run_dvc(own, "init", "--no-scm", "--quiet")
        run_dvc(own, "config", "--local", "cache.dir", str(cache_folder(root)))


def _link(target: Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.is_symlink() and place.resolve() == target.resolve():
        return
    place.unlink(missing_ok=True)
    place.symlink_to(os.path.relpath(target, place.parent))


def overlaid(text: str, environment: Environment) -> str:
    """Return params.yaml's text with an environment's values, checked."""
    content = parse_yaml(text, "params.yaml")
    values: dict[KeyPath, Any] = {}
    for key, value in environment.set.items():
        paths = list(_paths(content, tuple(key.split("."))))
        if not paths and "*" not in key:
            raise ConfigError(f"params.yaml: environments set '{key}', which is no key there")
        values |= dict.fromkeys(paths, value)
    changed = with_values(text, values)
    parsed(changed)
    return changed


def _paths(content: Any, steps: KeyPath, before: KeyPath = ()) -> Iterator[KeyPath]:
    """Yield the keys that are there and that a dotted key with stars means."""
    if not steps:
        yield before
        return
    if not isinstance(content, dict):
        return
    for name in content if steps[0] == "*" else [steps[0]]:
        if name in content:
            yield from _paths(content[name], steps[1:], (*before, name))
