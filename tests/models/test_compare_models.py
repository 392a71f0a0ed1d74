"""The comparison is of the same rows, names the better one, and says by how much."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lockstep.config.layout import ProblemLayout
from lockstep.config.params import Compare
from lockstep.errors import ConfigError, DataError
from lockstep.evaluation.comparison import Candidate, champion_of, check_same_rows, comparison_table
from lockstep.evaluation.metrics import BINARY
from lockstep.io import read_json
from lockstep.models import compare_models


def _candidate(name: str, noise: float, seed: int = 0, rows: int = 800) -> Candidate:
    rng = np.random.default_rng(seed)
    truth = rng.random(rows)
    score = np.clip(truth + noise * rng.normal(size=rows), 0, 1)
    table = pd.DataFrame(
        {"__row__": np.arange(rows), "__group__": np.arange(rows) // 2, "score": score}
    )
    table["part"] = np.where(table["__row__"] < rows // 2, "choose", "test")
    table["__target__"] = (np.random.default_rng(99).random(rows) < truth).astype(np.int8)
    return Candidate(name, 0.5, table)


def test_the_stage_writes_a_row_a_type_and_the_champion(trained_workspace: Path) -> None:
    layout = ProblemLayout(trained_workspace, "accidents")
    table = pd.read_csv(layout.comparison)
    assert table["type"].tolist() == ["logistic_regression", "random_forest", "xgboost", "lightgbm"]
    champion = read_json(layout.champion)
    best = table.loc[table["validation_roc_auc"].idxmax()]
    assert champion["type"] == best["type"]
    assert champion["value"] == pytest.approx(best["validation_roc_auc"])
    assert table.loc[table["champion"], "type"].tolist() == [champion["type"]]
    assert set(champion["best_reachable"]) == {"validation", "test"}
    for metric in BINARY:
        assert (table[f"{metric}_low"] <= table[metric] + 1e-9).all()
        assert (
            table[metric] <= table[f"{metric}_high"] + 1e-9
        ).all() or metric == "calibration_error"


def test_the_stage_writes_the_same_bytes_again(trained_workspace: Path) -> None:
    layout = ProblemLayout(trained_workspace, "accidents")
    before = layout.comparison.read_bytes(), layout.champion.read_bytes()
    printed = compare_models.run(trained_workspace, "accidents")
    assert (layout.comparison.read_bytes(), layout.champion.read_bytes()) == before
    assert "best reachable ROC AUC" in printed
    assert printed.count("\n") == 6


def test_the_difference_to_the_champion_is_paired() -> None:
    good, copy, bad = _candidate("good", 0.05), _candidate("copy", 0.05), _candidate("bad", 0.8)
    table = comparison_table([good, copy, bad], Compare(resamples=300), "good").set_index("type")
    assert table.loc["copy", ["difference", "difference_low", "difference_high"]].tolist() == [
        0,
        0,
        0,
    ]
    assert table.loc["bad", "difference_high"] < 0
    apart = table.loc["bad", "roc_auc_high"] - table.loc["bad", "roc_auc_low"]
    assert table.loc["bad", "difference_high"] - table.loc["bad", "difference_low"] < 2 * apart


def test_the_champion_goes_by_validation_and_a_tie_by_order() -> None:
    good, bad = _candidate("good", 0.05), _candidate("bad", 0.8)
    swapped = good.scores.copy()
    swapped.loc[swapped["part"] == "test", "score"] = (
        0.5  # worse on the test part, which must not count
    )
    good = Candidate("good", 0.5, swapped)
    assert champion_of([bad, good], "roc_auc")[0] == "good"
    assert champion_of([bad, good], "log_loss")[0] == "good"
    assert champion_of([Candidate("twin", 0.5, swapped), good], "roc_auc")[0] == "twin"


def test_other_rows_are_refused() -> None:
    one, other = _candidate("one", 0.1), _candidate("other", 0.1, rows=700)
    with pytest.raises(
        DataError, match="one and other were evaluated on different rows; run `dvc repro`"
    ):
        check_same_rows([one, other])


def test_a_type_that_was_not_trained_names_the_command(workspace: Path) -> None:
    with pytest.raises(
        DataError, match=r"run `dvc repro train_multi_model@accidents-logistic_regression`"
    ):
        compare_models.run(workspace, "accidents")
    assert not ProblemLayout(workspace, "accidents").comparison.exists()


def test_an_unknown_metric_names_the_nearest(workspace: Path) -> None:
    text = (workspace / "params.yaml").read_text()
    (workspace / "params.yaml").write_text(text.replace("{resamples: 100}", "{metric: roc_acu}"))
    with pytest.raises(ConfigError, match="did you mean 'roc_auc'"):
        compare_models.run(workspace, "accidents")
