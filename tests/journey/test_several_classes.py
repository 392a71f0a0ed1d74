"""A table with several classes, labelled with blanks and accents, from file to predictions."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from tests.journey.conftest import Project, clone
from tests.serving.conftest import Running, wait_until

from lockstep.monitoring.log_files import SHADOW, read_tables

LABELS = ["à rénover", "très bon état", "moyen", "en ruine", "classé (rare)"]
COSTS = {"en ruine": {"à rénover": 20.0, "très bon état": 20.0, "moyen": 20.0}}
TYPES = ("logistic_regression", "xgboost")
LINEAR = "Biens_Logistic_Regression"
REQUESTS = 300
MANAGE = "python scripts/manage_model_registry.py"


def buildings(rows: int = 1500, seed: int = 0) -> pd.DataFrame:
    """Buildings whose state area, age and heating tell; five of them have a class of their own."""
    rng = np.random.default_rng(seed)
    area, age = np.round(rng.lognormal(4.3, 0.4, rows), 1), rng.integers(0, 120, rows).astype(float)
    heating = rng.choice(["gaz", "électricité", "bois, granulés"], rows)
    margin = [
        0.02 * age + (heating == "gaz") - 1,
        0.4 - 0.02 * age + 0.01 * area,
        np.zeros(rows),
        0.06 * age - 5,
    ]
    state = (2 * np.column_stack(margin) + rng.gumbel(size=(rows, 4))).argmax(axis=1)
    state[rng.choice(rows, 5, replace=False)] = 4
    age[rng.random(rows) < 0.1] = np.nan
    return pd.DataFrame(
        {
            "surface habitable": area,
            "âge": age,
            "chauffage": heating,
            "état du bien": np.array(LABELS, dtype=object)[state],
        }
    )


def shorten(project: Project) -> None:
    """Leave this problem with two small model types, and let it be costly to overlook a ruin."""
    path = project.folder / "params.yaml"
    content = yaml.safe_load(path.read_text())
    section = content["problems"]["biens"]
    section["model_types"], section["compare"]["resamples"] = list(TYPES), 100
    section["decision"] = {"policy": "cost_matrix", "costs": COSTS}
    train = {f"biens-{kind}": content["train"][f"biens-{kind}"] for kind in TYPES}
    train["biens-xgboost"] |= {"calibration": "temperature", "cv_folds": 2}
    train["biens-xgboost"]["params"] |= {"n_estimators": 30, "learning_rate": 0.2, "max_depth": 3}
    # As an older params.yaml: it knows nothing of Spark.
    small = {"problems": {"biens": section}, "train": train}
    path.write_text(yaml.safe_dump(small, allow_unicode=True))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, str]:
    """A project in which the problem was drafted and trained, and what the training printed."""
    base = tmp_path_factory.mktemp("several")
    project = clone(base / "project", base / "home")
    buildings().to_csv(base / "biens.csv", index=False)
    project.run(f"make new-problem NAME=biens FILE='{base / 'biens.csv'}' TARGET='état du bien'")
    shorten(project)
    return project, project.run("make run-train PROBLEM=biens")


def test_the_comparison_shows_what_counts_for_several_classes(trained) -> None:
    project, output = trained
    assert "champion by log_loss" in output
    assert "macro_f1" in output
    table = pd.read_csv(project.folder / "metrics/biens/model_comparison.csv")
    assert set(table["type"]) == set(TYPES)
    assert (table["macro_f1_low"] <= table["macro_f1"]).all()
    assert (table["log_loss"] < 1.2).all()


def test_each_run_has_the_report_of_all_classes_and_their_curves(trained) -> None:
    project, _ = trained
    reports = list(project.folder.glob("mlruns/*/*/artifacts/classification_report.csv"))
    assert len(reports) == len(TYPES)
    for report in reports:
        figures = pd.read_csv(report).set_index("class")
        assert set(figures.index) == {*LABELS, "accuracy", "macro avg", "weighted avg"}
        assert figures.loc[list(LABELS), "support"].sum() == figures.loc["accuracy", "support"]
        for name in ("roc_curve.png", "pr_curve.png", "calibration_curve.png"):
            assert report.with_name(name).is_file()


def test_metrics_and_scores_are_of_all_classes_with_their_costs(trained) -> None:
    project, _ = trained
    metrics = json.loads((project.folder / "metrics/biens/types/xgboost/details.json").read_text())
    assert set(metrics) == {"train", "validation", "test", "cv", "calibration", "best_iteration"}
    header, *rows = project.run("dvc metrics show").splitlines()
    assert header.split() == ["Path", "accuracy", "macro_f1", "macro_roc_auc", "val_log_loss"]
    assert len(rows) == len(TYPES)
    report = pd.read_csv(
        project.folder / "metrics/biens/types/xgboost/plots/classes.csv"
    ).set_index("class")
    assert set(report.index) == set(LABELS)
    assert report.loc["en ruine", "recall"] > report.loc["en ruine", "precision"]
    scores = pd.read_parquet(project.folder / "data/biens/scores/xgboost.parquet")
    chances = scores[[f"score_{place}" for place in range(len(LABELS))]].to_numpy()
    assert chances.sum(axis=1) == pytest.approx(np.ones(len(scores)), abs=1e-6)
    assert (chances.argmax(axis=1) != scores["decision"]).any()


LOAD = """
import json, sys
import mlflow, pandas as pd
mlflow.set_tracking_uri("sqlite:///mlflow.db")
version = mlflow.MlflowClient().get_model_version("Biens_XGBoost", "1")
model = mlflow.pyfunc.load_model("models:/Biens_XGBoost/1")
row = json.load(open(sys.argv[1]))
table = pd.DataFrame([row])[model.metadata.get_input_schema().input_names()]
table = table.astype({name: float for name in table if table[name].dtype.kind == "i"})
run = mlflow.get_run(version.run_id).data.metrics
print(json.dumps({"tags": version.tags, "chances": model.predict(table)[0].tolist(),
                  "shape": model.metadata.get_output_schema().inputs[0].shape, "run": run}))
