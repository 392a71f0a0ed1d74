"""What every run holds under the names by which people look for it."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from lockstep.config.layout import ProblemLayout
from lockstep.config.settings import load_settings
from lockstep.evaluation.rolling import rolling_metrics
from lockstep.evaluation.scored_rows import Scored
from lockstep.features.split import group_codes
from lockstep.io import read_json, write_json, write_parquet
from lockstep.problems.schema import load_schema
from lockstep.registry.publishing import rolling
from lockstep.registry.publishing.outputs import Outputs, read_outputs
from lockstep.registry.store import connection
from lockstep.registry.train_stage import publish_training

MODEL = ("accidents", "logistic_regression")
ROWS = 400


def write_rows(root: Path, model_type: str = MODEL[1]) -> tuple[np.ndarray, Scored]:
    """Write a tidy table's dates and the scores of its rows; return those of the test part."""
    rng = np.random.default_rng(0)
    layout = ProblemLayout(root, MODEL[0])
    day = np.datetime64("2021-03-01") + rng.integers(0, 30, ROWS)
    tidy = pd.DataFrame({"date": day.astype("datetime64[ms]"), "accident_id": np.arange(ROWS)})
    write_parquet(layout.tidy, tidy)
    score = rng.random(ROWS)
    target = (rng.random(ROWS) < score).astype(np.int8)
    part = np.where(np.arange(ROWS) < 100, "choose", "test")
    row, group = np.arange(ROWS)[::-1], group_codes(tidy, load_schema(MODEL[0]))
    scores = {"__row__": row, "__group__": group[row], "part": part}
    scores |= {"__target__": target, "score": score}
    write_parquet(layout.scores(model_type), pd.DataFrame(scores))
    test = part == "test"
    return day[::-1][test], Scored(target[test], score[test], 0.4)


def with_details(root: Path, **more: object) -> None:
    details = ProblemLayout(root, MODEL[0]).type_details(MODEL[1])
    write_json(details, {**read_json(details), **more})


def outputs_of(root: Path) -> Outputs:
    return read_outputs(root, *MODEL)


def published(root: Path) -> tuple[connection.Client, str]:
    done = publish_training(root, *MODEL)
    assert done is not None
    return connection.connect(load_settings(root), root), done.run_id


def test_a_run_has_its_plots_and_tables_under_the_usual_names(workspace, make):
    make.plots(workspace, MODEL[1])
    write_rows(workspace)
    client, run_id = published(workspace)
    names = {item.path for item in client.list_artifacts(run_id)}
    folder = Path(client.download_artifacts(run_id, ""))
    pictures = {
        "confusion_matrix.png": "confusion_matrix",
        "roc_curve.png": "roc",
        "pr_curve.png": "pr",
        "calibration_curve.png": "calibration",
    }
    assert {*pictures, "classification_report.csv", "rolling_metrics.csv"} <= names
    for name, own in pictures.items():
        assert (folder / name).read_bytes() == (folder / "plots" / f"{own}.png").read_bytes()
    report = pd.read_csv(folder / "classification_report.csv").set_index("class")
    assert report.loc["1", ["precision", "recall", "support"]].tolist() == [0.5, 1, 5]
    assert report.loc["accuracy", "f1-score"] == pytest.approx(2 / 3)


def test_rolling_metrics_are_those_of_the_test_part_by_the_dates_of_its_rows(workspace):
    expected = rolling_metrics(*write_rows(workspace))
    client, run_id = published(workspace)
    found = pd.read_csv(client.download_artifacts(run_id, "rolling_metrics.csv"))
    pd.testing.assert_frame_equal(found.fillna({"note": ""}), expected, rtol=1e-5)
    history = client.get_metric_history(run_id, "rolling_f1")
    whole = expected[expected["note"] == ""]
    assert [point.value for point in history] == whole["f1"].tolist()
    assert [point.step for point in history] == list(range(len(whole)))
    assert not [name for name in client.get_run(run_id).data.metrics if name.endswith("_note")]


def test_without_the_rows_of_the_test_part_a_line_says_so(workspace, capsys):
    client, run_id = published(workspace)
    said = "accidents logistic_regression: no rolling_metrics.csv: its scores or its rows are not"
    assert said in capsys.readouterr().err
    assert "rolling_metrics.csv" not in {item.path for item in client.list_artifacts(run_id)}
    assert not [name for name in client.get_run(run_id).data.metrics if "rolling" in name]


