"""xgboost and lightgbm models for the loaders of their own flavors.

They load alone, to the same bits, and the sums cover them.
"""

import hashlib
import os
import pickle
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import joblib
import mlflow
import mlflow.lightgbm
import mlflow.sklearn
import mlflow.xgboost
import numpy as np
import pandas as pd
import pytest
import yaml
from mlflow.exceptions import MlflowException
from sklearn.pipeline import Pipeline
from tests.registry.loaded import load_version

from lockstep.audit.verify import verify
from lockstep.config.layout import ProblemLayout
from lockstep.config.settings import load_settings
from lockstep.errors import ArtifactError
from lockstep.features.columns_v1 import ColumnEncoder
from lockstep.io import read_json, sha256_file, write_json
from lockstep.models import training
from lockstep.models.artifact import digest_of, model_digest
from lockstep.models.calibration import base_estimator, calibrated
from lockstep.models.golden_rows import golden_rows
from lockstep.models.matrices import Columns, Matrix
from lockstep.models.model_type import Recipe
from lockstep.problems.schema import load_schema
from lockstep.registry.artifact import files, packaging
from lockstep.registry.artifact.packaging import native_of
from lockstep.registry.lifecycle.moves import transition
from lockstep.registry.publishing.runs import Record, log_run
from lockstep.registry.store import connection
from lockstep.registry.train_stage import publish_training

PROJECT = Path(__file__).parents[2]
FILES = {"lightgbm": "lightgbm.skops", "xgboost": "xgboost.json"}
LOADERS: dict[str, ModuleType] = {"lightgbm": mlflow.lightgbm, "xgboost": mlflow.xgboost}
PARAMS: dict[str, dict[str, Any]] = {
    "lightgbm": {"n_estimators": 20, "learning_rate": 0.2, "num_leaves": 7},
    "xgboost": {"n_estimators": 20, "learning_rate": 0.2, "max_depth": 3},
}
CALIBRATION = {"binary": "sigmoid", "multiclass": "temperature", "regression": "none"}
CASES = [(name, task) for name in FILES for task in CALIBRATION]
NAME = "Accident_Prediction_LightGBM"


@cache
def boosted(name: str, task: str) -> Pipeline:
    """A fitted pipeline of the accidents: encoder, booster with native categories, calibration."""
    schema = load_schema("accidents")
    declared = [
        {"name": c.name, "kind": c.kind, "codes": list(c.codes), "encode": c.encode}
        for c in schema.features
    ]
    encoder = ColumnEncoder(declared, [], task=task)
    parts: list[Matrix] = []
    for number in range(2):
        rows = golden_rows(schema, 600, seed=number + 1)
        noise = np.random.default_rng(number).normal(size=len(rows))
        margin = (
            1.5 * (rows["agg_"] == 1)
            + rows["hour"].fillna(12) / 12
            + np.sin(rows["catv"].fillna(0))
            + noise / 2
        )
        cuts = {"binary": [1.5], "multiclass": [1.0, 2.0], "regression": []}[task]
        target = np.digitize(margin, cuts).astype(np.int8) if cuts else margin.to_numpy()
        encoded = encoder.transform(rows) if number else encoder.fit_transform(rows, target)
        parts.append(Matrix(encoded, target, np.arange(len(rows)), np.arange(len(rows))))
    kinds = {
        str(column): str(encoder.feature_kinds_[column])
        for column in encoder.get_feature_names_out()
    }
    assert "categorical" in kinds.values()
    model = training.fit(name, Recipe(task, Columns(kinds), PARAMS[name]), *parts, 5).estimator
    stop = parts[1]
    return training.pipeline_of(
        encoder, calibrated(CALIBRATION[task], model, stop.features, stop.target, task)
    )


def packed(name: str, task: str) -> packaging.Package:
    schema = load_schema("accidents").model_copy(update={"task": task})
    pipeline = boosted(name, task)
    card = {
        "problem": "accidents",
        "type": name,
        "model_digest": model_digest(pipeline),
        "score_scale": "probability",
        "calibration": CALIBRATION[task],
    }
    return packaging.package(pipeline, schema, card)


def logged(root: Path, name: str, task: str, uri: str = "") -> str:
    """Log one model to a store of its own, or to a server; return its address by run."""
    settings = load_settings(root, {"tracking_uri": uri})
    client = connection.connect(settings, root)
    with connection.fluent(client.tracking_uri):
        run = log_run(client, "0", Record(name, {}), None, packed(name, task))
    return f"runs:/{run.run_id}/model"


@pytest.fixture
def pointed(workspace: Path) -> Iterator[Path]:
    """A workspace with MLflow's global functions pointed at its store."""
    with connection.fluent(f"sqlite:///{workspace}/mlflow.db"):
        yield workspace


def rows_of(pipeline: Pipeline) -> Any:
    """Rows that it has not seen, unknown and missing values among them, encoded."""
    return pipeline[:-1].transform(golden_rows(load_schema("accidents"), seed=9))


