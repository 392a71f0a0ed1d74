"""Which months raise alarms: the newest that have enough rows, or enough labels."""

import numpy as np
import pytest
from tests.monitoring.test_reference import SETTINGS, days_of, made_reference, rows_of

from lockstep.monitoring.analysis import analyse
from lockstep.monitoring.proposal import ROLLBACK, propose
from lockstep.monitoring.report import prometheus

REVIEW = 2


@pytest.fixture(scope="module")
def reference():
    return made_reference()[0]


def month(reference, number, rows=6000, *, labels=True, noise=False, shift=0.0, band=0.0):
    """Return the days of a month; ``noise``: its labels have nothing to do with the scores."""
    rng = np.random.default_rng(number)
    table, score, label = rows_of(rng, rows, months=[number], shift=shift)
    label = rng.permutation(label) if noise else label
    label = label if labels else np.full(rows, -1)
    decided = np.where(np.abs(score - 0.4) <= band, REVIEW, score >= 0.4) if band else None
    return days_of(reference, table, score, label, decided)


def found(reference, *months):
    days = {day: window for one in months for day, window in one.items()}
    return analyse(reference, days, 0.4, SETTINGS)


def rules(analysis):
    return {one.rule for one in analysis.alarms}


@pytest.mark.parametrize("newest", [{"rows": 30}, {"labels": False}, {"rows": 900}, {"rows": 2500}])
def test_a_month_that_has_just_begun_ends_no_alarm(reference, newest):
    worse = [month(reference, number, noise=True) for number in (1, 2)]
    assert rules(found(reference, *worse)) >= {"performance"}
    later = found(reference, *worse, month(reference, 3, **newest))
    assert rules(later) >= {"performance"}
    (alarm,) = (one for one in later.alarms if one.rule == "performance")
    assert " in 2024-02, " in alarm.message
    assert propose(later, can_go_back=True).action == ROLLBACK
    assert rules(found(reference, *worse, month(reference, 3))) == set()


def test_labels_that_come_late_raise_the_alarm_of_their_month(reference):
    months = [month(reference, 1, noise=True), month(reference, 2, labels=False)]
    months += [month(reference, 3, labels=False)]
    assert rules(found(reference, *months)) == set()
    months[1] = month(reference, 2, noise=True)
    assert "performance" in rules(found(reference, *months))


def test_outcomes_are_those_of_the_last_months_with_labels(reference):
    twice = [month(reference, number, noise=True, shift=-1.0) for number in (1, 2)]
    now = found(reference, *twice)
    assert "outcomes" not in rules(now)  # permuted labels keep their share
    rng = np.random.default_rng(8)
    days = []
    for number in (1, 2):
        table, score, label = rows_of(rng, 6000, months=[number])
        days.append(days_of(reference, table, score, np.maximum(label, rng.random(6000) < 0.05)))
    assert "outcomes" in rules(found(reference, *days, month(reference, 3, labels=False)))


def test_drift_is_that_of_the_newest_month_with_enough_rows(reference):
    drifted = month(reference, 1, shift=0.8)
    begun = found(reference, drifted, month(reference, 2, rows=20))
    assert begun.judged.name == "2024-01"
    (alarm,) = (one for one in begun.alarms if one.rule == "drift")
    assert "the scores of 2024-01 changed" in alarm.message
    assert begun.changed == ("income",)
    assert propose(begun, can_go_back=True).why == "1 feature changed, so newer data are needed"
    text = prometheus(begun, "loan", 1, 0.0).decode()
    assert 'rule="drift",version="1"} 1.0' in text
    assert 'lockstep_monitor_changed{feature="income",model="loan",version="1"} 1.0' in text
    assert 'lockstep_monitor_rows{model="loan",version="1"} 20.0' in text
    assert rules(found(reference, drifted, month(reference, 2))) == set()
    assert rules(found(reference, drifted, month(reference, 2, rows=900))) == {"drift"}
    assert rules(found(reference, drifted, month(reference, 2, rows=3100))) == set()
    now = found(reference, month(reference, 1), month(reference, 2, rows=2500, shift=0.8))
    assert "the scores of 2024-02 changed" in now.alarms[0].message


def test_rows_that_a_person_decides_about_count_as_their_scores_say(reference):
    plain, banded = (found(reference, month(reference, 1, band=b)) for b in (0.0, 0.08))
    assert banded.months[0].decisions[REVIEW].value > 0.05
    assert banded.months[0].at_threshold == plain.months[0].at_threshold
    assert banded.findings == plain.findings == ()
    figures = [one.months[0].performance.figures for one in (plain, banded)]
    assert figures[0] == figures[1]
