"""Counts of days are kept by the log's files, so deleted files and those that are left add up."""

import numpy as np
import pytest
from tests.monitoring.test_reference import days_of, made_reference
from tests.monitoring.test_reference import rows_of as table_of

from lockstep.monitoring.kept_days import WHOLE_LOG, with_kept
from lockstep.monitoring.window import Window


def always(day):
    return True


@pytest.fixture(scope="module")
def reference():
    return made_reference()[0]


@pytest.fixture
def counted(reference, tmp_path):
    """What keeps so many rows by file and day, and returns the rows of each day."""

    def window(many):
        days = days_of(reference, *table_of(np.random.default_rng(many), many))
        return sum(days.values(), Window.empty(reference))

    def keep(rows, is_whole=always):
        places = {place: window(many) for place, many in rows.items()}
        found = with_kept(tmp_path / "kept", reference, places, is_whole)
        assert all(one.scores.sum() == one.rows for one in found.values())
        return {day: one.rows for day, one in found.items()}

    return keep


def test_a_day_is_what_deleted_files_and_the_log_hold_together(counted):
    assert counted({("a", 1): 30, ("b", 1): 20}) == {1: 50}
    assert counted({("b", 1): 25, ("c", 1): 5}) == {1: 60}  # a is deleted, b has grown
    assert counted({("c", 2): 7}) == {1: 60, 2: 7}
    assert counted({}) == {1: 60, 2: 7}


def test_a_day_that_the_span_cuts_is_counted_from_the_log_and_not_kept(counted):
    assert counted({("a", 1): 30}) == {1: 30}
    assert counted({("a", 1): 10}, is_whole=lambda day: day != 1) == {1: 10}
    assert counted({}) == {1: 30}


def test_counts_of_a_whole_log_as_they_were_kept_at_first_count_once(counted):
    assert counted({(WHOLE_LOG, 1): 40}) == {1: 40}
    assert counted({("a", 1): 30}) == {1: 40}
    assert counted({("b", 1): 20}) == {1: 50}
