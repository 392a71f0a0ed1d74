"""A regression from its sample to the registry, and back from it with data and models gone."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import yaml
from tests.registry.loaded import load_version

from lockstep.commands.manage_registry import main as manage
from lockstep.commands.predict_model import main as predict
from lockstep.config.layout import ProblemLayout
from lockstep.config.params import Preprocess, Sample
from lockstep.data.preprocess import tidy
from lockstep.errors import ArtifactError
from lockstep.evaluation.metrics import evaluate
from lockstep.features import build_features
from lockstep.io import read_json, write_parquet
from lockstep.models import compare_models, train_multi_model
from lockstep.models.type_metrics import read_type_metrics
from lockstep.problems.california_housing.sample import write_sample
from lockstep.problems.schema import load_schema
from lockstep.promotion.holdout import all_rows
from lockstep.promotion.previous_versions import scores_of
from lockstep.registry.publishing.outputs import read_outputs
from lockstep.registry.publishing.rolling import rolling_table
from lockstep.registry.record.registered_models import get_model
from lockstep.registry.store.names import PARENT_TAG
from lockstep.registry.store.opening import open_registry
from lockstep.registry.trained_models import register_models

PROJECT = Path(__file__).parents[2]
HOUSING = "california_housing"
NAME = "California_Housing_LightGBM"
TYPES = ("ridge", "lightgbm")
EXAMPLE = PROJECT / "src" / "models" / "test_features_california_housing.json"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Path:
    """A workspace after the stages of a small housing problem of two types; its store is empty."""
    root = tmp_path_factory.mktemp("housing") / "a project"
    layout = ProblemLayout(root, HOUSING)
    write_sample(Sample(units=900, seed=1), layout.raw)
    (root / "dvc.yaml").write_text((PROJECT / "dvc.yaml").read_text())
    content = yaml.safe_load((PROJECT / "params.yaml").read_text())
    section = content["problems"][HOUSING] | {"model_types": list(TYPES)}
    train = {f"{HOUSING}-{name}": content["train"][f"{HOUSING}-{name}"] for name in TYPES}
    train[f"{HOUSING}-lightgbm"]["params"] |= {"n_estimators": 60, "learning_rate": 0.1}
    section["compare"]["resamples"] = 100
    (root / "params.yaml").write_text(
        yaml.safe_dump({"problems": {HOUSING: section}, "train": train})
    )
    write_parquet(layout.tidy, tidy(layout.raw, "sample", load_schema(HOUSING), Preprocess())[0])
    build_features.run(root, HOUSING)
    for name in TYPES:
        train_multi_model.run(root, HOUSING, name)
    compare_models.run(root, HOUSING)
    shutil.copyfile(empty_store, root / "mlflow.db")
    return root


@pytest.fixture(scope="module")
def registered(trained: Path) -> Path:
    """The same with its models in the registry, under one parent."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        register_models(trained, HOUSING)
    return trained


