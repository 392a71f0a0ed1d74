"""Types that no shipped problem uses.

They are trained, registered, loaded after checks, predicted, served and explained.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from tests.models.conftest import PARAMS, make_rows, make_workspace
from tests.registry.loaded import load_version

import lockstep
from lockstep.audit.bundle import export
from lockstep.audit.bundle_checks import verify_folder
from lockstep.checks import FAILED
from lockstep.config.layout import ProblemLayout
from lockstep.config.serving import load_serving
from lockstep.config.settings import load_settings
from lockstep.data.records import records_to_table
from lockstep.io import read_json
from lockstep.models import train_multi_model
from lockstep.models.artifact import model_digest
from lockstep.models.naming import registered_name
from lockstep.models.scoring.prediction import predict
from lockstep.models.type_metrics import read_type_metrics
from lockstep.models.workspace import load_file
from lockstep.registry.store import connection
from lockstep.registry.train_stage import publish_training
from lockstep.serving.loaded_model import CheckedModel, prepare

PROJECT = Path(__file__).parents[2]
TYPES = {
    "extra_trees": "{n_estimators: 8, min_samples_leaf: 5}",
    "hist_gradient_boosting": "{max_iter: 40, learning_rate: 0.2, max_leaf_nodes: 7}",
    "blend": "{members: {logistic_regression: {bins: 6}, random_forest: {n_estimators: 8}, "
    "xgboost: {n_estimators: 40, learning_rate: 0.2}}}",
}


@pytest.fixture(scope="module", params=TYPES)
def trained(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, empty_store: Path
) -> tuple[Path, str]:
    """A workspace where one of the types was trained."""
    name, root = request.param, tmp_path_factory.mktemp("new_types")
    make_workspace(root)
    rows = "".join(
        f"  accidents-{kind}: {{problem: accidents, type: {kind}, calibration: sigmoid, "
        f"early_stopping_rounds: 5, params: {params}}}\n"
        for kind, params in TYPES.items()
    )
    declared = "logistic_regression, random_forest, xgboost, lightgbm"
    text = PARAMS.replace(declared, f"{declared}, {', '.join(TYPES)}") + rows
    (root / "params.yaml").write_text(text)
    for file in ("dvc.yaml", "requirements.lock"):
        shutil.copyfile(PROJECT / file, root / file)
    train_multi_model.run(root, "accidents", name)
    (root / "mlflow.db").write_bytes(empty_store.read_bytes())
    return root, name


def test_a_training_is_registered_loaded_predicted_and_served(
    trained: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, name = trained
    monkeypatch.chdir(root)
    layout = ProblemLayout(root, "accidents")
    metrics = read_type_metrics(layout, name)
    assert metrics["validation"]["roc_auc"] > 0.6
    assert publish_training(root, "accidents", name).new
    client = connection.connect(load_settings(root), root)
    registered = load_version(client, root, registered_name("accidents", name), version=1)
    here = load_file(layout.model(name), root)
    rows = make_rows(60, seed=9)
    assert np.array_equal(registered.score(rows), here.score(rows))
    record = json.loads((PROJECT / "src/models/test_features.json").read_text())
    table = records_to_table(here.schema, [record])
    assert predict(registered, [record])[0]["probability"] == here.score(table)[0]
    served = prepare(CheckedModel(registered, "registry", ""), load_serving(root))
    columns = {column: rows[column].to_numpy(dtype=float) for column in rows}
    assert np.array_equal(served.scorer.score(columns, len(rows)), here.score(rows))
    found = served.explainer.explain(columns, len(rows))
    assert found.base + found.values.sum(axis=1) == pytest.approx(found.margin, abs=1e-5)


GOLDEN = """
import json, sys
sys.path = [path for path in sys.path if path != sys.argv[2]]
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in repr(finder).lower()]
import mlflow, pandas as pd
golden = json.load(open(sys.argv[1] + "/golden.json"))
rows = pd.DataFrame(golden["rows"], columns=golden["columns"]).astype("float64")
found = mlflow.pyfunc.load_model(sys.argv[1]).predict(rows)[:, 1]
assert max(abs(found - golden["outputs"])) <= 1e-6
import lockstep
print(*lockstep.__path__)
"""


@pytest.mark.long
def test_a_version_is_exported_checked_and_predicts_without_this_project(
    trained: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, name = trained
    monkeypatch.chdir(root)
    publish_training(root, "accidents", name)
    client, out = connection.connect(load_settings(root), root), tmp_path / "out"
    export(client, root, registered_name("accidents", name), out, version=1)
    assert [found for found in verify_folder(out) if found.verdict == FAILED] == []
    source = str(Path(lockstep.__file__).parents[1])
    words = ["-I", "-W", "ignore", "-c", GOLDEN, str(out / "model"), source]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(out / "model" / "code" / "lockstep")]


DIGEST = """
import sys
from pathlib import Path
from lockstep.models.artifact import model_digest
from lockstep.models.train_multi_model import read_job
from lockstep.models.training_run import train
from lockstep.config.layout import ProblemLayout
print(model_digest(train(read_job(\
ProblemLayout(Path(sys.argv[1]), "accidents"), sys.argv[2])).pipeline))
"""


@pytest.mark.long
@pytest.mark.parametrize("threads", ["1", "2"])
def test_another_process_with_other_threads_trains_the_same_model(
    trained: tuple[Path, str], threads: str
) -> None:
    root, name = trained
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": threads,
        "PYTHONHASHSEED": "7",
        "TZ": "Asia/Tokyo",
    }
    command = [sys.executable, "-W", "ignore", "-c", DIGEST, str(root), name]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    card = read_json(ProblemLayout(root, "accidents").model_card(name))
    assert done.stdout.split()[-1] == card["model_digest"]


def test_a_boosters_artifact_holds_no_thread_count() -> None:
    rng = np.random.default_rng(0)
    rows, made = rng.normal(size=(200, 3)), []
    for threads in (1, 2):
        model = HistGradientBoostingClassifier(max_iter=3).fit(rows, rows[:, 0] > 0)
        model._bin_mapper.set_params(n_threads=threads)
        made.append(model_digest(model))
    assert made[0] != made[1], "scikit-learn no longer stores it: hist_gradient_boosting need not"
