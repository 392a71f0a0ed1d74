"""The sample of credit_risk.

It has figures of the public tables, months that windows share, a known truth and a threshold.
"""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lockstep.config.params import Sample, load_params
from lockstep.data.preprocess import tidy
from lockstep.problems.credit_risk.sample import applications, months_of, write_sample
from lockstep.problems.credit_risk.sample.applicants import calibration
from lockstep.problems.schema import load_schema

PROJECT = Path(__file__).parents[2]
LEVELS = ("purpose", "housing", "earlier_default")


def table_of(**settings: object) -> pd.DataFrame:
    return applications(Sample(**{"units": 2400, "seed": 3, **settings})).to_pandas()


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return table_of(units=48_000)


def logit(p: float) -> float:
    return math.log(p / (1 - p))


def test_the_same_settings_give_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    for name, seed in (("one", 3), ("two", 3), ("other", 4)):
        write_sample(Sample(units=480, seed=seed), tmp_path / name)
    one, two, other = (
        (tmp_path / n / "applications.csv").read_bytes() for n in ("one", "two", "other")
    )
    assert one == two
    assert one != other


def test_a_later_window_keeps_the_rows_of_the_months_that_both_hold() -> None:
    early = table_of(last_month="2025-06", drift=1.0)
    late = table_of(last_month="2025-08", drift=1.0)
    shared = early.merge(late[["application_id"]], on="application_id")
    assert len(shared) == 2200
    assert (
        late[late.application_id.isin(shared.application_id)].reset_index(drop=True).equals(shared)
    )
    assert str(late.application_date.max()) >= "2025-08-25"
    assert set(late.application_date.astype(str).str[:7]) == set(months_of("2025-08", 24))


def test_few_units_a_month_make_a_table_too() -> None:
    assert all(len(table_of(units=100, seed=seed)) == 100 for seed in range(5))


def test_every_unit_is_there_and_months_are_about_equal() -> None:
    found = table_of(units=1003, months=7)
    assert len(found) == 1003
    assert found.application_id.is_unique
    assert set(found.groupby(found.application_date.astype(str).str[:7]).size()) == {143, 144}


def test_marginals_are_those_of_the_public_tables(table: pd.DataFrame) -> None:
    told = calibration()
    for name, wanted in told["quantiles"].items():
        if name == "at":
            continue
        ranks = [np.mean(table[name].dropna() <= value) for value in wanted]
        below = [np.mean(table[name].dropna() < value) for value in wanted]
        for share, low, high in list(zip(told["quantiles"]["at"], below, ranks, strict=True))[1:-1]:
            assert low - 0.015 <= share <= high + 0.015, name
    for column in LEVELS:
        shares = table[column].value_counts(normalize=True)
        for level, share in told[column].items():
            assert shares[level] == pytest.approx(share, abs=0.01)


def test_rank_correlations_are_those_of_the_public_tables(table: pd.DataFrame) -> None:
    told = calibration()
    found = table[told["order"]].rank().corr().to_numpy()
    for i, row in enumerate(told["rank_correlations"]):
        for j, wanted in enumerate(row):
            pair = told["order"][i], told["order"][j]
            # Counts are mostly 0, and what is equal has no order: that weakens theirs.
            loose = 0.1 if set(pair) & set(told["counts"]) else 0.05
            assert found[i, j] == pytest.approx(wanted, abs=loose), pair


def test_default_rates_by_level_differ_from_the_mean_as_the_public_tables_do(
    table: pd.DataFrame,
) -> None:
    told, mean = calibration()["default_rate"], table.true_probability.mean()
    for column in LEVELS:
        for level, rate in told[column].items():
            rows = table[table[column] == level]
            if len(rows) < 1000:
                continue
            apart = logit(rows.true_probability.mean()) - logit(mean)
            assert apart == pytest.approx(logit(rate) - logit(told["all"]), abs=0.25), (
                column,
                level,
            )


def test_default_falls_with_the_score_and_leaps_with_the_share_of_income(
    table: pd.DataFrame,
) -> None:
    by_score = table.groupby(pd.qcut(table.credit_score, 6)).true_probability.mean()
    assert by_score.is_monotonic_decreasing
    assert by_score.iloc[0] > 2 * by_score.iloc[-1]
    share = table.loan_amount / table.income
    assert (
        table.true_probability[share > 0.35].mean()
        > 5 * table.true_probability[share < 0.25].mean()
    )


def test_the_truth_is_what_the_defaults_were_drawn_from(table: pd.DataFrame) -> None:
    for _, rows in table.groupby(pd.qcut(table.true_probability, 10, duplicates="drop")):
        expected = rows.true_probability.mean()
        noise = math.sqrt(expected * (1 - expected) / len(rows))
        assert abs(rows.default.mean() - expected) < 4 * noise


def test_values_are_missing_where_bureaus_and_applicants_leave_gaps(table: pd.DataFrame) -> None:
    missing = table.isna().mean()
    for name, share in calibration()["missing"].items():
        assert missing[name] == pytest.approx(share, abs=0.004)
    assert missing.drop(list(calibration()["missing"])).sum() == 0
    untold = table.employment_years.isna()
    assert table.true_probability[untold].mean() > table.true_probability[~untold].mean()


def test_a_drift_grows_by_month_and_leaves_the_first_as_it_was() -> None:
    still, moved = table_of(units=24_000), table_of(units=24_000, drift=2.0)
    month = still.application_date.astype(str).str[:7].to_numpy()
    first, last = month == "2024-01", month == "2025-12"
    assert still[first].equals(moved[first])
    assert moved[last].credit_score.mean() < still[last].credit_score.mean() - 20
    assert moved[last].true_probability.mean() > 1.5 * still[last].true_probability.mean()
    # A share of income that hardly anyone defaulted at has become a heavy one.
    share = moved.loan_amount / moved.income
    heavy = share.between(0.25, 0.29).to_numpy()
    assert still[first & heavy].true_probability.mean() < 0.15
    assert moved[last & heavy].true_probability.mean() > 0.5


def test_the_tidy_table_takes_every_row(tmp_path: Path) -> None:
    write_sample(Sample(units=960), tmp_path / "raw")
    rules = load_params(PROJECT).problem("credit_risk").preprocess
    found, quality = tidy(tmp_path / "raw", "sample", load_schema("credit_risk"), rules)
    assert quality["rows"] == {"in": 960, "out": 960, "dropped": 0}
    assert (quality["unknown_codes"], quality["out_of_range"]) == ({}, {})
    assert found.application_date.is_monotonic_increasing


def test_the_schema_names_no_protected_trait_and_describes_every_feature() -> None:
    schema = load_schema("credit_risk")
    assert not {"age", "person_age", "sex", "race"} & set(schema.columns)
    assert all(column.description and (column.codes or column.unit) for column in schema.features)
    assert len(schema.slices) >= 3
    assert schema.columns["credit_score"].monotone == -1
    assert schema.decisions == {0: "approve", 1: "reject"}