@pytest.mark.parametrize(("name", "task"), CASES)
def test_the_booster_comes_back_as_it_is_inside_the_artifact(
    pointed: Path, name: str, task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = logged(pointed, name, task)
    if name == "xgboost":
        monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    native = LOADERS[name].load_model(uri)
    monkeypatch.delenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", raising=False)
    whole = mlflow.sklearn.load_model(uri)
    inside, encoded = base_estimator(whole[-1]), rows_of(whole)
    assert type(native) is type(inside)
    margin = {"raw_score": True} if name == "lightgbm" else {"output_margin": True}
    assert np.array_equal(native.predict(encoded, **margin), inside.predict(encoded, **margin))
    assert np.array_equal(native.predict(encoded), inside.predict(encoded))
    assert len(np.unique(native.predict(encoded, **margin))) > 50
    if task != "regression":
        assert np.array_equal(native.predict_proba(encoded), inside.predict_proba(encoded))
        assert list(native.classes_) == list(inside.classes_)
        raw = golden_rows(load_schema("accidents"), seed=9)
        assert np.abs(whole.predict_proba(raw) - native.predict_proba(encoded)).max() > 1e-3, (
            "not calibrated"
        )


@pytest.mark.parametrize(("name", "task", "without"), [
    ("lightgbm", "binary", ["encoder", "calibration (sigmoid)"]),
    ("xgboost", "regression", ["encoder"]),
])  # fmt: skip
def test_the_card_says_what_the_file_is_and_has_not(
    pointed: Path, name: str, task: str, without: list[str]
) -> None:
    folder = Path(mlflow.artifacts.download_artifacts(logged(pointed, name, task)))
    told = read_json(folder / files.CARD)["native"]
    assert (told["flavor"], told["file"], told["leaves_out"]) == (name, FILES[name], without)
    declared = yaml.safe_load((folder / "MLmodel").read_text())["flavors"]
    assert set(declared) == {"python_function", "sklearn", name}
    assert declared["python_function"]["loader_module"] == "mlflow.sklearn"
    assert declared[name]["model_class"] == told["model_class"]
    assert read_json(folder / files.SUMS)[FILES[name]] == sha256_file(folder / FILES[name])


@pytest.mark.parametrize(("name", "task"), [("lightgbm", "binary"), ("xgboost", "regression")])
def test_a_json_record_reaches_pyfunc_as_the_docs_type_it(
    pointed: Path, name: str, task: str
) -> None:
    uri = logged(pointed, name, task)
    rows = golden_rows(load_schema("accidents"), seed=9)
    text = (PROJECT / "docs" / "registry.md").read_text()
    lines = next(
        block for block in re.findall(r"```python\n(.+?)```", text, re.DOTALL) if "record" in block
    )
    model, whole = mlflow.pyfunc.load_model(uri), mlflow.sklearn.load_model(uri)
    for place in range(5):
        row = rows.iloc[[place]]
        record = {name: whole_number(value) for name, value in row.iloc[0].items()}
        with pytest.raises(MlflowException, match="Can not safely convert"):
            model.predict(pd.DataFrame([record]))
        told: dict[str, Any] = {"mlflow": mlflow, "pd": pd, "uri": uri, "record": record}
        exec(lines, told)
        wanted = whole.predict_proba(row) if task == "binary" else whole.predict(row)
        assert np.array_equal(told["answer"], wanted)


def whole_number(value: Any) -> Any:
    """Return a value as JSON has it: null where there is none, a whole number without a point."""
    if pd.isna(value):
        return None
    return int(value) if isinstance(value, float) and value.is_integer() else value


def test_other_tools_still_read_the_whole_pipeline(pointed: Path) -> None:
    served = mlflow.pyfunc.load_model(logged(pointed, "lightgbm", "binary"))
    expected = boosted("lightgbm", "binary").predict_proba(served.input_example)
    assert np.array_equal(served.predict(served.input_example), expected)


def test_the_digest_is_that_of_the_artifact_as_before() -> None:
    made = packed("lightgbm", "binary")
    assert made.native is not None
    assert digest_of(made.content) == model_digest(boosted("lightgbm", "binary"))


@pytest.mark.parametrize("kind", ["logistic_regression", "random_forest"])
def test_other_types_have_no_flavor_of_their_own(make: Any, kind: str) -> None:
    assert native_of(make.pipeline(kind)) is None


ELSEWHERE = """
import hashlib, sys, joblib
from lockstep.registry.artifact.packaging import native_of
for path in sys.argv[1:]:
    print(hashlib.sha256(native_of(joblib.load(path)).content).hexdigest())
"""


def test_the_bytes_are_the_same_in_another_process(tmp_path: Path) -> None:
    for name, task in CASES:
        joblib.dump(boosted(name, task), tmp_path / f"{name}-{task}")
    paths = [str(tmp_path / f"{name}-{task}") for name, task in CASES]
    environment = {**os.environ, "PYTHONHASHSEED": "7", "OMP_NUM_THREADS": "1", "TZ": "Asia/Tokyo"}
    told = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, *paths],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    ).stdout.split()
    made = [native_of(boosted(*case)) for case in CASES]
    assert told == [hashlib.sha256(native.content).hexdigest() for native in made if native]


