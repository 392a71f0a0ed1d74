"""The tables behind the plots of several classes say what their rows do."""

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, roc_auc_score
from tests.evaluation.test_metrics_multiclass import make_rows

from lockstep.evaluation import curves, curves_multiclass
from lockstep.evaluation.metrics import Scored

LABELS = ["à rénover", "None", "très bon état", "4"]


def test_every_table_of_several_classes() -> None:
    rows = make_rows(0)
    found = curves.tables(rows, {"a": 1.0}, {}, LABELS)
    assert set(found) == {"importance", "classes", "roc", "pr", "calibration", "confusion_matrix"}


def test_the_report_has_a_row_a_class_and_no_area_where_none_is() -> None:
    rows = make_rows(0)
    table = curves_multiclass.report(rows, LABELS).set_index("class")
    assert list(table.index) == LABELS
    assert table["rows"].sum() == len(rows.target)
    for place, label in enumerate(LABELS):
        area = roc_auc_score(rows.target == place, rows.score[:, place])
        assert table.loc[label, "roc_auc"] == pytest.approx(area)
    kept = rows.target != 1
    few = Scored(rows.target[kept], rows.score[kept])
    table = curves_multiclass.report(few, LABELS).set_index("class")
    assert table.loc["None", "rows"] == 0
    assert np.isnan(table.loc["None", "roc_auc"])


def test_the_confusions_are_all_rows_by_label() -> None:
    rows = make_rows(2)
    table = curves_multiclass.confusion(rows, LABELS)
    found = confusion_matrix(
        table["actual"], table["predicted"], labels=LABELS, sample_weight=table["rows"]
    )
    assert (found == confusion_matrix(rows.target, rows.decision)).all()


def test_curves_of_each_class_lie_below_each_other() -> None:
    rows = make_rows(3, rows=3000)
    table = curves_multiclass.tables(rows, LABELS)["roc"]
    assert list(table.columns) == ["class", "fpr", "tpr", "threshold"]
    assert len(table) <= curves_multiclass.ROWS
    for label, points in table.groupby("class"):
        assert (points["fpr"].iloc[0], points["tpr"].iloc[-1]) == (0, 1), label
        place = LABELS.index(str(label))
        area = np.trapezoid(points["tpr"], points["fpr"])
        assert area == pytest.approx(
            roc_auc_score(rows.target == place, rows.score[:, place]), abs=0.01
        )


def test_precision_and_calibration_of_each_class_are_against_all_others() -> None:
    rows = make_rows(5, rows=2000)
    found = curves_multiclass.tables(rows, LABELS, rows.score / 2)
    pr, calibration = found["pr"], found["calibration"]
    assert set(pr["class"]) == set(calibration["class"]) == set(LABELS)
    for place, label in enumerate(LABELS):
        last = pr[pr["class"] == label].iloc[-1]
        assert last["precision"] == pytest.approx((rows.target == place).mean())
    halved = calibration["uncalibrated_predicted"].to_numpy()
    assert halved == pytest.approx(calibration["predicted"].to_numpy() / 2)
    assert "uncalibrated_predicted" not in curves_multiclass.tables(rows, LABELS)["calibration"]
