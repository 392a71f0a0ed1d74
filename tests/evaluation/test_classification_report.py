"""The report by class agrees with scikit-learn's, also where a class has no row."""

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as reference

from lockstep.evaluation.classification_report import FIGURES, classification_report
from lockstep.evaluation.plot_data import confusions


def reported(actual: np.ndarray, predicted: np.ndarray, classes: int) -> pd.DataFrame:
    table = confusions(actual, predicted).astype({"actual": str, "predicted": str})
    return classification_report(table, [str(place) for place in range(classes)])


@pytest.mark.parametrize("classes", [2, 5])
def test_it_agrees_with_scikit_learn(classes: int) -> None:
    rng = np.random.default_rng(classes)
    actual, predicted = rng.integers(0, classes, (2, 300))
    predicted[predicted == classes - 1] = 0  # one class is never decided
    found = reported(actual, predicted, classes).set_index("class")
    expected = reference.classification_report(
        actual, predicted, labels=range(classes), output_dict=True, zero_division=0
    )
    accuracy = expected.pop("accuracy", None) or (actual == predicted).mean()
    for name, figures in expected.items():
        assert found.loc[name, FIGURES].tolist() == pytest.approx([figures[f] for f in FIGURES])
        assert found.loc[name, "support"] == figures["support"]
    assert found.loc["accuracy", FIGURES].tolist() == pytest.approx([accuracy] * 3)
    assert found["support"].dtype.kind == "i"


def test_a_class_without_rows_is_reported_with_zeros() -> None:
    found = reported(np.array([0, 0]), np.array([0, 1]), 3).set_index("class")
    assert found.loc["2"].tolist() == [0.0, 0.0, 0.0, 0]
    assert found.loc["0", "recall"] == 0.5
