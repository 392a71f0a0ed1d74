"""Alarms: two windows in a row, and a limit that counts the reference's own error."""

import numpy as np
import pytest

from lockstep.config.monitoring import PerformanceSettings
from lockstep.monitoring.alarms import FALSE_IN, false_alarms, limit_for, worse_windows
from lockstep.monitoring.performance import UNKNOWN, Estimate, area, gap

SETTINGS = PerformanceSettings()
REFERENCE = Estimate(0.75, 0.004)


def windows(*values):
    return [UNKNOWN if value is None else Estimate(value, 0.006) for value in values]


@pytest.mark.parametrize(
    ("values", "alarm"),
    [
        ((0.75, 0.75), False),
        ((0.75, 0.70), False),
        ((0.70, 0.75), False),
        ((0.70, 0.70), True),
        ((0.70, None), False),
        ((0.70, 0.70, None), True),
        ((0.70, None, 0.70), True),
        ((0.75, 0.70, None), False),
        ((None, 0.70), False),
        ((0.80, 0.80), False),
        ((0.70,), False),
        ((), False),
    ],
)
def test_the_newest_known_and_the_one_before_must_be_worse(values, alarm):
    assert worse_windows(REFERENCE, windows(*values), SETTINGS)[2] is alarm


def test_two_of_three():
    settings = PerformanceSettings(windows=2, of=3)
    assert worse_windows(REFERENCE, windows(0.70, 0.75, 0.70), settings)[2]
    assert not worse_windows(REFERENCE, windows(0.70, 0.70, 0.75), settings)[2]


@pytest.mark.parametrize("ratio", [0.0, 0.7, 1.0, 2.0, 4.0])
def test_noise_alone_raises_at_most_one_alarm_in_as_many_windows(ratio):
    limit = limit_for(ratio, 2, 2, 1.96)
    rng = np.random.default_rng(3)
    reference = rng.normal(0, ratio, size=(4000, 1))
    far = (reference + rng.normal(size=(4000, FALSE_IN))) / np.hypot(1, ratio) > limit
    both = (far[:, 1:] & far[:, :-1]).sum(axis=1)
    assert both.mean() == pytest.approx(false_alarms(limit, ratio, 2, 2), rel=0.35, abs=0.03)
    assert both.mean() < 1.25
    assert limit >= 1.96


def test_a_smaller_reference_needs_a_larger_fall():
    limits = [limit_for(ratio, 2, 2, 1.96) for ratio in (0.5, 1.5, 3.0)]
    assert limits == sorted(limits)
    assert limits[0] == 1.96


def test_scores_that_are_all_equal_have_no_error_and_are_an_alarm_against_others():
    equal = area(np.array([0, 900, 0]), np.array([0, 300, 0]))
    assert equal == Estimate(0.5, 0.0)
    distances, limit, alarm = worse_windows(REFERENCE, [equal, equal], SETTINGS)
    assert distances == [pytest.approx(0.25 / 0.004)] * 2
    assert 1.96 < limit < 4
    assert alarm
    assert gap(equal, equal) == 0.0
    assert not worse_windows(equal, [equal, equal], SETTINGS)[2]


def test_scores_in_perfect_order_have_the_error_of_one_row():
    perfect = area(np.array([900, 0]), np.array([0, 300]))
    assert perfect == Estimate(1.0, pytest.approx(1 / 300))
    assert worse_windows(perfect, windows(0.9, 0.9), SETTINGS)[2]
