"""Shared by several rooms: a workspace with a real sqlite registry and small real models in it."""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

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


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make one empty store for all processes of a test run, to be copied: making one takes seconds."""
    from filelock import FileLock

    from lockstep.registry.store import prepare_sqlite

    own = tmp_path_factory.getbasetemp()
    # With xdist each worker's folder lies in the run's own; without, the parent is that of other runs too.
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "empty store"
    folder.mkdir(exist_ok=True)
    with FileLock(folder / "lock"):
        prepare_sqlite(folder / "mlflow.db", folder)
    return folder / "mlflow.db"


@dataclass
class Workspace:
    """A project's folder with its own registry."""

    root: Path
    client: Any

    def register(self, name: str, pipeline: Any, **tags: Any) -> int:
        """Register a pipeline as a version of its own, as publish does: artifact, digest, schema, golden rows."""
        from lockstep.models.artifact import digest_of, write_artifact
        from lockstep.models.golden import golden_content, golden_outputs, golden_rows
        from lockstep.problems.schema import load_schema

        schema = load_schema("accidents")
        folder = self.root / "artifacts" / f"{name}-{len(list(self.root.glob('artifacts/*')))}"
        folder.mkdir(parents=True)
        write_artifact(pipeline, folder / "model.skops")
        shutil.copy(PROJECT / "src/lockstep/problems/accidents/schema.yaml", folder)
        rows = golden_rows(schema)
        golden = golden_content(rows, golden_outputs(pipeline, rows))
        (folder / "golden.json").write_text(json.dumps(golden))
        told = {
            "stage": "None",
            "model_digest": digest_of((folder / "model.skops").read_bytes(), folder / "none"),
            "problem": "accidents",
            "type": "logistic_regression",
            "threshold": 0.4,
            **tags,
        }
        if not self.client.search_registered_models(f"name = '{name}'"):
            self.client.create_registered_model(name)
        run = self.client.create_run("0", tags={"mlflow.runName": name})
        written = {f"lockstep.{key}": str(value) for key, value in told.items() if value is not None}
        made = self.client.create_model_version(name, str(folder), run.info.run_id, tags=written)
        return int(made.version)

    def artifact(self, name: str, version: int) -> Path:
        """Return the folder of a version's artifact in the registry."""
        return Path(self.client.get_model_version(name, str(version)).source)


@pytest.fixture
def home(empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """Make a workspace with the project's own params and an empty registry, and go there."""
    from lockstep.config.settings import load_settings
    from lockstep.registry.store import connect

    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    root = tmp_path / "a project"
    root.mkdir()
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(PROJECT / name, root)
    shutil.copy(empty_store, root / "mlflow.db")
    monkeypatch.chdir(root)
    return Workspace(root, connect(load_settings(root, environ={}), root))


def _pipeline(sign: float) -> Any:
    """Fit a small model of accidents: ``sign`` says which way it goes by the speed limit."""
    import numpy as np
    from sklearn.tree import DecisionTreeClassifier

    from lockstep.models.golden import golden_rows
    from lockstep.problems.schema import load_schema

    rows = golden_rows(load_schema("accidents"), seed=3)
    target = (sign * np.nan_to_num(rows["vma"].to_numpy()) > sign * 300).astype(int)
    return DecisionTreeClassifier(max_depth=3, random_state=0).fit(rows, target)


@pytest.fixture(scope="session")
def pipeline() -> Any:
    """Return a small model by which speed is dangerous."""
    return _pipeline(1.0)


@pytest.fixture(scope="session")
def other_pipeline() -> Any:
    """Return a small model by which speed is safe."""
    return _pipeline(-1.0)
