"""The stage's files agree with each other and with the model they tell of."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from lockstep.config.layout import ProblemLayout
from lockstep.config.params import Training
from lockstep.errors import ArtifactError, ConfigError, DataError, UsageError
from lockstep.evaluation.metrics import BINARY, Scored, evaluate
from lockstep.io import read_json, sha256_file
from lockstep.models import train_multi_model
from lockstep.models.matrices import Columns
from lockstep.models.model_file import read_pipeline
from lockstep.models.model_type import Recipe
from lockstep.models.training import fit
from lockstep.models.type_metrics import read_type_metrics
from lockstep.models.types import model_type

TYPES = ["logistic_regression", "random_forest", "xgboost", "lightgbm"]


@pytest.fixture
def layout(trained_workspace: Path) -> ProblemLayout:
    return ProblemLayout(trained_workspace, "accidents")


@pytest.mark.parametrize("name", TYPES)
def test_the_saved_pipeline_predicts_from_raw_rows_what_was_evaluated(
    name: str, layout: ProblemLayout, raw_rows
) -> None:
    pipeline = read_pipeline(layout.model(name))
    kept = pd.read_parquet(layout.scores(name))
    for number, part in ((2, "choose"), (3, "test")):
        raw = raw_rows(300, number)
        score = np.asarray(pipeline.predict_proba(raw)[:, 1], dtype=np.float64)
        assert (np.round(score, 8) == kept.loc[kept["part"] == part, "score"]).all()


@pytest.mark.parametrize("name", TYPES)
def test_metrics_are_those_of_the_kept_scores(name: str, layout: ProblemLayout) -> None:
    metrics = read_type_metrics(layout, name)
    kept = pd.read_parquet(layout.scores(name))
    for part, label in (("choose", "validation"), ("test", "test")):
        rows = kept[kept["part"] == part]
        found = evaluate(
            Scored(rows["__target__"].to_numpy(), rows["score"].to_numpy(), metrics["threshold"])
        )
        assert tuple(metrics[label]) == BINARY
        assert metrics[label] == pytest.approx(found, rel=1e-5)
    assert ("best_iteration" in metrics) == (name in ("xgboost", "lightgbm"))


@pytest.mark.parametrize("name", TYPES)
def test_the_card_tells_of_this_very_model(name: str, layout: ProblemLayout) -> None:
    from lockstep.models.artifact import model_digest

    card = read_json(layout.model_card(name))
    assert card["file_sha256"] == sha256_file(layout.model(name))
    assert card["model_digest"] == model_digest(read_pipeline(layout.model(name)))
    assert card["threshold"] == read_type_metrics(layout, name)["threshold"]
    methods = {"random_forest": "isotonic", "xgboost": "sigmoid"}
    assert card["calibration"] == methods.get(name, "none")
    assert (card["score_scale"], card["positive_weight"]) == ("probability", 1.0)
    assert len(card["feature_names"]) == 28
    assert "com_accidents" in card["encoded_names"]
    assert card["rows"] == {"train": 600, "stop": 300, "choose": 300, "test": 300}
    assert "n_jobs" not in card["params"]


@pytest.mark.parametrize("name", TYPES)
def test_every_plot_has_its_table(name: str, layout: ProblemLayout) -> None:
    found = {path.stem for path in (layout.type_folder(name) / "plots").iterdir()}
    curves = {"roc", "ks", "pr", "calibration", "confusion_matrix", "importance", "effects"}
    history = set() if name == "logistic_regression" else {"history"}
    assert found == curves | history | ({"folds"} if name == "xgboost" else set())


@pytest.mark.parametrize("name", TYPES)
def test_the_strongest_effects_are_those_of_the_importance(
    name: str, layout: ProblemLayout
) -> None:
    plots = layout.type_folder(name) / "plots"
    importance = pd.read_csv(plots / "importance.csv")["feature"]
    effects = pd.read_csv(plots / "effects.csv", keep_default_na=False)
    assert list(dict.fromkeys(effects["feature"])) == importance[:6].tolist()
    assert effects["effect"].between(0, 1).all()
    assert (effects.groupby("feature")["rows"].sum() <= 300).all()


def test_folds_and_their_mean_are_kept_where_asked_for(layout: ProblemLayout) -> None:
    folds = pd.read_csv(layout.type_folder("xgboost") / "plots" / "folds.csv")
    mean = read_type_metrics(layout, "xgboost")["cv"]["roc_auc"]
    assert folds["fold"].tolist() == [1, 2]
    assert mean == pytest.approx(folds["roc_auc"].mean(), rel=1e-5)


def test_a_second_training_writes_the_same_bytes(trained_workspace: Path, workspace: Path) -> None:
    train_multi_model.run(workspace, "accidents", "lightgbm")
    first, second = (ProblemLayout(root, "accidents") for root in (trained_workspace, workspace))
    effects = first.type_folder("lightgbm") / "plots" / "effects.csv"
    outputs = (first.model("lightgbm"), first.model_card("lightgbm"), first.scores("lightgbm"))
    for path in (*outputs, effects):
        assert path.read_bytes() == (second.root / path.relative_to(first.root)).read_bytes(), (
            path.name
        )


def _refused(root: Path, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        train_multi_model.run(root, "accidents", "lightgbm")
    assert not (root / "models").exists()
    assert not (root / "metrics").exists()


def test_missing_and_broken_inputs_name_file_and_fix(workspace: Path) -> None:
    layout = ProblemLayout(workspace, "accidents")
    layout.encoder.write_bytes(b"not a model")
    _refused(workspace, ArtifactError, r"encoder\.joblib can't be read .*dvc repro")
    layout.encoder.unlink()
    _refused(workspace, DataError, r"encoder\.joblib is missing; run `dvc repro`")


def test_a_missing_or_cut_matrix_names_file_and_fix(workspace: Path) -> None:
    layout = ProblemLayout(workspace, "accidents")
    layout.matrix("stop").write_bytes(layout.matrix("stop").read_bytes()[:100])
    _refused(workspace, DataError, r"stop\.parquet is no readable Parquet file")
    layout.matrix("stop").unlink()
    _refused(workspace, DataError, r"stop\.parquet is missing")


def test_a_misspelt_hyperparameter_writes_nothing(workspace: Path) -> None:
    text = (workspace / "params.yaml").read_text()
    (workspace / "params.yaml").write_text(text.replace("num_leaves", "num_leafs"))
    _refused(workspace, ConfigError, "lightgbm has no hyperparameter 'num_leafs'")


@pytest.mark.parametrize(("most", "told"), [(3, True), (3000, False)])
def test_a_boosting_that_early_stopping_did_not_stop_is_told(
    workspace: Path, capsys: pytest.CaptureFixture[str], most: int, told: bool
) -> None:
    given, file = "n_estimators: 60, learning_rate: 0.2, num_leaves", workspace / "params.yaml"
    assert given in file.read_text()
    file.write_text(file.read_text().replace(given, given.replace("60", str(most))))
    train_multi_model.run(workspace, "accidents", "lightgbm")
    said = "round 3, the last; a larger train.accidents-lightgbm.params.n_estimators may be better"
    assert (said in capsys.readouterr().err) == told


@pytest.mark.parametrize(
    ("name", "key"), [("hist_gradient_boosting", "max_iter"), ("xgboost", "n_estimators")]
)
@pytest.mark.parametrize("given", [{}, {"learning_rate": 1e-4}])
def test_the_bound_of_the_rounds_has_the_types_own_name(
    name: str, key: str, given: dict[str, float], columns, train, stop
) -> None:
    recipe = Recipe("binary", columns, given)
    training = Training(problem="accidents", type=name, params=given)
    job = SimpleNamespace(kind=model_type(name), recipe=recipe, training=training)
    told = train_multi_model.unstopped(job, fit(name, recipe, train, stop, 5))
    # The library's own bound is 100 rounds; so small steps never reach the least loss.
    said = f"round 100, the last; a larger train.accidents-{name}.params.{key} may be better"
    assert (said in told) == bool(given)


@pytest.mark.parametrize(
    ("name", "key"), [("xgboost", "train."), ("spark_xgboost", "train_spark.")]
)
def test_the_key_to_raise_is_that_of_the_engine(name: str, key: str) -> None:
    recipe = Recipe("binary", Columns({}), {"n_estimators": 3})
    training = Training(problem="accidents", type=name)
    job = SimpleNamespace(kind=model_type(name), recipe=recipe, training=training)
    said = train_multi_model.unstopped(job, SimpleNamespace(best_iteration=3))
    assert f"a larger {key}accidents-xgboost.params.n_estimators may" in said


def test_an_undeclared_type_is_a_usage_error(trained_workspace: Path) -> None:
    with pytest.raises(UsageError, match="did you mean 'lightgbm'"):
        train_multi_model.run(trained_workspace, "accidents", "lightgbn")


def test_called_by_hand_it_names_the_command_for_people() -> None:
    command = [
        sys.executable,
        "-m",
        "lockstep.models.train_multi_model",
        "--problem",
        "accidents",
        "--type",
        "xgboost",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert (
        "python src/models/train_multi_model.py --problem accidents --models xgboost" in done.stderr
    )


@pytest.mark.parametrize("module", ["train_multi_model", "compare_models"])
def test_help_imports_nothing_heavy(module: str) -> None:
    code = (
        f"import sys; sys.argv = ['x', '--help']\nfrom lockstep.models import {module}\n"
        f"try:\n    {module}.main()\nexcept SystemExit:\n    pass\n"
        "print([m for m in ('numpy', 'pandas', 'sklearn', 'mlflow', 'xgboost', 'lightgbm')"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--problem" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"
