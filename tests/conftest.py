"""Shared by several rooms: a workspace with a real sqlite registry and small real models in it."""

import gc
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from tests import warm
from tests.registry_workspace import empty_database, make, server, server_factory, workspace

from lockstep.preload.process import is_possible

__all__ = ["empty_database", "make", "server", "server_factory", "workspace"]

# A busy machine is no fault of an example; pytest's own timeout bounds the test.
settings.register_profile("lockstep", deadline=None)
settings.load_profile("lockstep")

PROJECT = Path(__file__).parents[1]
VARIABLES = (
    "DAGSHUB_REPO",
    "DVC_ROOT",
    "DVC_STAGE",
    "LOCKSTEP_PUBLISH",
    "MLFLOW_TRACKING_URI",
    "USE_BEST_MODEL",
    "USE_MLFLOW_PRODUCTION",
)
"""What the environment of whoever runs the tests may say, and the tests must not hear."""


# Spinning threads take the processor from the tests beside them. Read once, when the first
# booster is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# In repositories that tests make, each command of DVC would leave a file of analytics behind.
os.environ.setdefault("DVC_NO_ANALYTICS", "true")


MEMORY = Path("/dev/shm")
"""Where Linux keeps files in memory: each of a registry's commits waits for a disk otherwise."""
NEEDED = 8 * 2**30
"""Bytes that must be free there."""


def temporary_folder() -> Path | None:
    """Return the folder in memory for temporary files; None where it is small or runs no program.

    A folder that the user names by TMPDIR is used instead.
    """
    if "TMPDIR" in os.environ or not MEMORY.is_dir() or not os.access(MEMORY, os.W_OK):
        return None
    if os.statvfs(MEMORY).f_flag & os.ST_NOEXEC or shutil.disk_usage(MEMORY).free < NEEDED:
        return None
    return MEMORY


def pytest_configure(config: pytest.Config) -> None:
    """Start the process that runs the tests' commands, once for all workers."""
    if folder := temporary_folder():
        os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
    first = "PYTEST_XDIST_WORKER" not in os.environ and warm.VARIABLE not in os.environ
    if first and is_possible():
        config.add_cleanup(warm.Warm().stop)
    warm.adopt()


LONGEST = (
    "journey/test_readme.py",
    "shared/test_registry_suite.py",
    "journey",
    "registry/test_register_models.py",
    "promotion/test_if_better.py",
    "shared",
)
"""Folders and files that take longest, in the order in which the processes take them up."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest: at the end of a run no process waits for another."""

    def place(item: pytest.Item) -> int:
        path = item.path.relative_to(Path(__file__).parent).as_posix()
        return next((n for n, name in enumerate(LONGEST) if path.startswith(name)), len(LONGEST))

    items.sort(key=place)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Spare the garbage collector what stays to the end: the libraries and the collected tests."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make one empty store for all processes of a run to copy: making one takes seconds."""
    from filelock import FileLock

    from lockstep.registry.store.local_database import prepare_sqlite

    own = tmp_path_factory.getbasetemp()
    # With xdist each worker's folder lies in the run's own;
    # without it, the parent is that of other runs too.
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "empty store"
    folder.mkdir(exist_ok=True)
    with FileLock(folder / "lock"):
        prepare_sqlite(folder / "mlflow.db", folder)
    return folder / "mlflow.db"


@cache
def _artifact(pipeline: Any) -> dict[str, bytes]:
    """Return the files of a pipeline's artifact.

    They are made once, as most tests register the same two models.
    """
    from lockstep.models.artifact import canonical_bytes
    from lockstep.models.golden_rows import golden_content, golden_outputs, golden_rows
    from lockstep.problems.schema import load_schema

    rows = golden_rows(load_schema("accidents"))
    golden = golden_content(rows, golden_outputs(pipeline, rows))
    return {
        "model.skops": canonical_bytes(pipeline),
        "golden.json": json.dumps(golden).encode(),
        "schema.yaml": (PROJECT / "src/lockstep/problems/accidents/schema.yaml").read_bytes(),
    }