OUTSIDE = """
import importlib.util, sys
sys.path = [p for p in sys.path if not p.rstrip("/").endswith("/src")]
sys.meta_path = [f for f in sys.meta_path if "editable" not in repr(f).lower()]
assert importlib.util.find_spec("lockstep") is None
import mlflow, mlflow.lightgbm, mlflow.xgboost
mlflow.set_tracking_uri(sys.argv[1])
for loader, uri in zip((mlflow.lightgbm, mlflow.xgboost), sys.argv[2:]):
    print(type(loader.load_model(uri)).__name__)
assert not [name for name in sys.modules if name.startswith("lockstep")]
"""


def test_through_a_server_where_the_project_is_not_installed(
    workspace: Path, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    uris = [logged(workspace, name, "binary", server.uri) for name in ("lightgbm", "xgboost")]
    monkeypatch.delenv("PYTHONPATH", raising=False)
    command = [sys.executable, "-W", "ignore", "-c", OUTSIDE, server.uri, *uris]
    told = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, cwd=workspace.parent, check=True
    ).stdout
    assert told.split() == ["LGBMClassifier", "XGBClassifier"]


# ---------------------------------------------------------------- registered


@pytest.fixture
def trained(workspace: Path, make: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace whose one training is a calibrated lightgbm model."""
    layout, pipeline = ProblemLayout(workspace, "accidents"), boosted("lightgbm", "binary")
    make.training(workspace, "lightgbm")
    joblib.dump(pipeline, layout.model("lightgbm"), compress=("lz4", 3), protocol=5)
    own = {
        "model_digest": model_digest(pipeline),
        "file_sha256": sha256_file(layout.model("lightgbm")),
    }
    card = read_json(layout.model_card("lightgbm")) | own | {"calibration": "sigmoid"}
    write_json(layout.model_card("lightgbm"), card, digits=None)
    shutil.copyfile(PROJECT / "params.yaml", workspace / "params.yaml")
    make.declare(workspace, "lightgbm")
    monkeypatch.chdir(workspace)
    return workspace


def failed(root: Path) -> dict[str, str]:
    client = connection.connect(load_settings(root), root)
    return {f.name: f.message for f in verify(client, root, NAME) if f.failed}


def stored(root: Path) -> Path:
    return next(root.glob("mlruns/*/models/*/artifacts"))


class Bomb:
    """Leaves a folder behind when it is unpickled."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("exploded",)


def test_verify_finds_a_swapped_file_and_our_loader_never_opens_it(trained: Path) -> None:
    publish_training(trained, "accidents", "lightgbm")
    assert failed(trained) == {}
    file = stored(trained) / FILES["lightgbm"]
    other = native_of(boosted("lightgbm", "multiclass"))
    assert other is not None
    file.write_bytes(other.content)
    assert failed(trained)["files"] == f"changed: {file.name}"
    file.write_bytes(pickle.dumps(Bomb()))
    assert "a pickle, which is never loaded" in failed(trained)["types"]
    client = connection.connect(load_settings(trained), trained)
    with pytest.raises(ArtifactError, match=f"changed since it was registered: {file.name}"):
        load_version(client, trained, NAME, version=1)
    file.unlink()
    assert failed(trained)["files"] == f"missing: {file.name}"
    assert not Path("exploded").exists()


def test_mlflow_loads_what_is_in_production_by_its_alias(trained: Path) -> None:
    publish_training(trained, "accidents", "lightgbm")
    client = connection.connect(load_settings(trained), trained)
    uri = f"models:/{NAME}@production"
    with connection.fluent(client.tracking_uri):
        with pytest.raises(MlflowException, match="alias production not found"):
            mlflow.sklearn.load_model(uri)
        transition(client, NAME, 1, "Production")
        loaded = mlflow.sklearn.load_model(uri)
        native = mlflow.lightgbm.load_model(uri)
    rows = golden_rows(load_schema("accidents"), seed=9)
    pipeline = boosted("lightgbm", "binary")
    assert np.array_equal(loaded.predict_proba(rows), pipeline.predict_proba(rows))
    assert native.n_estimators == PARAMS["lightgbm"]["n_estimators"]


def test_a_version_of_before_is_well_and_not_registered_twice(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as before:
        before.setattr(packaging, "native_of", lambda _: None)
        assert publish_training(trained, "accidents", "lightgbm").new
    assert not (stored(trained) / FILES["lightgbm"]).exists()
    assert "native" not in read_json(stored(trained) / files.CARD)
    again = publish_training(trained, "accidents", "lightgbm")
    assert (again.version, again.new) == (1, False)
    assert failed(trained) == {}
