"""The comparison with evidently: its tables, our figures, what makes it fail; scipy stands in."""

import pytest
from benchmarks.evidently_side import Line, lines, tables, verdicts
from scipy.stats import ks_2samp, wasserstein_distance

ROWS = 20_000


def by_scipy(name, reference, current):
    """Return what can be had without evidently; the rest as zeros."""
    one, other = (side[name].dropna() for side in (reference, current))
    zeros = dict.fromkeys(("psi", "total variation", "chi-squared p value", "default"), 0.0)
    if one.dtype.kind != "f":
        shares = [side.value_counts(normalize=True) for side in (one, other)]
        apart = shares[0].sub(shares[1], fill_value=0).abs().sum() / 2
        return zeros | {"total variation": float(apart)}
    exact = ks_2samp(one, other)
    moved = wasserstein_distance(one, other) / one.std(ddof=0)
    figures = {"ks gap": exact.statistic, "ks p value": exact.pvalue, "wasserstein": moved}
    return zeros | {name: float(value) for name, value in figures.items()}


@pytest.fixture(scope="module")
def sides():
    return tables(ROWS, 5)


def test_our_distances_are_within_the_tolerance_of_exact_ones(sides):
    for name in sides[0]:
        found = lines(name, *sides, by_scipy(name, *sides))
        assert [one for one in found if one.fails and one.figure != "psi"] == [], name


def test_a_figure_beyond_the_tolerance_fails():
    assert Line("f", "ks gap", 0.12, 0.1).fails
    assert not Line("f", "ks gap", 0.105, 0.1).fails
    assert Line("f", "wasserstein", 0.3, 0.4).fails
    assert Line("f", "psi", float("nan"), 0.1).fails
    assert not Line("f", "psi", 0.3, 0.1, "another definition").fails


def test_our_rule_names_what_changed(sides):
    changed = [n for n in sides[0] if verdicts(n, *sides, {"default": 0.0})[0]]
    assert {"shifted", "wider", "more missing", "a new word", "missing words"} <= set(changed)
    assert not {"steady", "steady words", "mostly zero"} & set(changed)
