"""Tables of a regression's plots: few dots, evenly chosen, and coverage by group."""

import numpy as np

from lockstep.evaluation.curves_regression import DOTS, coverage, predicted_actual, residuals
from lockstep.evaluation.intervals import fit_interval
from lockstep.evaluation.scored_rows import Scored


def made(rows: int) -> Scored:
    rng = np.random.default_rng(0)
    score = rng.uniform(0, 5, rows)
    return Scored(score + rng.normal(0, 0.3, rows), score)


def test_dots_are_at_most_so_many_from_the_lowest_to_the_highest_prediction() -> None:
    rows = made(3000)
    table = predicted_actual(rows)
    assert len(table) == DOTS
    assert table["predicted"].is_monotonic_increasing
    assert [table["predicted"].min(), table["predicted"].max()] == [
        rows.score.min(),
        rows.score.max(),
    ]
    pairs = set(zip(rows.score, rows.target, strict=True))
    assert set(zip(table["predicted"], table["actual"], strict=True)) <= pairs


def test_all_rows_are_shown_where_they_are_few_and_residuals_are_actual_minus_predicted() -> None:
    rows = made(40)
    table = residuals(rows)
    order = np.argsort(rows.score)
    assert table["residual"].tolist() == (rows.target - rows.score)[order].tolist()


def test_coverage_is_by_group_with_the_share_declared() -> None:
    rows = made(1000)
    table = coverage(rows, fit_interval(rows, 0.8))
    assert len(table) == 10
    assert table["rows"].sum() == 1000
    assert (table["coverage"] >= table["declared"]).all()
    assert table["predicted"].is_monotonic_increasing
