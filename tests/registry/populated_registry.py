"""A registry of a few published versions, made once a run; a test that damages it has a copy."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mlflow import MlflowClient

from lockstep.audit.verify import verify
from lockstep.checks import FAILED, CheckResult
from lockstep.config.settings import load_settings
from lockstep.registry.record.registered_models import Model, get_model
from lockstep.registry.store.connection import connect
from lockstep.registry.train_stage import publish_training

NAME = "Accident_Prediction_Logistic_Regression"
VERSIONS = 4
_MADE: dict[str, Path] = {}


@dataclass
class Filled:
    """A workspace with versions 1 to 4 of one model, each with files of its own."""

    root: Path

    @cached_property
    def client(self) -> MlflowClient:
        return connect(load_settings(self.root), self.root)

    @property
    def model(self) -> Model:
        return get_model(self.client, NAME)

    def folder(self, version: int) -> Path:
        return Path(self.client.get_model_version_download_uri(NAME, str(version)))

    def found(self, version: int = 1) -> dict[str, CheckResult]:
        return {f.name: f for f in verify(self.client, self.root, NAME, version)}

    def failed(self, version: int = 1) -> dict[str, str]:
        return {check: f.message for check, f in self.found(version).items() if f.verdict == FAILED}


def stock(
    request: Any, kind: str = "plain", arrange: Callable[[Filled], None] | None = None
) -> Filled:
    """Return a filled registry of a test's own; ``arrange`` is called once for each kind."""
    if "plain" not in _MADE:
        _MADE["plain"] = _published(request)
    if arrange is not None and kind not in _MADE:
        made = request.getfixturevalue("tmp_path_factory").mktemp(kind) / "made"
        shutil.copytree(_MADE["plain"], made)
        arrange(Filled(made))
        _MADE[kind] = made
    root = request.getfixturevalue("tmp_path") / "filled"
    shutil.copytree(_MADE[kind], root)
    return Filled(root)


def _published(request: Any) -> Path:
    workspace, make = request.getfixturevalue("workspace"), request.getfixturevalue("make")
    for seed in range(VERSIONS):
        make.training(workspace, "logistic_regression", seed=seed)
        publish_training(workspace, "accidents", "logistic_regression")
    made = request.getfixturevalue("tmp_path_factory").mktemp("filled") / "made"
    shutil.move(workspace, made)
    return Path(made)


def flip(path: Path, place: float = 0.5) -> None:
    """Change one byte of a file."""
    content = bytearray(path.read_bytes())
    content[int(place * (len(content) - 1))] ^= 0x41
    path.write_bytes(content)


def files(folder: Path) -> list[str]:
    """Return the paths of all files below a folder."""
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
