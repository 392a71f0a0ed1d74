"""Counts in bins say nearly what the values say: scipy and scikit-learn are the judges."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2_contingency, ks_2samp, wasserstein_distance
from sklearn.metrics import f1_score, roc_auc_score

from lockstep.monitoring.bins import Bins, bins_of, counted, number_bins
from lockstep.monitoring.distances import (
    chi_squared,
    coarse_groups,
    index_by_chance,
    kolmogorov_smirnov,
    merged,
    stability_index,
    total_variation,
    wasserstein,
)
from lockstep.monitoring.performance import area, f1, gap, separation, share
from lockstep.monitoring.reference import SCORE_BINS
from lockstep.problems.schema import Column

RNG = np.random.default_rng(7)


def counts_of(bins, values):
    return counted(bins.places(values), bins.size)


def two_samples(rows=4000, shift=0.3):
    return RNG.normal(size=rows), RNG.normal(shift, 1.2, size=rows)


# ---- bins ---------------------------------------------------------------------------------------


@given(st.lists(st.floats(-1e6, 1e6) | st.just(float("nan")), max_size=60))
@settings(max_examples=60, deadline=None)
def test_every_number_lies_in_one_bin_and_missing_ones_in_the_last(values):
    numbers = np.array(values, dtype=np.float64)
    bins = number_bins(numbers, 10)
    counts = counts_of(bins, numbers)
    assert counts.sum() == len(values)
    assert counts[bins.missing] == np.isnan(numbers).sum()
    assert Bins.read(bins.content) == bins


def test_numbers_with_few_values_have_a_bin_each():
    bins = number_bins(np.repeat([0.0, 1, 2, 7], [50, 30, 15, 5]), 50)
    assert list(counts_of(bins, np.array([0.0, 1, 1, 2, 7, 7, 7, np.nan]))) == [1, 2, 1, 3, 1]
    assert bins.centers == (0.0, 1.0, 2.0, 7.0)


def test_categories_are_counted_by_value_the_rare_ones_together():
    column = Column(name="town", kind="categorical", missing=True)
    values = pd.Series(["Lyon"] * 30 + ["Paris"] * 20 + ["Aix"] * 3 + [None] * 2, dtype="str")
    bins = bins_of(column, values, np.arange(len(values)))
    assert bins.values == ("Lyon", "Paris")
    assert list(counts_of(bins, values)) == [30, 20, 3, 2]
    logged = np.array(["Paris", "Nice", None], dtype=object)
    assert list(counts_of(bins, logged)) == [0, 1, 1, 1]
    one_group = bins_of(column, values, np.zeros(len(values)))
    assert one_group.values == (), "a value of one group only is not named"


def test_codes_of_the_schema_are_counted_though_no_row_has_them():
    column = Column(name="lum", kind="categorical", codes={1: "day", 2: "dusk", 3: "night"})
    bins = bins_of(column, pd.Series([1.0, 1, 2]), np.arange(3))
    assert list(counts_of(bins, np.array([1.0, 3, 3]))) == [1, 0, 2, 0, 0]


# ---- distances ----------------------------------------------------------------------------------


def test_distances_of_numbers_are_nearly_those_of_the_values():
    one, other = two_samples()
    bins = number_bins(one, 50)
    here, there = counts_of(bins, one)[:-1], counts_of(bins, other)[:-1]
    exact = ks_2samp(one, other)
    found, p_value = kolmogorov_smirnov(here, there)
    assert found == pytest.approx(exact.statistic, abs=0.01)
    assert p_value < 1e-10
    assert exact.pvalue < 1e-10
    apart = wasserstein(here, there, np.array(bins.centers))
    assert apart == pytest.approx(wasserstein_distance(one, other), rel=0.1)


def test_distances_of_categories():
    one, other = np.array([500, 300, 200]), np.array([450, 300, 250])
    exact = chi2_contingency(np.stack([one, other]), correction=False)
    assert chi_squared(one, other) == pytest.approx((exact.statistic, exact.pvalue))
    assert total_variation(one, other) == pytest.approx(0.05)
    p, q = one / 1000, other / 1000
    assert stability_index(one, other) == pytest.approx(((q - p) * np.log(q / p)).sum())
    assert stability_index(one, one * 7) == 0


def test_the_index_by_chance_is_what_noise_gives():
    share_of = np.full(10, 0.1)
    drawn = RNG.multinomial(5000, share_of, size=(400, 2))
    mean = np.mean([stability_index(a, b) for a, b in drawn])
    assert index_by_chance(*drawn[0]) == pytest.approx(mean, rel=0.1)


def test_fine_bins_become_groups_of_about_equal_counts():
    values = two_samples()[0]
    counts = counts_of(number_bins(values, 50), values)[:-1]
    groups = merged(counts, coarse_groups(counts))
    assert len(groups) == 10
    assert groups.max() < 1.2 * groups.min()


# ---- performance --------------------------------------------------------------------------------


@pytest.mark.parametrize("positive", [0.02, 0.2, 0.5])
def test_area_of_counts_is_that_of_the_rows_within_a_ten_thousandth(positive):
    target = RNG.random(20_000) < positive
    score = 1 / (1 + np.exp(-RNG.normal(target * 1.2 - 1)))
    bins = number_bins(score, SCORE_BINS, np.arange(1, SCORE_BINS) / SCORE_BINS)
    found = area(*(counts_of(bins, score[target == label]) for label in (False, True)))
    assert found.value == pytest.approx(roc_auc_score(target, score), abs=1e-4)


def test_the_error_of_an_area_is_its_spread_over_samples():
    found = []
    for _ in range(300):
        negative, positive = RNG.normal(size=400), RNG.normal(1, size=100)
        bins = number_bins(np.concatenate([negative, positive]), 100)
        found.append(area(counts_of(bins, negative), counts_of(bins, positive)))
    spread = np.std([one.value for one in found])
    assert np.mean([one.error for one in found]) == pytest.approx(spread, rel=0.15)


def test_ks_and_f1_of_counts():
    target = RNG.random(5000) < 0.3
    score = np.clip(RNG.normal(0.4 + 0.2 * target, 0.15), 0, 1)
    bins = number_bins(score, 500, [0.5])
    negative, positive = (counts_of(bins, score[target == label]) for label in (False, True))
    exact = ks_2samp(score[target], score[~target]).statistic
    assert separation(negative, positive) == pytest.approx(exact, abs=0.005)
    decided = score >= 0.5
    table = np.array([[np.sum((decided == d) & (target == c)) for c in (0, 1)] for d in (0, 1)])
    assert f1(table) == pytest.approx(f1_score(target, decided))


def test_what_has_too_few_rows_is_unknown():
    assert not area(np.array([5, 0]), np.array([0, 1])).known
    assert not share(0, 0).known
    assert np.isnan(gap(area(np.array([5, 5]), np.array([0, 0])), share(1, 2)))
