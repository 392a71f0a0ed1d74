"""The page's drawings: bars say what was counted, hostile names are text, the page stays small."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.monitoring.test_reference import rows_of

from lockstep.config.monitoring import MonitoringSection
from lockstep.evaluation.scored_rows import Scored
from lockstep.monitoring.analysis import analyse
from lockstep.monitoring.bins import Bins, counted, number_bins
from lockstep.monitoring.charts import distribution
from lockstep.monitoring.histograms import MOST_VALUES, Outline, histogram
from lockstep.monitoring.page import PageFacts, page
from lockstep.monitoring.reference import reference_of
from lockstep.monitoring.window import Rows, counted_days
from lockstep.problems.schema import Schema

RNG = np.random.default_rng(3)
HOSTILE = '</svg><script>alert("x")</script>'
FACTS = PageFacts("Loan 1", "rows", "all", ["no", "yes", "review"], {})
FEATURES, MOST_BYTES = 30, 1_000_000


def counts_of(bins, values):
    return counted(bins.places(values), bins.size)


def drawn(values, own):
    bins = number_bins(values, 50)
    return histogram(bins, counts_of(bins, values), counts_of(bins, own), str)


# ---- bars ---------------------------------------------------------------------------------------


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([1e-6, 1.0, 1e9]),
    st.sampled_from(["normal", "exponential", "standard_cauchy", "uniform"]),
    st.floats(-3, 3),
)
@settings(max_examples=60, deadline=None)
def test_every_known_row_is_in_a_bar(seed, scale, kind, shift):
    rng = np.random.default_rng(seed)
    values = getattr(rng, kind)(size=3000) * scale
    own = np.where(rng.random(3000) < 0.25, np.nan, values + shift * scale)
    found = drawn(values, own)
    assert isinstance(found, Outline)
    assert found.reference.sum() == pytest.approx(1)
    assert found.own.sum() == pytest.approx(np.mean(~np.isnan(own)))
    assert 3 <= len(found.reference) <= 45
    assert np.diff(found.edges) == pytest.approx(found.edges[1] - found.edges[0], rel=1e-6)


def test_bars_are_nearly_those_of_the_values():
    values, own = RNG.normal(size=20_000), RNG.normal(0.5, 1.3, 20_000)
    found = drawn(values, own)
    for shown, rows in ((found.reference, values), (found.own, own)):
        exact = np.histogram(rows, found.edges)[0] / len(rows)
        assert shown[2:-2] == pytest.approx(exact[2:-2], abs=0.012)


def test_whole_numbers_are_not_split_between_bars():
    ages = np.round(RNG.normal(45, 14, 20_000).clip(18, 95))
    found = drawn(ages, ages)
    exact = np.histogram(ages, found.edges)[0] / len(ages)
    assert (found.edges % 1 == 0).all()
    inner = found.edges[:-1] < np.quantile(ages, 0.97)
    assert found.reference[inner] == pytest.approx(exact[inner], abs=0.01)


def test_an_amount_that_is_mostly_zero_has_its_zeros_in_one_bar():
    amounts = np.where(RNG.random(10_000) < 0.6, 0, RNG.gamma(2, 500, 10_000))
    found = drawn(amounts, amounts)
    assert found.edges[0] == 0
    zero = np.flatnonzero(found.edges <= 0)[-1]
    assert found.reference[zero] == pytest.approx(0.6, abs=0.03)
    assert found.reference[:zero].sum() == 0


def test_numbers_with_few_values_are_shown_by_value():
    found = drawn(np.repeat([0.0, 1, 2, 7], 50), np.array([0.0, 1, 9, np.nan]))
    assert found.labels == ("< 1", "1", "2", "≥ 7", "missing")
    assert found.own == pytest.approx([0.25, 0.25, 0, 0.25, 0.25])
    flags = drawn(np.repeat([0.0, 1], 50), np.array([1.0]))
    assert flags.labels == ("0", "1")
    nothing = drawn(np.full(5, np.nan), np.array([np.nan, np.nan]))
    assert nothing.labels == ("missing",)


def test_the_most_frequent_values_of_either_side_are_shown_and_the_rest_together():
    bins = Bins(values=tuple(f"v{n}" for n in range(20)))
    reference = np.array([*range(20, 0, -1), 0, 3])
    own = np.zeros(22, dtype=np.int64)
    own[[19, 20]] = 30, 10
    found = histogram(bins, reference, own, str)
    assert len(found.labels) == MOST_VALUES + 2
    assert found.labels[0] == "v19"
    assert found.labels[-2:] == ("other values", "missing")
    assert found.own[[0, -2]] == pytest.approx([0.75, 0.25])
    assert found.reference.sum() == pytest.approx(1)
    assert found.own.sum() == pytest.approx(1)


def test_the_others_together_have_no_bar_where_it_would_dwarf_the_values():
    bins = Bins(values=tuple(f"v{n}" for n in range(40)))
    even = np.append(np.full(40, 5), [100, 0])
    found = histogram(bins, even, even, str)
    assert found.largest == pytest.approx(5 / 300)
    assert found.own[-1] == pytest.approx((28 * 5 + 100) / 300)
    assert distribution("com", "", found).count('<rect class="own"') == MOST_VALUES


# ---- the page -----------------------------------------------------------------------------------


def schema_with(names):
    columns = {"date": {"kind": "date"}}
    columns |= {name: {"kind": "numeric"} for name in names}
    columns[HOSTILE] = {"kind": "categorical", "missing": True}
    columns["light"] = {"kind": "categorical", "codes": {1: "day", 2: f"dusk {HOSTILE}"}}
    columns["default"] = {"kind": "target", "codes": {0: "no", 1: "yes"}}
    named = {"name": "loans", "title": "Loans", "task": "binary", "unit": "loan"}
    return Schema.model_validate(
        named | {"registered_name": "loan", "experiment": "loans", "columns": columns}
    )


@pytest.fixture(scope="module")
def made():
    """A page of 30 features, three of which changed in the newest month."""
    names = [f"f{n}" for n in range(FEATURES - 2)]
    schema = schema_with(names)

    def rows(seed, month, shift):
        rng = np.random.default_rng(seed)
        base, chance, label = rows_of(rng, 6000, months=month)
        table = {name: rng.normal(0, n + 1, 6000) for n, name in enumerate(names)}
        table["f3"] = table["f3"] + 2 * shift
        table["f4"] = np.exp(table["f0"])
        values = [f"{HOSTILE} {n}" for n in range(40)]
        table[HOSTILE] = pd.Series(rng.choice(values[: 40 - 20 * shift], 6000), dtype="str")
        table["light"] = rng.choice([1.0, 2.0], 6000, p=[0.5 + 0.3 * shift, 0.5 - 0.3 * shift])
        return pd.DataFrame(table).assign(date=base["date"]), chance, label

    table, chance, label = rows(1, range(1, 13), 0)
    groups = np.arange(len(label))
    reference = reference_of(schema, table, groups, Scored(label, chance, 0.4), groups)
    days = {}
    for month in (1, 2, 3):
        table, chance, label = rows(month + 1, [month], int(month == 3))
        columns = {name: table[name].to_numpy() for name in schema.feature_names}
        day = table["date"].to_numpy().astype("datetime64[D]").astype(np.int64)
        decided = (chance >= 0.4).astype(np.int64)
        days |= counted_days(reference, Rows(columns, chance, decided, label, day))
    found = analyse(reference, days, 0.4, MonitoringSection())
    codes = {column.name: column.codes for column in schema.features}
    return found, page(found, replace(FACTS, codes=codes))


def test_what_changed_is_drawn_and_the_others_are_folded_in(made):
    found, text = made
    changed = [one.name for one in found.months[-1].features if one.warns]
    assert set(changed) == {"f3", HOSTILE, "light"}
    section = text.partition("<h2>Distributions of 2024-03</h2>")[2]
    shown, _, folded = section.partition("<details>")
    assert shown.count("<svg ") == 1 + len(changed)
    assert folded.count("<svg ") == FEATURES - len(changed)
    assert f"The other features ({FEATURES - len(changed)})" in folded


def test_names_and_values_are_text_and_drawings_have_one(made):
    _, text = made
    assert "<script" not in text
    assert text.count("<svg ") == text.count("</svg>")
    labels = re.findall(r'<svg [^>]*role="img" aria-label="([^"]+)"', text)
    assert len(labels) == text.count("<svg ")
    assert "1 day" in text
    assert "2 dusk &lt;/svg&gt;" in text
    assert not re.search(r'="[^"]*\bnan\b', text)


def test_it_is_small_and_needs_nothing_else(made):
    _, text = made
    assert len(text.encode()) < MOST_BYTES
    assert not re.search(r"(src|href)=(?!\"data:)", text)


def test_reliability_is_drawn_with_both_errors(made):
    found, text = made
    month = found.months[-1].performance
    section = text.partition("<h2>Calibration</h2>")[2].partition("</section>")[0]
    for side in (month.figures, month.reference):
        assert f"{side['calibration_error'].value:.3f}" in section
    assert section.count("<circle ") == (month.calibration.own.bins >= 10).sum()
    assert section.count('<rect class="mark"') == (month.calibration.reference.bins >= 10).sum()


def test_without_labels_there_is_no_reliability(made):
    reference = made[0].reference
    none = {20_000: days_without_labels(reference)}
    text = page(analyse(reference, none, 0.4, MonitoringSection()), FACTS)
    assert "<h2>Calibration</h2>" not in text
    assert "No week has enough labels" in text


def days_without_labels(reference):
    rows = 700
    columns = {
        name: np.full(rows, None if one.bins.values is not None else np.nan)
        for name, one in reference.features.items()
    }
    decided = np.zeros(rows, dtype=np.int64)
    day = np.full(rows, 20_000)
    made = Rows(columns, RNG.random(rows), decided, np.full(rows, -1), day)
    return counted_days(reference, made)[20_000]
