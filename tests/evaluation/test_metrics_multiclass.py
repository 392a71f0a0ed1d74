"""Metrics of several classes agree with scikit-learn's, weighted or not, whatever the classes."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from lockstep.errors import DataError
from lockstep.evaluation import metrics_multiclass
from lockstep.evaluation.metrics import MULTICLASS, Scored, evaluate, metric_names, weighted_metrics


def make_rows(seed: int, classes: int = 4, rows: int = 200, digits: int = 8) -> Scored:
    rng = np.random.default_rng(seed)
    margin = rng.normal(0, 1.5, (rows, classes)) - np.arange(classes) / 2
    target = (margin + rng.gumbel(size=margin.shape)).argmax(axis=1).astype(np.int8)
    target[:classes] = np.arange(classes)
    score = np.exp(margin) / np.exp(margin).sum(axis=1, keepdims=True)
    # Cut off, so that there are ties; a row still adds up to one, which is what scikit-learn wants.
    score[:, 1:] = np.floor(score[:, 1:] * 10**digits) / 10**digits
    score[:, 0] = np.clip(1 - score[:, 1:].sum(axis=1), 0, 1)
    return Scored(target, score, decision=score.argmax(axis=1))


def _reference(rows: Scored, weights: np.ndarray) -> dict[str, float]:
    y, p, d, w = rows.target, rows.score, rows.decision, {"sample_weight": weights}
    labels = list(range(p.shape[1]))
    mean = {**w, "zero_division": 0}
    area = {**w, "multi_class": "ovr", "labels": labels}
    return {
        "accuracy": reference.accuracy_score(y, d, **w),
        "balanced_accuracy": reference.balanced_accuracy_score(y, d, **w),
        "macro_f1": reference.f1_score(y, d, average="macro", **mean),
        "weighted_f1": reference.f1_score(y, d, average="weighted", **mean),
        "macro_precision": reference.precision_score(y, d, average="macro", **mean),
        "macro_recall": reference.recall_score(y, d, average="macro", **mean),
        "macro_roc_auc": reference.roc_auc_score(y, p, average="macro", **area),
        "weighted_roc_auc": reference.roc_auc_score(y, p, average="weighted", **area),
        "log_loss": reference.log_loss(y, p, labels=labels, **w),
        "brier": reference.brier_score_loss(y, p, labels=labels, **w),
    }


@given(st.integers(0, 10_000), st.integers(3, 7), st.sampled_from([8, 2, 1]))
@settings(max_examples=12, deadline=None)
def test_metrics_equal_scikit_learn_s(seed: int, classes: int, digits: int) -> None:
    rows = make_rows(seed, classes, digits=digits)
    rng = np.random.default_rng(seed)
    weights = rng.integers(0, 4, size=(3, len(rows.target))).astype(float)
    weights[:, :classes] = 1  # every class is drawn
    found = weighted_metrics(rows)(weights.T)
    assert tuple(found) == MULTICLASS == metric_names("multiclass")
    for i in range(3):
        for name, value in _reference(rows, weights[i]).items():
            assert found[name][i] == pytest.approx(value, abs=1e-9), name


@given(st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_a_resample_is_its_rows_written_out(seed: int) -> None:
    """Also where a class is not drawn: then it is in no mean, as if it did not exist."""
    rows = make_rows(seed, classes=4, rows=30)
    weights = np.random.default_rng(seed).integers(0, 2, 30)
    drawn = np.repeat(np.arange(30), weights)
    if len(set(rows.target[drawn])) < 2:
        return
    written = evaluate(Scored(rows.target[drawn], rows.score[drawn], decision=rows.decision[drawn]))
    found = weighted_metrics(rows)(weights[:, None].astype(float))
    for name, value in written.items():
        assert found[name][0] == pytest.approx(value, abs=1e-12), name


def test_the_top_label_s_calibration_error() -> None:
    # two rows sure at .9, one of them right; one row sure at .5 and right
    score = np.array([[0.9, 0.1, 0.0], [0.05, 0.9, 0.05], [0.5, 0.3, 0.2]])
    rows = Scored(np.array([0, 2, 0]), score)
    assert evaluate(rows)["calibration_error"] == pytest.approx((2 * 0.4 + 0.5) / 3)


def test_decisions_count_and_not_the_likeliest_class() -> None:
    score = np.array([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.1, 0.2, 0.7]])
    target = np.array([0, 1, 2])
    assert evaluate(Scored(target, score))["accuracy"] == 1
    decided = evaluate(Scored(target, score, decision=np.array([2, 2, 2])))
    assert decided["accuracy"] == pytest.approx(1 / 3)
    assert decided["macro_roc_auc"] == 1


def test_a_class_without_rows_takes_part_in_nothing_and_warns_of_nothing() -> None:
    rows = make_rows(1, classes=4)
    kept = rows.target != 2
    few = Scored(rows.target[kept], rows.score[kept], decision=np.minimum(rows.decision[kept], 1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = evaluate(few)
    others = [0, 1, 3]
    areas = [reference.roc_auc_score(few.target == k, few.score[:, k]) for k in others]
    assert found["macro_roc_auc"] == pytest.approx(np.mean(areas))
    recalls = reference.recall_score(
        few.target, few.decision, average=None, labels=others, zero_division=0
    )
    assert found["balanced_accuracy"] == pytest.approx(np.mean(recalls))


def test_rows_of_one_class_are_an_error() -> None:
    with pytest.raises(DataError, match="all of one class"):
        evaluate(Scored(np.zeros(3, dtype=int), np.full((3, 3), 1 / 3)))


def test_a_probability_of_nothing_has_a_finite_loss() -> None:
    score = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    assert np.isfinite(evaluate(Scored(np.array([0, 1, 2]), score))["log_loss"])


def test_the_figures_by_class_are_scikit_learn_s() -> None:
    rows = make_rows(3)
    found = metrics_multiclass.by_class(rows)(np.ones((len(rows.target), 1)))
    wanted = reference.precision_recall_fscore_support(rows.target, rows.decision, zero_division=0)
    for name, values in zip(("precision", "recall", "f1", "rows"), wanted, strict=True):
        assert found[name][:, 0] == pytest.approx(values)
