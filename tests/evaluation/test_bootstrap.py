"""Resamples are of whole groups, seeded, and the same for every model."""

import numpy as np
import pytest

from lockstep.evaluation.bootstrap import group_weights, interval, resampled
from lockstep.evaluation.metrics import Scored
from lockstep.evaluation.paired_comparison import paired_difference


def _weights(groups: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    return np.concatenate([chunk.T for chunk in group_weights(groups, resamples, seed)])


def test_weights_keep_groups_whole_and_count_groups_drawn() -> None:
    groups = np.array([7, 7, 3, 9, 9, 9, 1])
    weights = _weights(groups, 50, seed=1)
    assert weights.shape == (50, 7)
    assert (weights[:, 0] == weights[:, 1]).all()
    assert (weights[:, 3] == weights[:, 5]).all()
    one_row_a_group = weights[:, [0, 2, 3, 6]]
    assert (one_row_a_group.sum(axis=1) == 4).all()


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    groups = np.arange(100) // 3
    whole = _weights(groups, 40, seed=5)
    monkeypatch.setattr("lockstep.evaluation.bootstrap.CHUNK_CELLS", 1)
    assert (_weights(groups, 40, seed=5) == whole).all()
    assert (_weights(groups, 40, seed=6) != whole).any()


def test_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(100):
        target = (rng.random(300) < 0.3).astype(np.int8)
        rows = Scored(target, np.full(300, 0.3), 0.5)
        values = resampled({"constant": rows}, np.arange(300), resamples=200)["constant"][
            "accuracy"
        ]
        low, high = interval(values)
        covered += low <= 0.7 <= high
    assert 85 <= covered <= 100


def test_groups_of_copies_widen_the_interval() -> None:
    rng = np.random.default_rng(1)
    score = np.repeat(rng.random(100), 9)
    rows = Scored(np.repeat(rng.random(100) < score[::9], 9).astype(np.int8), score, 0.5)
    by_group = resampled({"m": rows}, np.repeat(np.arange(100), 9), 300)["m"]["roc_auc"]
    by_row = resampled({"m": rows}, np.arange(900), 300)["m"]["roc_auc"]
    assert by_group.std() > 2 * by_row.std()


def test_paired_differences_of_equal_models_are_zero() -> None:
    rng = np.random.default_rng(2)
    score = rng.random(200)
    rows = Scored((rng.random(200) < score).astype(np.int8), score, 0.5)
    found = resampled({"a": rows, "b": rows}, np.arange(200), 100)
    for metric, values in found["a"].items():
        assert (values == found["b"][metric]).all()


def test_resamples_without_a_class_are_left_out_of_an_interval() -> None:
    rng = np.random.default_rng(3)
    target = np.zeros(300, dtype=np.int8)
    target[:3] = 1
    rows = Scored(target, rng.random(300) + target, 0.5)
    drawn = resampled({"m": rows}, np.arange(300), 400)["m"]
    lacking = np.isnan(drawn["roc_auc"])
    assert 0.02 < lacking.mean() < 0.09  # (1 - 3 / 300) ** 300
    for metric in ("average_precision", "ks"):
        assert (np.isnan(drawn[metric]) == lacking).all()
    assert interval(drawn["roc_auc"])[0] > 0.9
    worse = Scored(target, rng.random(300), 0.5)
    found = paired_difference(rows, worse, np.arange(300), "roc_auc", 400)
    gaps = drawn["roc_auc"] - resampled({"m": worse}, np.arange(300), 400)["m"]["roc_auc"]
    assert (found.low, found.high) == pytest.approx(interval(gaps))
    assert np.isfinite([found.low, found.high]).all()
