"""Real accidents: months of 2021 differ by season only, and two halves of 17 years by name."""

from pathlib import Path

import numpy as np
import pytest

from lockstep.config.monitoring import MonitoringSection
from lockstep.config.params import Preprocess
from lockstep.data.preprocess import tidy
from lockstep.evaluation.scored_rows import Scored
from lockstep.features.split import group_codes
from lockstep.monitoring.drift import feature_drifts
from lockstep.monitoring.reference import reference_of
from lockstep.monitoring.window import Rows, Window, counted_days
from lockstep.problems.schema import load_schema

REAL = Path(__file__).parents[3] / "shared" / "data" / "accidents"
SETTINGS = MonitoringSection().drift

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not REAL.is_dir(), reason="the real files are not beside the project"),
]


def reference_for(schema, table):
    groups = group_codes(table, schema)
    return reference_of(schema, table, groups, scored(table), groups)


def scored(table):
    """Return invented scores: only features are looked at."""
    rng = np.random.default_rng(0)
    return Scored(rng.integers(0, 2, len(table)), rng.random(len(table)), 0.5)


def counted(reference, schema, table, day):
    made = scored(table)
    columns = {name: table[name].to_numpy() for name in schema.feature_names}
    rows = Rows(columns, made.score, made.decided, made.target, day)
    return counted_days(reference, rows)


def test_months_of_a_year_warn_of_the_season_only_without_the_seasonal_rule():
    schema = load_schema("accidents")
    table, _ = tidy(REAL / "onisr_2021_prepared", "table", schema, Preprocess())
    reference = reference_for(schema, table)
    calendar = {name for name, one in reference.features.items() if one.calendar}
    assert calendar == {"year_acc", "mois", "jour"}
    months = table[schema.date].to_numpy().astype("datetime64[M]").astype(np.int64)
    without = {}
    for number, window in counted(reference, schema, table, months).items():
        month = number % 12 + 1
        with_rule = feature_drifts(reference, window, {month}, SETTINGS)
        assert [one.name for one in with_rule if one.warns] == []
        found = feature_drifts(reference, window, set(), SETTINGS)
        without[month] = {one.name for one in found if one.warns}
    assert without[1] == {"surf", "lum", "atm"}
    assert sum(bool(names) for names in without.values()) == 12


def test_the_columns_that_17_years_changed_are_named():
    schema = load_schema("accidents_2005_2021")
    table, _ = tidy(REAL / "user_sample_2005_2021", "table", schema, Preprocess())
    is_old = table[schema.date] <= table[schema.date].median()
    old, new = (table[rows].reset_index(drop=True) for rows in (is_old, ~is_old))
    reference = reference_for(schema, old)
    days = counted(reference, schema, new, np.zeros(len(new), dtype=np.int64))
    window = sum(days.values(), Window.empty(reference))
    found = feature_drifts(reference, window, set(), SETTINGS)
    assert [one.name for one in found if one.warns][:4] == ["locp", "actp", "place", "catr"]
    assert {10.0, 9.0} == set(next(one for one in found if one.name == "place").new)