@pytest.fixture
def bare(registered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy whose data and models are gone."""
    monkeypatch.chdir(registered)
    for name in ("data", "models"):
        (registered / name).rename(tmp_path / name)
    yield registered
    for name in ("data", "models"):
        (tmp_path / name).rename(registered / name)


@pytest.mark.parametrize("model_type", TYPES)
def test_metrics_are_of_all_parts_and_say_what_the_intervals_hold(
    trained: Path, model_type: str
) -> None:
    metrics = read_type_metrics(ProblemLayout(trained, HOUSING), model_type)
    for part in ("train", "validation", "test"):
        assert set(metrics[part]) == {"rmse", "mae", "r2"}
    assert metrics["train"]["rmse"] < metrics["test"]["rmse"]
    assert metrics["interval"]["declared"] == 0.9
    assert 0.75 < metrics["interval"]["coverage"] <= 1
    assert sum(group["rows"] for group in metrics["interval"]["groups"].values()) == 180


def test_plots_are_of_the_test_part(trained: Path) -> None:
    plots = ProblemLayout(trained, HOUSING).type_folder("lightgbm") / "plots"
    pairs, residuals = (
        pd.read_csv(plots / "predicted_actual.csv"),
        pd.read_csv(plots / "residuals.csv"),
    )
    assert len(pairs) == len(residuals) == 180
    assert np.allclose(pairs["actual"] - pairs["predicted"], residuals["residual"], atol=1e-4)
    assert (pd.read_csv(plots / "coverage.csv")["declared"] == 0.9).all()


def test_the_comparison_has_intervals_training_figures_coverage_and_the_best_reachable(
    trained: Path,
) -> None:
    layout = ProblemLayout(trained, HOUSING)
    table = pd.read_csv(layout.comparison).set_index("type")
    assert (table["rmse_low"] < table["rmse"]).all()
    assert (table["rmse"] < table["rmse_high"]).all()
    assert {"train_rmse", "mae_low", "r2_high", "interval_coverage", "interval_width"} <= set(
        table.columns
    )
    champion = read_json(layout.champion)
    assert champion["metric"] == "rmse"
    assert champion["type"] == table["validation_rmse"].idxmin()
    assert champion["best_reachable"]["test"] < table["rmse"].min()


def test_a_run_names_its_data_and_holds_what_the_seed_asks_for(registered: Path) -> None:
    client = open_registry(registered)
    version = client.get_model_version(NAME, "1")
    run = client.get_run(version.run_id)
    assert client.get_experiment(run.info.experiment_id).name == "california_housing_price"
    assert {"train_rmse", "train_r2", "test_rmse", "test_r2", "test_interval_coverage"} <= set(
        run.data.metrics
    )
    assert run.data.params["num_leaves"]
    tags = run.data.tags
    assert tags["lockstep.dataset"] == HOUSING
    assert {"lockstep.data_source", "lockstep.data_dvc_hash", "lockstep.data_digest"} <= set(tags)
    data = {one.dataset.name: json.loads(one.dataset.source) for one in run.inputs.dataset_inputs}
    assert set(data) == {f"{HOUSING}-{part}" for part in ("train", "validation", "test")}
    assert data[f"{HOUSING}-train"]["tags"].keys() == {"dvc", "kind", "raw_dvc_hash"}
    files = {file.path for file in client.list_artifacts(version.run_id, "preprocessing")}
    assert files == {"preprocessing/encoder.skops", "preprocessing/schema.yaml"}
    assert json.loads(version.tags["lockstep.interval"])["coverage"] == 0.9


def test_a_regression_has_its_own_pictures_and_no_rolling_metrics_without_dates(
    registered: Path,
) -> None:
    client = open_registry(registered)
    run_id = client.get_model_version(NAME, "1").run_id
    plots = {file.path for file in client.list_artifacts(run_id, "plots")}
    assert {"plots/residuals.png", "plots/predicted_actual.png"} <= plots
    names = {file.path for file in client.list_artifacts(run_id)}
    assert not names & {"confusion_matrix.png", "classification_report.csv", "rolling_metrics.csv"}
    told = rolling_table(read_outputs(registered, HOUSING, "lightgbm"))
    assert told == f"{HOUSING} has no column of kind date"


def test_types_trained_together_have_one_parent(registered: Path) -> None:
    client = open_registry(registered)
    names = ("California_Housing_Ridge", NAME)
    runs = [client.get_run(client.get_model_version(name, "1").run_id) for name in names]
    (parent,) = {run.data.tags[PARENT_TAG] for run in runs}
    assert client.get_run(parent).data.metrics.keys() >= {"ridge.test_rmse", "lightgbm.train_rmse"}


@pytest.mark.parametrize(
    ("types", "parents"), [(["lightgbm"], 0), (["lightgbm", "ridge"], 1)], ids=["one", "several"]
)
def test_some_types_have_a_parent_where_they_are_several(
    trained: Path, tmp_path: Path, empty_store: Path, types: list[str], parents: int
) -> None:
    root = tmp_path / "copy"
    shutil.copytree(trained, root, ignore=shutil.ignore_patterns("mlruns", ".lockstep"))
    shutil.copyfile(empty_store, root / "mlflow.db")
    content = yaml.safe_load((root / "params.yaml").read_text())
    content["problems"][HOUSING]["model_types"].append("xgboost")
    content["train"][f"{HOUSING}-xgboost"] = {"problem": HOUSING, "type": "xgboost"}
    (root / "params.yaml").write_text(yaml.safe_dump(content))
    register_models(root, HOUSING, types)
    register_models(root, HOUSING, types)
    client = open_registry(root)
    experiment = client.get_experiment_by_name("california_housing_price")
    runs = client.search_runs([experiment.experiment_id])
    assert len(runs) == len(types) + parents
    assert sum(PARENT_TAG in run.data.tags for run in runs) == len(types) * parents


def test_prediction_needs_neither_data_nor_models(
    bare: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    predict([str(EXAMPLE), "--model-name", NAME, "--version", "1", "--json"])
    (row,) = json.loads(capsys.readouterr().out)
    assert row["low"] < row["prediction"] < row["high"] <= 5.00001
    assert row["coverage"] == 0.9


def test_the_best_model_is_found_by_the_problem_without_data(
    bare: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from lockstep.registry.lifecycle.moves import transition

    client = open_registry(bare)
    for name in ("California_Housing_Ridge", NAME):
        transition(client, name, 1, "Production")
    predict([str(EXAMPLE), "--use-best-model", "--problem", HOUSING, "--json"])
    output = capsys.readouterr()
    assert "2 in Production, recorded on the same rows" in output.err
    champion = read_json(ProblemLayout(bare, HOUSING).champion)["type"]
    assert json.loads(output.out)[0]["model"].lower() == f"california_housing_{champion}"


def test_mlflows_own_loader_predicts_the_same(bare: Path, fluent_store: Callable) -> None:
    record = pd.DataFrame([read_json(EXAMPLE)]).astype("float64")
    model = load_version(open_registry(bare), bare, NAME, version=1)
    with fluent_store(bare):
        loaded = mlflow.pyfunc.load_model(f"models:/{NAME}/1")
        found = np.asarray(loaded.predict(record)).ravel()
    assert found == pytest.approx(model.score(record), abs=1e-7)


def test_a_damaged_interval_is_refused(registered: Path) -> None:
    client = open_registry(registered)
    whole = client.get_model_version(NAME, "1").tags["lockstep.interval"]
    try:
        client.set_model_version_tag(NAME, "1", "lockstep.interval", "{broken")
        with pytest.raises(
            ArtifactError, match=f"{NAME} version 1: its tag lockstep.interval holds no interval"
        ):
            load_version(client, registered, NAME, version=1)
    finally:
        client.set_model_version_tag(NAME, "1", "lockstep.interval", whole)


@pytest.fixture
def fluent_store() -> Callable:
    from lockstep.registry.store.connection import fluent

    return lambda root: fluent(f"sqlite:///{root / 'mlflow.db'}")


@pytest.fixture
def compared(registered: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """The command `compare` on the two types' versions, with more options."""
    monkeypatch.chdir(registered)

    def said(*options: str) -> str:
        capsys.readouterr()
        manage(["compare", "--model-name", NAME, "--version", "1", "--against", "1",
                "--against-name", "California_Housing_Ridge", *options])  # fmt: skip
        return capsys.readouterr().out

    return said


def test_two_regressions_are_compared_on_rows_new_to_both(registered: Path, compared) -> None:
    told = json.loads(compared("--json"))
    assert (told["metric"], told["rows"]) == ("rmse", 180)
    assert list(told["metrics"]) == ["rmse", "mae", "r2"]
    client = open_registry(registered)
    for side, name in (("version", NAME), ("against", "California_Housing_Ridge")):
        tags = client.get_model_version(name, "1").tags
        for metric, found in told["metrics"].items():
            assert found[side]["value"] == pytest.approx(
                float(tags[f"lockstep.test_{metric}"]), rel=1e-5
            )
            assert found[side]["low"] < found[side]["value"] < found[side]["high"]
    assert told["differs"]["parameters"]["type"] == {"version": "lightgbm", "against": "ridge"}
    assert told["differs"]["data"] == {}


def test_less_error_is_told_as_better(compared) -> None:
    told = json.loads(compared("--json"))
    difference = told["difference"]
    verdict = {(True, True): "better", (False, False): "worse"}
    ends = (difference["low"] < 0, difference["high"] < 0)
    assert told["verdict"] == verdict.get(ends, "no difference beyond noise")
    lines = compared().splitlines()
    assert lines[0].endswith("on 180 rows (180 groups) that neither was fitted or tuned on")
    assert f": rmse {difference['estimate']:+.4f}, 95 % interval" in lines[1]
    assert any(line.split()[:2] == ["rmse", "*"] for line in lines)


def test_kept_scores_of_a_regression_are_those_it_gave(
    registered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(registered / "data", tmp_path / "data")
    client, rows = open_registry(registered), all_rows(tmp_path, HOUSING)
    version = get_model(client, NAME).version(1)
    first = evaluate(scores_of(client, tmp_path, version, rows))
    shutil.rmtree(tmp_path / ".lockstep" / "cache" / "models")
    monkeypatch.setattr("lockstep.registry.artifact.locating._download", None)
    assert evaluate(scores_of(client, tmp_path, version, rows)) == first
    assert 0 < first["rmse"] < 2
