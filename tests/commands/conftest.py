"""One project that was retrained once, for all processes of a test run, and copies of it."""

import os
import pickle
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock
from mlflow.tracking._tracking_service import utils
from tests.commands.retrained_project import Project, make_project, one_name

from lockstep.dvc import repro as dvc
from lockstep.registry.artifact.released import pointer_of

HERE = Path(__file__).parent
LAST = "test_promote_model.py"
"""By then another process has made the project that these tests copy, and none waits for it."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the two files that need the retrained project come apart."""
    places = [place for place, item in enumerate(items) if item.path.parent == HERE]
    here = sorted((items[place] for place in places), key=lambda item: item.path.name == LAST)
    for place, item in zip(places, here, strict=True):
        items[place] = item


@pytest.fixture
def _one_name() -> Iterator[None]:
    with one_name():
        yield


@pytest.fixture(scope="session")
def retrained(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Path:
    """A folder with a project retrained once and what that said; the first to need it makes it.

    Its artifacts lie beside it: a store follows a copy only where nothing lies at the place
    it records.
    """
    own = tmp_path_factory.getbasetemp()
    # With xdist each worker's folder lies in the run's own;
    # without it, the parent is that of other runs too.
    base = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "retrained"
    base.mkdir(exist_ok=True)
    with FileLock(base / "lock"), one_name():
        if not (base / "done").exists():
            for name in ("project", "mlruns"):
                shutil.rmtree(base / name, ignore_errors=True)
            done = make_project(base / "project", empty_store).retrain(cv_folds=2)
            (base / "project" / "mlruns").rename(base / "mlruns")
            (base / "done").write_bytes(pickle.dumps(done))
    return base


def copied(retrained: Path, root: Path) -> Project:
    """Return a project of one's own as it was after its retrain, at another place."""
    shutil.copytree(retrained / "project", root, symlinks=True)
    shutil.copytree(retrained / "mlruns", root / "mlruns", symlinks=True)
    done = pickle.loads((retrained / "done").read_bytes())
    project = Project(root, done)
    pointer = pointer_of(project.layout)
    done.released = replace(done.released, pointer=pointer, file=pointer.resolve())
    project.client.search_experiments()
    # MLflow remembers by a run's id where its files lie: for this process, in the copy before.
    utils._artifact_repos_cache.clear()
    return project


@pytest.fixture(scope="session")
def first(retrained: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project that was retrained once, for all tests that only look."""
    with one_name():
        return copied(retrained, tmp_path_factory.mktemp("first") / "project")


@pytest.fixture
def project(retrained: Path, tmp_path: Path, _one_name: None) -> Project:
    """A copy of the retrained project to go on from."""
    return copied(retrained, tmp_path / "project")


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    """What DVC was asked for, while it has nothing to do."""
    asked: list[tuple] = []
    monkeypatch.setattr(dvc, "repro", lambda root, *words, **_: asked.append(words))
    return asked
