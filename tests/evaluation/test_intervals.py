"""Conformal intervals hold what they promise, in every group, and a damaged one is refused."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep.errors import ArtifactError, DataError
from lockstep.evaluation.intervals import bounds, check_interval, coverage_of, fit_interval, groups
from lockstep.evaluation.scored_rows import Scored


def made(rows: int, seed: int) -> Scored:
    """Predictions whose errors grow with them."""
    rng = np.random.default_rng(seed)
    score = np.round(rng.uniform(0, 5, rows), 8)
    return Scored(score + rng.normal(0, 0.1 + 0.2 * score), score)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(9, 900),
    seed=st.integers(0, 10_000),
    coverage=st.sampled_from([0.5, 0.8, 0.9]),
    ties=st.booleans(),
)
def test_it_holds_its_share_of_the_rows_it_was_made_of(
    rows: int, seed: int, coverage: float, ties: bool
) -> None:
    scored = made(rows, seed)
    scored = Scored(scored.target, np.round(scored.score) if ties else scored.score)
    interval = fit_interval(scored, coverage)
    found = coverage_of(interval, scored)
    assert found["coverage"] >= coverage
    assert all(group["coverage"] >= coverage for group in found["groups"].values())
    assert interval["edges"] == sorted(set(interval["edges"]))
    assert len(interval["half_widths"]) == len(interval["edges"]) + 1
    assert check_interval(json.loads(json.dumps(interval)), "here") == interval


def test_it_holds_its_share_of_new_rows_in_every_group() -> None:
    held = [
        coverage_of(fit_interval(made(1000, seed)), made(4000, seed + 500)) for seed in range(20)
    ]
    assert np.mean([one["coverage"] for one in held]) == pytest.approx(0.9, abs=0.02)
    for name in held[0]["groups"]:
        assert np.mean([one["groups"][name]["coverage"] for one in held]) == pytest.approx(
            0.9, abs=0.04
        )


def test_it_is_wider_where_errors_are_larger() -> None:
    interval = fit_interval(made(2000, 1))
    assert len(interval["half_widths"]) == 10
    assert interval["half_widths"][-1] > 3 * interval["half_widths"][0]
    assert groups(interval, np.array([0.0, 4.99])).tolist() == [0, 9]


def test_it_stays_within_the_targets_range() -> None:
    low, high = bounds(
        fit_interval(made(500, 2), 0.9, low=0.0, high=5.0), np.array([0.01, 2.5, 4.9])
    )
    assert low.min() >= 0
    assert high.max() <= 5
    assert (low < high).all()


def test_one_prediction_for_all_makes_one_group() -> None:
    rng = np.random.default_rng(0)
    interval = fit_interval(Scored(rng.normal(size=400), np.zeros(400)))
    assert interval["edges"] == []
    assert interval["half_widths"][0] == pytest.approx(1.645, abs=0.2)


def test_too_few_rows_say_how_many_are_needed() -> None:
    fit_interval(made(9, 0), 0.9)
    with pytest.raises(
        DataError, match=r"holds 90% needs 9 validation rows, there are 8; raise .*validation"
    ):
        fit_interval(made(8, 0), 0.9)


@pytest.mark.parametrize(
    "damage",
    [
        {"half_widths": [1.0]},
        {"half_widths": [1.0, -1.0]},
        {"half_widths": [1.0, float("nan")]},
        {"edges": [2.0, 1.0], "half_widths": [1.0, 1.0, 1.0]},
        {"edges": "x"},
        {"coverage": 2},
        {"coverage": None},
    ],
)
def test_a_damaged_one_is_refused(damage: dict) -> None:
    good = {"coverage": 0.9, "edges": [1.0], "half_widths": [0.1, 0.2]}
    assert check_interval(good, "NAME version 1") == good
    with pytest.raises(ArtifactError, match="NAME version 1: its prediction interval is damaged"):
        check_interval({**good, **damage}, "NAME version 1")
    with pytest.raises(ArtifactError, match="damaged"):
        check_interval(None, "it")


def test_small_targets_have_intervals_of_their_size() -> None:
    plain = made(600, 3)
    small = Scored(plain.target * 1e-9, plain.score * 1e-9)
    one, other = (fit_interval(rows, 0.9) for rows in (plain, small))
    assert np.array(other["half_widths"]) == pytest.approx(
        np.array(one["half_widths"]) * 1e-9, rel=1e-4
    )
    assert len(other["edges"]) == len(one["edges"])
    low, high = bounds(other, small.score)
    inside = (small.target >= low) & (small.target <= high)
    assert inside.mean() == pytest.approx(coverage_of(one, plain)["coverage"], abs=0.01)
