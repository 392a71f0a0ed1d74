"""Curves hold the figures they claim, in few points."""

import numpy as np
import pytest
from sklearn import metrics as reference

from lockstep.evaluation import curves, curves_binary
from lockstep.evaluation.metrics import Scored, evaluate


@pytest.fixture(scope="module")
def rows() -> Scored:
    rng = np.random.default_rng(0)
    score = np.round(rng.random(3000), 3)
    return Scored((rng.random(3000) < score).astype(np.int8), score, 0.6)


def test_the_roc_curve_has_the_area_of_the_metric(rows) -> None:
    curve = curves_binary.roc(rows)
    assert len(curve) <= 200
    assert curve.iloc[0][["fpr", "tpr"]].tolist() == [0, 0]
    assert curve.iloc[-1][["fpr", "tpr"]].tolist() == [1, 1]
    assert np.trapezoid(curve["tpr"], curve["fpr"]) == pytest.approx(
        evaluate(rows)["roc_auc"], abs=1e-3
    )


def test_precision_and_recall_are_those_at_the_threshold_given(rows) -> None:
    for _, point in curves_binary.precision_recall(rows).iloc[::20].iterrows():
        chosen = rows.score >= point["threshold"]
        assert point["precision"] == pytest.approx(reference.precision_score(rows.target, chosen))
        assert point["recall"] == pytest.approx(reference.recall_score(rows.target, chosen))


def test_calibration_groups_hold_every_row_once(rows) -> None:
    table = curves_binary.calibration(rows)
    assert table["rows"].sum() == 3000
    assert np.abs(table["predicted"] - table["observed"]).max() < 0.15
    assert table["predicted"].is_monotonic_increasing


def test_the_confusion_matrix_counts_every_case_in_four_rows(rows) -> None:
    table = curves_binary.confusion(rows)
    assert table[["actual", "predicted"]].to_numpy().tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    counted = table["rows"].to_numpy().reshape(2, 2)
    assert (counted == reference.confusion_matrix(rows.target, rows.score >= 0.6)).all()


def test_importance_is_in_shares_the_largest_first() -> None:
    table = curves.importance_table({"a": 1.0, "b": 6.0, "c": 3.0})
    assert table.to_dict("list") == {"feature": ["b", "c", "a"], "importance": [0.6, 0.3, 0.1]}
    assert curves.importance_table({"a": 0.0})["importance"].tolist() == [0.0]


def test_thinning_keeps_both_ends() -> None:
    table = curves.history_table(
        {"iteration": [float(i + 1) for i in range(1000)], "stop_log_loss": [0.5] * 1000}
    )
    assert len(table) == 200
    assert table["iteration"].iloc[[0, -1]].tolist() == [1, 1000]


def test_regression_has_no_curves_of_classes() -> None:
    rows = Scored(np.array([1.0, 2.0]), np.array([1.5, 2.5]))
    found = set(curves.tables(rows, {"a": 1.0}, {}))
    assert "importance" in found
    assert not found & {"roc", "pr", "calibration", "confusion_matrix", "classes"}


def test_the_calibration_curve_has_the_scores_before_it_beside(rows) -> None:
    before = rows.score**2
    table = curves_binary.calibration(rows, before)
    assert list(table) == [
        "predicted", "observed", "rows", "uncalibrated_predicted", "uncalibrated_observed",
    ]  # fmt: skip
    plain = curves_binary.calibration(rows)
    assert (table[list(plain)] == plain).all(axis=None)
    # A rising calibration leaves the groups as they are, apart from ties.
    assert np.abs(table["uncalibrated_observed"] - table["observed"]).max() < 0.05
    assert (table["uncalibrated_predicted"] < table["predicted"]).all()
