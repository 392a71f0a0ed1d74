"""With `mlflow.autolog: true`, a run also holds what mlflow.sklearn.autolog() logs, and once."""

import warnings
from pathlib import Path

import mlflow
import numpy as np
import pytest
from sklearn import metrics as reference
from sklearn.base import clone
from tests.registry_workspace import small_pipeline

from lockstep.config.layout import ProblemLayout
from lockstep.config.settings import CONFIG_FILE, load_settings
from lockstep.features.matrix_columns import GROUP, ROW, TARGET
from lockstep.io import read_json, write_json, write_parquet
from lockstep.models.golden_rows import golden_rows
from lockstep.models.matrices import Matrix, read_matrix
from lockstep.problems.schema import load_schema
from lockstep.registry.publishing.autolog import training_metrics
from lockstep.registry.store import connection
from lockstep.registry.train_stage import publish_training
from lockstep.registry.trained_models import register_models

LINEAR, FOREST = "logistic_regression", "random_forest"


@pytest.fixture
def root(workspace: Path) -> Path:
    """The small workspace with training rows, and autolog on."""
    layout = ProblemLayout(workspace, "accidents")
    layout.features.unlink()
    rows = golden_rows(load_schema("accidents"), seed=1)
    target = (rows["hour"].fillna(0) + rows["lum"].fillna(0) > 12).to_numpy().astype(np.int8)
    encoded = small_pipeline(LINEAR)[:-1].transform(rows)
    number = np.arange(len(rows))
    write_parquet(
        layout.matrix("train"), encoded.assign(**{TARGET: target, GROUP: number, ROW: number})
    )
    for kind in (LINEAR, FOREST):
        card = read_json(layout.model_card(kind))
        card["rows"]["train"] = len(rows)
        write_json(layout.model_card(kind), card | {"encoded_names": list(encoded)}, digits=None)
    (workspace / CONFIG_FILE).parent.mkdir(parents=True)
    (workspace / CONFIG_FILE).write_text("mlflow: {autolog: true}\n")
    return workspace


def train_rows(root: Path) -> Matrix:
    return read_matrix(ProblemLayout(root, "accidents"), "train")


def run_of(root, run_id):
    return connection.connect(load_settings(root), root).get_run(run_id)


def autologged(model, rows, store):
    """What MLflow logs of the same fit by itself."""
    mlflow.set_tracking_uri(f"sqlite:///{store}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow.sklearn.autolog(log_models=False, log_datasets=False, silent=True)
        with mlflow.start_run() as own:
            clone(model).fit(rows.features, rows.target)
        mlflow.sklearn.autolog(disable=True)
    found = mlflow.get_run(own.info.run_id).data
    mlflow.set_tracking_uri(None)
    return found


def test_the_run_has_the_names_and_figures_of_autologging_the_same_fit(root, tmp_path, empty_store):
    data = run_of(root, publish_training(root, "accidents", LINEAR).run_id).data
    store = tmp_path / "own.db"
    store.write_bytes(empty_store.read_bytes())
    expected = autologged(small_pipeline(LINEAR)[-1], train_rows(root), store)
    assert set(expected.params) <= set(data.params)
    assert data.params["estimator__C"] == expected.params["estimator__C"]
    for name in ("estimator_name", "estimator_class"):
        assert data.tags[name] == expected.tags[name]
    assert {"training_score", "training_f1_score", "training_roc_auc"} <= set(expected.metrics)
    for name, value in expected.metrics.items():
        assert data.metrics[name] == pytest.approx(value, rel=0.02), name


def test_there_is_one_run_and_one_model_and_register_logs_the_same(
    root, make, empty_database, capsys
):
    found = []
    for publish in (lambda: publish_training(root, "accidents", FOREST), lambda: registered(root)):
        make.new_store(root, empty_database)
        run = run_of(root, publish().run_id)
        client = connection.connect(load_settings(root), root)
        assert len(client.search_runs([run.info.experiment_id])) == 1
        assert len(run.outputs.model_outputs) == 1
        measured = {k: v for k, v in run.data.metrics.items() if k.startswith("training_")}
        found.append((measured, run.data.params))
    assert found[0] == found[1]
    assert found[0][0]
    assert "training_" not in capsys.readouterr().err


def registered(root):
    (done,) = register_models(root, "accidents", [FOREST])
    return done


def test_without_the_training_rows_a_line_says_so_and_the_model_is_registered(root, capsys):
    ProblemLayout(root, "accidents").matrix("train").unlink()
    done = publish_training(root, "accidents", LINEAR)
    assert done.version == 1
    told = f"accidents {LINEAR}: no training_ metrics: no training rows in this workspace"
    assert told in capsys.readouterr().err
    data = run_of(root, done.run_id).data
    assert data.tags["estimator_name"] == "Pipeline"
    assert not [name for name in data.metrics if name.startswith("training_")]


def test_the_rows_of_another_training_are_not_taken(root, capsys):
    layout = ProblemLayout(root, "accidents")
    card = read_json(layout.model_card(LINEAR))
    card["rows"]["train"] += 1
    write_json(layout.model_card(LINEAR), card, digits=None)
    publish_training(root, "accidents", LINEAR)
    assert "no training_ metrics" in capsys.readouterr().err


def test_it_is_off_by_default(root):
    (root / CONFIG_FILE).unlink()
    data = run_of(root, publish_training(root, "accidents", LINEAR).run_id).data
    assert "estimator_name" not in data.tags
    assert not [name for name in data.metrics if name.startswith("training_")]


def test_a_regression_has_its_own_metrics():
    target = np.array([1.0, 2.0, 4.0])

    class Constant:
        def predict(self, _):
            return np.full(3, 2.0)

    rows = Matrix(None, target, target, target)
    found = training_metrics(Constant(), rows, "regression")
    assert found["training_mean_squared_error"] == pytest.approx(5 / 3)
    assert found["training_score"] == found["training_r2_score"]
    assert found["training_r2_score"] == pytest.approx(reference.r2_score(target, [2, 2, 2]))