def test_rows_of_another_table_are_not_taken_for_its_own(workspace):
    write_rows(workspace)
    layout = ProblemLayout(workspace, MODEL[0])
    table = pd.read_parquet(layout.tidy)
    write_parquet(layout.tidy, table.assign(accident_id=table["accident_id"] + 1))
    told = "tidy.parquet is not the table it was trained on; run `dvc repro`"
    assert rolling.rolling_table(outputs_of(workspace)) == told


def test_a_table_with_fewer_rows_is_another_one(workspace):
    write_rows(workspace)
    layout = ProblemLayout(workspace, MODEL[0])
    write_parquet(layout.tidy, pd.read_parquet(layout.tidy).head(ROWS // 2))
    assert "tidy.parquet is not the table" in rolling.rolling_table(outputs_of(workspace))


def test_a_tidy_table_may_be_a_folder_of_several_files(workspace):
    expected = rolling_metrics(*write_rows(workspace))
    layout = ProblemLayout(workspace, MODEL[0])
    table = pd.read_parquet(layout.tidy)
    layout.tidy.unlink()
    for number, rows in enumerate((table.head(150), table.tail(-150))):
        write_parquet(layout.tidy / f"{number:02}.parquet", rows)
    pd.testing.assert_frame_equal(rolling.rolling_table(outputs_of(workspace)), expected)


def test_rows_without_a_date_are_in_no_window(workspace):
    day, rows = write_rows(workspace)
    layout = ProblemLayout(workspace, MODEL[0])
    table = pd.read_parquet(layout.tidy)
    table.loc[::2, "date"] = pd.NaT
    write_parquet(layout.tidy, table)
    known = np.arange(ROWS)[::-1][100:] % 2 == 1
    expected = rolling_metrics(day[known], rows.take(known))
    pd.testing.assert_frame_equal(rolling.rolling_table(outputs_of(workspace)), expected)
    write_parquet(layout.tidy, table.assign(date=pd.NaT).astype({"date": "datetime64[ms]"}))
    told = "no row of the test part has 'date'"
    assert rolling.rolling_table(outputs_of(workspace)) == told


@pytest.mark.parametrize(
    ("date", "said"),
    [
        (None, "pears has no column of kind date"),
        ("picked", "'picked' holds whole numbers, no days"),
    ],
)
def test_a_problem_without_days_says_so(date, said):
    columns = {"picked": SimpleNamespace(integer=True)}
    schema = SimpleNamespace(name="pears", date=date, columns=columns)
    assert rolling.rolling_table(SimpleNamespace(schema=schema, layout=None)) == said


def test_the_parameters_are_those_of_params_yaml_and_what_was_resolved(workspace):
    client, run_id = published(workspace)
    params = client.get_run(run_id).data.params
    assert params["train.params.C"] == params["C"] == "0.1"
    assert params["train.calibration"] == "sigmoid"
    assert params["calibration"] == "none"  # as the card of this small model says
    assert params["decision.policy"] == "f1"
    assert not [name for name in params if name.startswith("problems.")]


def test_the_threshold_of_the_best_f1_is_a_metric_and_a_tag_beside_the_policy_s(workspace):
    with_details(workspace, best_f1_threshold=0.31)
    client, run_id = published(workspace)
    metrics = client.get_run(run_id).data.metrics
    assert (metrics["threshold"], metrics["best_f1_threshold"]) == (0.4, 0.31)
    tags = client.get_model_version("Accident_Prediction_Logistic_Regression", "1").tags
    assert (tags["lockstep.threshold"], tags["lockstep.best_f1_threshold"]) == ("0.4", "0.31")


def test_a_calibrated_model_has_its_figures_before_and_after(workspace):
    parts = {"validation": {"brier": 0.2}, "test": {"brier": 0.25}}
    after = {"validation": {"brier": 0.1}, "test": {"brier": 0.15}}
    with_details(workspace, calibration={"before": parts, "after": after})
    client, run_id = published(workspace)
    metrics = client.get_run(run_id).data.metrics
    assert metrics["test_brier_before_calibration"] == 0.25
    assert metrics["test_brier_after_calibration"] == 0.15
    assert metrics["validation_brier_before_calibration"] == 0.2
