"""Each window's metrics are those of its rows alone, whatever the order of the rows."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep.evaluation.metrics import evaluate
from lockstep.evaluation.rolling import rolling_metrics
from lockstep.evaluation.scored_rows import Scored

NAMES = {
    "binary": ("accuracy", "precision", "recall", "f1", "roc_auc"),
    "multiclass": ("accuracy", "macro_precision", "macro_recall", "macro_f1", "macro_roc_auc"),
    "regression": ("mae", "rmse", "r2"),
}
NOTED = {"binary": "roc_auc", "multiclass": "macro_roc_auc", "regression": "r2"}
tasks = pytest.mark.parametrize("task", list(NAMES))
drawn_days = st.lists(st.integers(0, 25), min_size=2, max_size=60)


def make_rows(task: str, count: int, seed: int) -> Scored:
    rng = np.random.default_rng(seed)
    if task == "multiclass":
        score = rng.dirichlet([1, 1, 1], count).round(2)
        return Scored(rng.integers(0, 3, count), score, decision=score.argmax(axis=1))
    score = rng.integers(0, 8, count) / 8
    if task == "regression":
        return Scored(rng.integers(0, 3, count) / 2, score)
    return Scored((rng.random(count) < score).astype(np.int8), score, 0.4)


def dates(days) -> np.ndarray:
    return np.datetime64("2021-02-20") + np.array(days)


@tasks
@given(drawn_days, st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_each_window_is_evaluated_as_its_rows_alone(task, days, seed) -> None:
    day, rows = dates(days), make_rows(task, len(days), seed)
    table = rolling_metrics(day, rows)
    assert table["window_end"].tolist() == [str(d) for d in np.unique(day)]
    for _, window in table.iterrows():
        start, end = np.datetime64(window["window_start"]), np.datetime64(window["window_end"])
        assert end - start == np.timedelta64(6, "D")
        inside = rows.take((day >= start) & (day <= end))
        assert window["count"] == len(inside.target)
        if len(set(inside.target.tolist())) == 1:
            assert np.isnan(window[NOTED[task]])
            assert "no " in window["note"] or "one " in window["note"]
            continue
        expected = evaluate(inside)
        for name in NAMES[task]:
            assert window[name] == pytest.approx(expected[name], abs=1e-12)


@tasks
@given(drawn_days, st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_the_order_of_the_rows_changes_no_bit(task, days, random) -> None:
    day, rows = dates(days), make_rows(task, len(days), 7)
    mixed = list(range(len(days)))
    random.shuffle(mixed)
    again = rolling_metrics(day[mixed], rows.take(np.array(mixed)))
    pd.testing.assert_frame_equal(rolling_metrics(day, rows), again, check_exact=True)


def test_the_columns_of_two_classes() -> None:
    rows = Scored(np.array([1, 0, 1, 0, 0]), np.array([0.9, 0.2, 0.3, 0.6, 0.1]), 0.5)
    table = rolling_metrics(dates([0, 0, 3, 6, 20]), rows)
    assert list(table) == [
        "window_start", "window_end", "count", "rate", "accuracy", "precision", "recall", "f1",
        "roc_auc", "note",
    ]  # fmt: skip
    assert table["window_start"].tolist()[0] == "2021-02-14"
    assert table["count"].tolist() == [2, 3, 4, 1]
    assert table["rate"].tolist() == pytest.approx([1 / 2, 2 / 3, 1 / 2, 0])
    assert table["note"].tolist() == ["1 of 7 days", "4 of 7 days", "", "no positive row"]
    assert table["roc_auc"].isna().tolist() == [False, False, False, True]


def test_a_window_of_positives_alone_says_so() -> None:
    rows = Scored(np.array([1, 1, 0]), np.array([0.9, 0.2, 0.3]), 0.5)
    assert rolling_metrics(dates([0, 0, 30]), rows)["note"].tolist()[0] == (
        "1 of 7 days; no negative row"
    )


def test_a_regression_tells_its_means_and_one_value_of_the_target() -> None:
    rows = Scored(np.array([2.0, 2.0, 4.0]), np.array([1.0, 3.0, 4.0]))
    table = rolling_metrics(dates([0, 0, 1]), rows)
    assert list(table)[3:] == ["mean_target", "mean_prediction", "mae", "rmse", "r2", "note"]
    assert table["mean_target"].tolist() == pytest.approx([2, 8 / 3])
    assert table["mean_prediction"].tolist() == pytest.approx([2, 8 / 3])
    assert table["note"].tolist() == ["1 of 7 days; one value of the target", "2 of 7 days"]


def test_half_a_million_rows_of_three_years_need_no_matrix_of_rows_by_windows() -> None:
    rng = np.random.default_rng(0)
    day, score = dates(rng.integers(0, 1095, 500_000)), rng.random(500_000)
    rows = Scored((rng.random(500_000) < score).astype(np.int8), score, 0.5)
    tracemalloc.start()
    table = rolling_metrics(day, rows)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.2 * len(day) * len(table) * 8
    last = rows.take(day > day.max() - np.timedelta64(7, "D"))
    assert table["roc_auc"].iloc[-1] == pytest.approx(evaluate(last)["roc_auc"])