"""


def test_a_prediction_names_every_class_and_mlflow_itself_says_the_same(trained) -> None:
    project, _ = trained
    example = "src/lockstep/problems/biens/example.json"
    project.run(f"{MANAGE} promote --model-name Biens_XGBoost")
    best = json.loads(
        project.run(
            f"python src/models/predict_model.py {example} --use-best-model "
            "--problem biens --json 2>/dev/null"
        )
    )[0]
    assert set(best["probabilities"]) == set(LABELS)
    assert sum(best["probabilities"].values()) == pytest.approx(1, abs=1e-6)
    assert best["decision"] in LABELS
    (project.folder / "load.py").write_text(LOAD)
    told = json.loads(project.run(f"python load.py {example} 2>/dev/null").splitlines()[-1])
    classes = json.loads(told["tags"]["lockstep.classes"])
    assert json.loads(told["tags"]["lockstep.costs"]) == COSTS
    assert float(told["tags"]["lockstep.validation_macro_f1"]) > 0.3
    assert told["shape"] == [-1, len(LABELS)]
    assert dict(zip(classes, told["chances"], strict=True)) == pytest.approx(
        best["probabilities"], abs=1e-8
    )
    assert 0 <= told["run"]["test_recall/à rénover"] <= 1
    assert told["run"]["train_macro_f1"] > 0.25


def test_two_versions_are_compared_by_the_metrics_of_all_classes(trained) -> None:
    project, _ = trained
    command = (
        f"{MANAGE} compare --model-name Biens_XGBoost --version 1 "
        f"--against 1 --against-name {LINEAR}"
    )
    told = json.loads(project.run(f"{command} --json 2>/dev/null"))
    table = pd.read_csv(project.folder / "metrics/biens/model_comparison.csv").set_index("type")
    assert told["metric"] == "log_loss"
    assert {"log_loss", "macro_f1", "accuracy"} <= set(told["metrics"])
    for metric in ("log_loss", "macro_f1", "accuracy"):
        found = told["metrics"][metric]
        assert found["version"]["value"] == pytest.approx(table.loc["xgboost", metric], rel=1e-4)
        assert found["against"]["value"] == pytest.approx(
            table.loc["logistic_regression", metric], rel=1e-4
        )
        assert found["version"]["low"] <= found["version"]["value"] <= found["version"]["high"]
    assert told["differs"]["parameters"]["type"] == {
        "version": "xgboost",
        "against": "logistic_regression",
    }
    lines = project.run(f"{command} 2>/dev/null").splitlines()
    gap = told["difference"]["estimate"]
    assert f"log_loss {gap:+.4f}, 95 % interval" in lines[1]
    assert any(line.split()[:2] == ["log_loss", "*"] for line in lines)


def asked(server: Running, records: list[dict], labels: list[str]) -> list[dict]:
    """Send records and then their labels; return the answers once the challenger has scored all."""

    def shadow() -> dict:
        return server.get("/health").json["shadow"]

    wait_until(lambda: shadow().get("version") == 2, 90, "the challenger")
    answers = []
    for number in range(REQUESTS):
        rows = slice(4 * number, 4 * number + 4)
        found = server.post("/predict", records[rows], {"X-Request-ID": f"r{number}"})
        answers += found.json["predictions"]
        told = [
            {"request_id": f"r{number}", "row": row, "label": label}
            for row, label in enumerate(labels[rows], 1)
        ]
        assert server.post("/feedback", told).status == 202
    wait_until(lambda: shadow_rows(server.root) == 4 * REQUESTS, 90, "the challenger's scores")
    return answers


def shadow_rows(root: Path) -> int:
    """Return how many rows the log holds of a challenger."""
    query = "SELECT rows FROM shadow"
    found = read_tables(root / ".lockstep" / "predictions", SHADOW, query, (), {})
    return sum(many for rows in found for (many,) in rows)


@pytest.mark.long
def test_a_challenger_in_the_shadow_is_compared_and_months_are_monitored(trained, tmp_path) -> None:
    project = trained[0].copy(tmp_path / "project")
    path = project.folder / "params.yaml"
    content = yaml.safe_load(path.read_text())
    content["problems"]["biens"]["decision"] = {"policy": "argmax"}
    content["train"]["biens-xgboost"]["params"]["n_estimators"] = 12
    path.write_text(yaml.safe_dump(content, allow_unicode=True))
    project.run("make run-train PROBLEM=biens")
    project.run(f"{MANAGE} promote --model-name Biens_XGBoost --version 1")
    project.run(f"{MANAGE} transition --model-name Biens_XGBoost --version 2 --stage Staging")
    table = buildings(rows=4 * REQUESTS, seed=5)
    labels = table.pop("état du bien").tolist()
    table.columns = json.loads(
        (project.folder / "src/lockstep/problems/biens/example.json").read_text()
    )
    records = [
        {name: None if value != value else value for name, value in record.items()}
        for record in table.to_dict("records")
    ]
    env = {"PYTHONPATH": str(project.folder / "src"), "MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"}
    variables = {"PROBLEM": "biens", "SHADOW": "Staging", "MLFLOW_MODEL_NAME": "Biens_XGBoost"}
    server = Running(project.folder, env | variables).start()
    try:
        answers = asked(server, records, labels)
    finally:
        assert server.stop() == 0
    command = f"{MANAGE} compare --model-name Biens_XGBoost --version 2 --against 1 --on-traffic"
    found = json.loads(project.run(f"{command} --json 2>/dev/null"))
    assert (found["rows"], found["labelled"]) == (4 * REQUESTS, 4 * REQUESTS)
    assert sum(found["changes"].values()) == round((1 - found["agreement"]) * 4 * REQUESTS) > 0
    assert all(set(change.split(" → ")) <= set(LABELS) for change in found["changes"])
    assert found["difference"]["metric"] == "log_loss"
    for version, calibrated in ((1, False), (2, True)):
        words = f"--model-name Biens_XGBoost --version {version}"
        if version == 2:  # its rows as a table, as it answered none
            buildings(rows=4 * REQUESTS, seed=5).to_csv(project.folder / "rows.csv", index=False)
            words += " --input rows.csv"
        project.run(f"python scripts/monitor.py --problem biens {words}")
        written = project.folder / ".lockstep/monitoring/biens"
        (month,) = json.loads((written / "report.json").read_text())["months"]
        figures = month["performance"]["figures"]
        assert ("calibration_error" in figures) is calibrated
        assert ("<h2>Calibration</h2>" in (written / "page.html").read_text()) is calibrated
    assert figures["calibration_error"]["value"] < 0.2
    assert (
        np.mean([one["decision"] == label for one, label in zip(answers, labels, strict=True)])
        > 0.3
    )


def test_a_search_judges_by_the_declared_costs_like_the_training(trained) -> None:
    project, _ = trained
    path = project.folder / "params.yaml"
    content = yaml.safe_load(path.read_text())
    content["problems"]["biens"]["compare"]["metric"] = "macro_f1"
    now = content["train"]["biens-logistic_regression"]["params"]["C"]
    space = {"C": {"low": now / 2, "high": now * 2}}
    content["search"] = {"biens-logistic_regression": {"trials": 1, "space": space}}
    path.write_text(yaml.safe_dump(content, allow_unicode=True))
    told = project.run("python -m lockstep.commands.search --problem biens")
    found = json.loads(
        (project.folder / "metrics/biens/types/logistic_regression/details.json").read_text()
    )
    assert f"best validation macro_f1 {found['validation']['macro_f1']:.5f} with" in told
