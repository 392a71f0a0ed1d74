"""The report: its figures equal those of the files, whatever is missing or is in them."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import yaml

from lockstep.config.layout import ProblemLayout
from lockstep.errors import DataError
from lockstep.evaluation import curves
from lockstep.evaluation.metrics import evaluate
from lockstep.evaluation.scored_rows import Scored
from lockstep.io import read_json, read_parquet, write_csv, write_json
from lockstep.problems.schema import Schema
from lockstep.reports import report_charts, report_files, report_rows
from lockstep.reports.report import Move, Registered, VersionFacts, report
from lockstep.reports.report_figures import figures_of, slider_of
from lockstep.reports.report_files import read_report_files
from lockstep.reports.report_rows import slice_rows, target_by_time

PROBLEM = "accidents"
HOSTILE = "</script><img src=x onerror=alert(1)>&\u202eevil " + "long" * 200


@pytest.fixture
def own(reported, tmp_path):
    """A copy that a test may change."""
    return shutil.copytree(reported, tmp_path / "own", dirs_exist_ok=True)


def scores_of(root, kind):
    table = read_parquet(ProblemLayout(root, PROBLEM).scores(kind))
    return table[table["part"] == "test"]


# ---------------------------------------------------------------- figures


def test_every_stop_of_the_slider_has_the_counts_of_the_rows(reported):
    slider = slider_of(read_report_files(reported, PROBLEM))
    assert list(slider["types"]) == ["logistic_regression", "random_forest", "xgboost", "lightgbm"]
    for kind, facts in slider["types"].items():
        rows = scores_of(reported, kind)
        score, target = rows["score"].to_numpy(), rows["__target__"].to_numpy()
        assert (facts["positives"], facts["negatives"]) == (target.sum(), (target == 0).sum())
        for threshold, hits, misses in facts["points"]:
            # Thresholds are written with 6 digits.
            most, fewest = score >= threshold - 1e-6, score > threshold + 1e-6
            assert (fewest & (target == 1)).sum() <= hits <= (most & (target == 1)).sum()
            assert (fewest & (target == 0)).sum() <= misses <= (most & (target == 0)).sum()
        thresholds = [point[0] for point in facts["points"]]
        assert thresholds == sorted(set(thresholds))


def test_the_configured_threshold_is_a_stop_with_the_counts_of_the_confusion_matrix(reported):
    files = read_report_files(reported, PROBLEM)
    slider = slider_of(files)
    for one in files.types:
        facts = slider["types"][one.name]
        threshold, hits, misses = facts["points"][facts["configured"]]
        cells = one.plots["confusion_matrix"].set_index(["actual", "predicted"])["rows"]
        assert threshold == one.threshold
        assert (hits, misses) == (cells["1", "1"], cells["0", "1"])


def test_scores_are_spread_over_the_bins_as_the_rows_are(reported):
    files = read_report_files(reported, PROBLEM)
    for one in files.types:
        shares = [row["y"] for row in report_charts.score_rows(one)]
        counted = np.histogram(scores_of(reported, one.name)["score"], 40, (0, 1))[0] / 300
        assert sum(shares) == pytest.approx(1)
        # The curve has at most 200 points of 300 rows.
        assert np.abs(np.cumsum(shares) - np.cumsum(counted)).max() < 0.02


def test_slices_have_the_metric_of_their_rows(reported):
    files = read_report_files(reported, PROBLEM)
    rows = scores_of(reported, files.champion.name)
    tidy = read_parquet(files.layout.tidy).iloc[rows["__row__"]]
    found = {(one.column, one.level): one for one in slice_rows(files)}
    assert {column for column, _ in found} == set(files.schema.slices)
    mask = (tidy["agg_"] == 1).to_numpy()
    inside = Scored(rows["__target__"].to_numpy()[mask], rows["score"].to_numpy()[mask], 0.5)
    one = found["agg_", "1 (outside)"]
    assert (one.rows, one.target) == (mask.sum(), inside.target.mean())
    assert one.value == evaluate(inside)["roc_auc"]
    assert one.low < one.value < one.high


def test_an_interval_of_many_rows_is_that_of_fewer_scaled_down(monkeypatch):
    rng = np.random.default_rng(0)
    target = rng.integers(0, 2, 8000)
    rows = Scored(target, np.clip(rng.normal(target * 0.3 + 0.35, 0.2), 0, 1), 0.5)

    def ends():
        value = evaluate(rows)["roc_auc"]
        found = report_rows._interval(rows, np.arange(8000), "roc_auc", value)
        return [end - value for end in found]

    whole = ends()
    monkeypatch.setattr(report_rows, "MOST_DRAWN", 2000)
    assert ends() == pytest.approx(whole, rel=0.5)
    assert whole[0] < 0 < whole[1]


def test_an_interval_stays_where_the_metric_can_be():
    rows = Scored(np.array([0, 1] * 50), np.array([0.2, 0.8] * 49 + [0.5, 0.5]), 0.5)
    low, high = report_rows._interval(rows, np.arange(100), "roc_auc", evaluate(rows)["roc_auc"])
    assert low < high <= 1


def test_a_share_of_nobody_has_an_interval_with_a_width():
    """Wilson's, as in its paper's example: 0 of 10 reaches to .278."""
    assert report_rows._share_interval(0.0, 10) == pytest.approx((0, 0.2775), abs=1e-3)
    assert report_rows._share_interval(0.5, 100) == pytest.approx((0.4038, 0.5962), abs=1e-3)


def test_the_target_by_month_is_that_of_the_tidy_rows(reported):
    files = read_report_files(reported, PROBLEM)
    length, periods = target_by_time(files)
    tidy = read_parquet(files.layout.tidy)
    months = tidy.groupby(tidy["date"].dt.to_period("M"))["grav"].agg(["size", "mean"])
    assert length == "month"
    assert [(one.rows, one.value) for one in periods] == [
        (size, pytest.approx(mean)) for size, mean in months.itertuples(index=False)
    ]


def test_positions_in_time_are_no_dates_to_chart(reported):
    files = read_report_files(reported, PROBLEM)
    date = files.schema.columns["date"].model_copy(update={"integer": True})
    schema = files.schema.model_copy(update={"columns": files.schema.columns | {"date": date}})
    assert target_by_time(replace(files, schema=schema)) == ("", [])


def test_a_regressions_report_needs_the_metrics_alone():
    """Those of the project itself, as a clone has them before anything was trained."""
    from tests.conftest import PROJECT

    files = read_report_files(PROJECT, "california_housing")
    names = [one.name for one in figures_of(files)]
    assert names == ["predicted-actual", "residuals", "coverage"]
    page = report(files, Registered(note="nothing was asked"))
    champion = files.comparison.loc[files.champion.name]
    assert f"RMSE {champion['rmse']:.4f}" in page
    assert slider_of(files) is None


# ---------------------------------------------------------------- what is missing


def test_without_any_metrics_the_command_that_makes_them_is_named(own):
    shutil.rmtree(own / "metrics")
    with pytest.raises(DataError, match="no metrics yet; make some with `make run-train PROBLEM="):
        read_report_files(own, PROBLEM)


def test_a_problem_half_trained_shows_what_is_there(own):
    layout = ProblemLayout(own, PROBLEM)
    shutil.rmtree(layout.type_folder("xgboost"))
    files = read_report_files(own, PROBLEM)
    assert [one.name for one in files.types] == ["logistic_regression", "random_forest", "lightgbm"]
    assert files.missing[0].startswith("xgboost is not trained: run `dvc repro train_multi_model@")
    assert "xgboost is not trained" in report(files, Registered())


def test_one_type_alone_has_no_difference_to_show(own):
    layout = ProblemLayout(own, PROBLEM)
    for kind in ("logistic_regression", "xgboost", "lightgbm"):
        shutil.rmtree(layout.type_folder(kind))
    champion = read_json(layout.champion) | {"type": "random_forest"}
    write_json(layout.champion, champion)
    page = report(read_report_files(own, PROBLEM), Registered())
    assert "chart-metric" in page
    assert "chart-difference" not in page


@pytest.mark.parametrize("fault", ["missing", "of other trainings"])
def test_without_its_comparison_there_are_metrics_but_no_champion(own, fault):
    layout = ProblemLayout(own, PROBLEM)
    if fault == "missing":
        layout.comparison.unlink()
    else:
        details = read_json(layout.type_details("xgboost"))
        details["test"]["roc_auc"] -= 0.01
        write_json(layout.type_details("xgboost"), details)
    files = read_report_files(own, PROBLEM)
    assert files.comparison is None
    assert "run `dvc repro compare@accidents`" in files.missing[-1]
    page = report(files, Registered())
    assert "champion</span>" not in page
    assert "without a comparison there are no intervals" in page


@pytest.mark.parametrize("lacking", ["difference_low", "roc_auc_low", "roc_auc"])
def test_a_figure_that_is_not_known_is_a_dash(own, lacking):
    layout = ProblemLayout(own, PROBLEM)
    table = pd.read_csv(layout.comparison)
    table.loc[table["type"] == "random_forest", lacking] = np.nan
    table.to_csv(layout.comparison, index=False)
    if lacking == "roc_auc":
        details = read_json(layout.type_details("random_forest"))
        del details["test"]["roc_auc"]
        write_json(layout.type_details("random_forest"), details)
    page = report(read_report_files(own, PROBLEM), Registered())
    assert "random_forest" in page
    assert ("not known" in page) == (lacking == "difference_low")


def test_without_data_or_with_other_data_there_are_no_slices(own):
    layout = ProblemLayout(own, PROBLEM)
    other = read_parquet(layout.tidy).head(3000)
    other.to_parquet(layout.tidy)
    files = read_report_files(own, PROBLEM)
    assert (slice_rows(files), target_by_time(files)) == ([], ("", []))
    shutil.rmtree(own / "data")
    assert 'id="slices"' not in report(read_report_files(own, PROBLEM), Registered())


# ---------------------------------------------------------------- hostile content


def hostile_classes(tmp_path, monkeypatch):
    """A problem of ten classes whose names and texts are hostile, as the train stage writes it."""
    schema = Schema.model_validate(
        {
            "name": "hostile", "title": HOSTILE, "task": "multiclass", "unit": HOSTILE,
            "registered_name": "Hostile", "experiment": "hostile",
            "columns": {
                "kind": {"kind": "target", "description": HOSTILE},
                "size": {"kind": "numeric", "description": HOSTILE, "slice": True},
            },
        }
    )  # fmt: skip
    monkeypatch.setattr(report_files, "load_schema", lambda _: schema)
    names = [HOSTILE, "None", "NA", "", *"cdefgh"]
    (tmp_path / "params.yaml").write_text(
        "problems: {hostile: {model_types: [xgboost], compare: {metric: log_loss}}}\n"
        "train: {hostile-xgboost: {problem: hostile, type: xgboost}}\n"
    )
    rng = np.random.default_rng(0)
    target = rng.integers(0, 10, 600)
    score = rng.dirichlet(np.ones(10), 600) + np.eye(10)[target]
    rows = Scored(target, score / 2, decision=score.argmax(axis=1))
    layout = ProblemLayout(tmp_path, "hostile")
    history = {"iteration": [1, 2], "train": [2.0, 1.0]}
    for name, table in curves.tables(rows, {HOSTILE: 2.0, "b": 1.0}, history, names).items():
        write_csv(layout.type_folder("xgboost") / "plots" / f"{name}.csv", table)
    tested = evaluate(rows)
    write_json(layout.type_details("xgboost"), {"validation": tested, "test": tested})
    write_json(
        layout.data_quality, {"rows": {"in": 9, "out": 8, "dropped": 1}, "dropped": {HOSTILE: 1}}
    )
    return read_report_files(tmp_path, "hostile")


def told(value):
    """What the registry may say, with hostile texts in it."""
    version = VersionFacts("xgboost", value, 1, "Staging", {"commit": value})
    return Registered([version], [Move("2026-01-01", value, "promote", "1", value, value, "done")])


def test_hostile_texts_are_escaped(tmp_path, monkeypatch):
    page = report(hostile_classes(tmp_path, monkeypatch), told(HOSTILE))
    content = re.sub(r"<script>\n/\* Vega.*?</script>", "", page, flags=re.DOTALL)
    assert "<img" not in content
    assert content.count("</script>") == content.count("<script")
    for block in re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', page):
        json.loads(block)


# ---------------------------------------------------------------- what the registry adds


def test_versions_and_moves_stand_beside_the_types(reported):
    name, time = "Accident_Prediction_XGBoost", "2026-01-01 10:00:00"
    made = VersionFacts("xgboost", name, 7, "Production", {"commit": "abc"})
    what = "7: None → Production"
    move = Move(time, name, "promote", what, "ada", "better on new rows", "done")
    page = report(read_report_files(reported, PROBLEM), Registered([made], [move]))
    assert "version 7 · Production" in page
    assert "better on new rows" in page
    lone = report(read_report_files(reported, PROBLEM), Registered(note="the registry is away"))
    assert "the registry is away" in lone


def test_the_same_files_give_the_same_page(reported):
    pages = [report(read_report_files(reported, PROBLEM), Registered()) for _ in range(2)]
    assert pages[0] == pages[1]
    assert len(pages[0]) < 2_000_000


def test_class_labels_that_read_as_missing_stay_labels(tmp_path, monkeypatch):
    files = hostile_classes(tmp_path, monkeypatch)
    shown = set(files.types[0].plots["confusion_matrix"]["actual"])
    assert {"None", "NA", ""} <= shown
    assert isinstance(files.types[0].plots["classes"], pd.DataFrame)


def test_a_slice_of_hardly_any_positives_has_its_value_alone():
    rng = np.random.default_rng(0)
    count = 12_000
    groups = np.arange(count)
    target = np.zeros(count, dtype=np.int8)
    target[[1, 3]] = 1  # every second group is drawn, and these are not
    rows = Scored(target, rng.random(count), 0.5)
    assert np.isnan(report_rows._interval(rows, groups, "roc_auc", 0.5)).all()
    found = report_rows._slice("night", "yes", rows, groups, "roc_auc")
    assert np.isfinite(found.value)
    assert np.isnan([found.low, found.high]).all()


def test_the_best_reachable_is_told_of_its_own_metric_only(own):
    assert read_report_files(own, PROBLEM).reachable
    path = own / "params.yaml"
    content = yaml.safe_load(path.read_text())
    content["problems"][PROBLEM].setdefault("compare", {})["metric"] = "f1"
    path.write_text(yaml.safe_dump(content))
    assert read_report_files(own, PROBLEM).metric == "f1"
    assert read_report_files(own, PROBLEM).reachable == {}
