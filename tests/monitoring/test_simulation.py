"""The short form of `make alarm-simulation`: known changes are found, noise raises no alarm."""

import pytest
from benchmarks.alarms import defaults, fallen_auc, shifted_feature

RUNS, MONTHS = 8, 12


@pytest.mark.parametrize(
    "figures",
    [
        pytest.param(lambda: fallen_auc(20_000, RUNS, MONTHS), id="ROC AUC falls by .03"),
        pytest.param(lambda: shifted_feature(RUNS, MONTHS), id="a feature moves by .25 sd"),
        pytest.param(lambda: defaults(RUNS, MONTHS), id="defaults rise by half"),
    ],
)
def test_known_changes_are_found_and_noise_is_quiet(figures):
    found = figures()
    assert found["found"] >= (RUNS - 1) / RUNS
    assert found["at_most_two"] == 1
    assert found["false_alarms"] <= 0.25


def test_a_small_reference_finds_less_and_raises_no_more_alarms():
    small = fallen_auc(2_500, RUNS, MONTHS)
    assert small["found"] <= 0.75
    assert small["false_alarms"] <= 0.25