@dataclass
class Workspace:
    """A project's folder with its own registry."""

    root: Path
    client: Any

    def register(self, name: str, pipeline: Any, **tags: Any) -> int:
        """Register a pipeline as a version of its own, as publish does.

        It has an artifact, a digest, a schema and golden rows.
        """
        from lockstep.models.artifact import digest_of

        folder = self.root / "artifacts" / f"{name}-{len(list(self.root.glob('artifacts/*')))}"
        folder.mkdir(parents=True)
        content = _artifact(pipeline)
        for file, written in content.items():
            (folder / file).write_bytes(written)
        told = {
            "stage": "None",
            "model_digest": digest_of(content["model.skops"], folder / "none"),
            "problem": "accidents",
            "type": "logistic_regression",
            "threshold": 0.4,
            **tags,
        }
        if not self.client.search_registered_models(f"name = '{name}'"):
            self.client.create_registered_model(name)
        run = self.client.create_run("0", tags={"mlflow.runName": name})
        written = {
            f"lockstep.{key}": str(value) for key, value in told.items() if value is not None
        }
        made = self.client.create_model_version(name, str(folder), run.info.run_id, tags=written)
        return int(made.version)

    def artifact(self, name: str, version: int) -> Path:
        """Return the folder of a version's artifact in the registry."""
        return Path(self.client.get_model_version(name, str(version)).source)


@pytest.fixture(scope="session")
def new_home() -> Callable[[Path, Path], Workspace]:
    """Return what makes a workspace at a path: the project's params and a copy of a store."""
    return _new_home


def _new_home(root: Path, database: Path) -> Workspace:
    from lockstep.config.settings import load_settings
    from lockstep.registry.store.connection import connect

    root.mkdir()
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(PROJECT / name, root)
    shutil.copy(database, root / "mlflow.db")
    return Workspace(root, connect(load_settings(root, environ={}), root))


@pytest.fixture
def _heard_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def home(
    empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, _heard_nothing: None
) -> Workspace:
    """Make a workspace with the project's own params and an empty registry, and go there."""
    made = _new_home(tmp_path / "a project", empty_store)
    monkeypatch.chdir(made.root)
    return made


@pytest.fixture
def home_like(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, _heard_nothing: None
) -> Callable[[Workspace], Workspace]:
    """Go to a new workspace whose registry copies another's; the artifacts stay where they are."""

    def copy(filled: Workspace) -> Workspace:
        made = _new_home(tmp_path / "a project", filled.root / "mlflow.db")
        monkeypatch.chdir(made.root)
        return made

    return copy


@pytest.fixture(scope="session", autouse=True)
def _interruptible() -> None:
    """Let child processes hear SIGINT also where this run ignores it, as `command &` makes it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _pipeline(sign: float) -> Any:
    """Fit a small model of accidents: ``sign`` says which way it goes by the speed limit."""
    import numpy as np
    from sklearn.ensemble import RandomForestClassifier

    from lockstep.config.params import Features
    from lockstep.features.encoder import encoder_of
    from lockstep.models.golden_rows import golden_rows
    from lockstep.models.training import pipeline_of
    from lockstep.problems.schema import load_schema

    schema = load_schema("accidents")
    rows = golden_rows(schema, seed=3)
    target = (sign * np.nan_to_num(rows["vma"].to_numpy()) > sign * 300).astype(int)
    encoder = encoder_of(schema.model_copy(update={"derived": []}), Features())
    encoded = encoder.fit_transform(rows, target)
    tree = RandomForestClassifier(
        1, max_depth=3, bootstrap=False, max_features=None, random_state=0
    )
    return pipeline_of(encoder, tree.fit(encoded, target))


@pytest.fixture(scope="session")
def pipeline() -> Any:
    """Return a small model by which speed is dangerous."""
    return _pipeline(1.0)


@pytest.fixture(scope="session")
def other_pipeline() -> Any:
    """Return a small model by which speed is safe."""
    return _pipeline(-1.0)
