"""One project that was retrained once, and copies of it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.pipelines.retrained import Project, make_project, one_name

from lockstep.pipelines import dvc


@pytest.fixture
def _one_name() -> Iterator[None]:
    with one_name():
        yield


@pytest.fixture(scope="session")
def first(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Project:
    """A project that was retrained once, for all tests that only look."""
    with one_name():
        project = make_project(tmp_path_factory.mktemp("retrained") / "project", empty_store)
        project.done = project.retrain(cv_folds=2)
        return project


@pytest.fixture
def project(first: Project, tmp_path: Path, _one_name: None) -> Project:
    """A copy of the retrained project to go on from; the store follows its move."""
    shutil.copytree(first.root, tmp_path / "project", symlinks=True)
    shutil.move(first.root / "mlruns", first.root / "mlruns away")
    moved = Project(tmp_path / "project", first.done)
    moved.client.search_experiments()
    shutil.move(first.root / "mlruns away", first.root / "mlruns")
    return moved


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    """What DVC was asked for, while it has nothing to do."""
    asked: list[tuple] = []
    monkeypatch.setattr(dvc, "repro", lambda root, *words: asked.append(words))
    return asked
