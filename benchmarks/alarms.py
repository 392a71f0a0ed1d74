"""Do alarms find what they should, and how often are they false? By simulation.

python benchmarks/alarms.py [--runs 100] [--months 200] [--output FILE.json]

Each run draws a reference and months of its own, counts them as monitoring does, and asks the rules
of the default configuration. Scores are normal within each class, so that ROC AUC is known.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from lockstep.config.monitoring import MonitoringSection
from lockstep.monitoring.alarms import worse_windows
from lockstep.monitoring.bins import FINE, Bins, counted, number_bins
from lockstep.monitoring.drift import WARN, feature_drift
from lockstep.monitoring.labelled import Outcome, outcome_of
from lockstep.monitoring.performance import Estimate, area
from lockstep.monitoring.reference import MONTHS, SCORE_BINS, Feature

SETTINGS = MonitoringSection()
POSITIVE, BASE, FALLEN = 0.2, 0.75, 0.72
WINDOW, REFERENCES = 10_000, (2_500, 5_000, 10_000, 20_000, 40_000)
FEATURES, DRIFT_ROWS, SHIFT = 30, 5_000, 0.25
APPROVED, DEFAULTS = 3_000, 0.037
POWER = 10
Counts = NDArray[np.int64]


def main() -> None:
    """Simulate, print a line a question, write all figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--months", type=int, default=200)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    found = simulate(options.runs, options.months)
    for name, figures in found.items():
        print(f"{name:<24} {json.dumps(figures)}")
    if options.output:
        options.output.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def simulate(runs: int, months: int) -> dict[str, dict[str, float]]:
    """Return the figures of every question."""
    found = {f"auc, reference {rows:,}": fallen_auc(rows, runs, months) for rows in REFERENCES}
    return {
        **found,
        "shifted feature": shifted_feature(runs, months),
        "defaults": defaults(runs, months),
    }


# ---------------------------------------------------------------- ROC AUC


def fallen_auc(reference_rows: int, runs: int, months: int) -> dict[str, float]:
    """Return how often a fall is found in two windows, and false alarms in ``months``.

    Ten times as many runs say how often it is found: they need no quiet months.
    """
    found, false = 0, []
    for run in range(POWER * runs):
        rng = np.random.default_rng([reference_rows, run, 1])
        reference, bins = a_reference(rng, reference_rows)
        fallen = [estimate(drawn(rng, WINDOW, FALLEN), bins) for _ in range(2)]
        found += is_alarm(reference, fallen)
    for run in range(runs):
        rng = np.random.default_rng([reference_rows, run])
        reference, bins = a_reference(rng, reference_rows)
        same = [estimate(drawn(rng, WINDOW, BASE), bins) for _ in range(months)]
        false.append(sum(is_alarm(reference, same[: m + 1]) for m in range(1, months)))
    return shares(found, false, runs, POWER * runs)


def a_reference(rng: np.random.Generator, rows: int) -> tuple[Estimate, Bins]:
    """Return the ROC AUC of a reference, and the bins that it makes."""
    scores = drawn(rng, rows, BASE)
    bins = number_bins(np.concatenate(scores), SCORE_BINS)
    return estimate(scores, bins), bins


def drawn(rng: np.random.Generator, rows: int, auc: float) -> tuple[Any, Any]:
    """Return scores of negative and positive rows with a known ROC AUC."""
    positives = rng.binomial(rows, POSITIVE)
    apart = float(norm.ppf(auc)) * np.sqrt(2)
    return rng.normal(size=rows - positives), rng.normal(apart, size=positives)


def estimate(scores: tuple[Any, Any], bins: Any) -> Estimate:
    """Return ROC AUC of scores that are counted in bins."""
    negative, positive = (counted(bins.places(one), bins.size) for one in scores)
    return area(negative, positive)


def is_alarm(reference: Estimate, windows: list[Estimate]) -> bool:
    """Return whether the newest window raises an alarm."""
    settings = SETTINGS.performance
    return worse_windows(reference, windows[-settings.of :], settings)[2]


def shares(found: int, false: list[int], runs: int, tried: int = 0) -> dict[str, float]:
    """Return the share found, the mean of false alarms, and the share of runs with two at most."""
    few = sum(one <= 2 for one in false) / runs
    return {
        "found": found / (tried or runs),
        "false_alarms": float(np.mean(false)),
        "at_most_two": few,
    }


# ---------------------------------------------------------------- features


def shifted_feature(runs: int, months: int) -> dict[str, float]:
    """Return how often a shift of one of many features is found, and false warnings in months."""
    found, false = 0, []
    for run in range(runs):
        rng = np.random.default_rng([run, 1])
        features = [normal_feature(rng, f"f{n}") for n in range(FEATURES)]
        quiet = sum(any(warns(rng, one) for one in features) for _ in range(months))
        false.append(quiet)
        found += warns(rng, features[0], SHIFT)
    return shares(found, false, runs)


def normal_feature(rng: np.random.Generator, name: str) -> Feature:
    """Return the reference of a normal feature."""
    values = rng.normal(size=20_000)
    bins = number_bins(values, FINE)
    counts = np.zeros((MONTHS, bins.size), dtype=np.int64)
    counts[0] = counted(bins.places(values), bins.size)
    return Feature(name, bins, counts)


def warns(rng: np.random.Generator, feature: Feature, shift: float = 0.0) -> bool:
    """Return whether a month of a feature counts as changed."""
    values = rng.normal(shift, size=DRIFT_ROWS)
    counts = counted(feature.bins.places(values), feature.bins.size)
    return feature_drift(feature, counts, set(), SETTINGS.drift, {}).verdict == WARN


# ---------------------------------------------------------------- outcomes


def defaults(runs: int, months: int) -> dict[str, float]:
    """Return how often defaults that rise by half are found in two months, and false alarms."""
    found, false = 0, []
    for run in range(runs):
        rng = np.random.default_rng([run, 2])
        reference = approved(rng, 20_000, 1.0)
        quiet = [outcome_of(reference, approved(rng, APPROVED, 1.0)) for _ in range(months)]
        false.append(sum(is_far(quiet[m - 1 : m + 1]) for m in range(1, months)))
        risen = [outcome_of(reference, approved(rng, APPROVED, 1.5)) for _ in range(2)]
        found += is_far(risen)
    return shares(found, false, runs)


def approved(rng: np.random.Generator, rows: int, times: float) -> Counts:
    """Return counts (classes, bins) of approved rows whose chance of default lies in 20 bins."""
    chance = rng.beta(1.2, 1.2 / DEFAULTS - 1.2, size=rows)
    target = rng.random(rows) < np.minimum(chance * times, 1)
    places = np.minimum((chance * 200).astype(np.int64), 49)
    return np.stack([counted(places[target == label], 50) for label in (False, True)])


def is_far(months: list[Outcome]) -> bool:
    """Return whether two months together are further from the expectation than the limit."""
    return abs((months[0] + months[1]).distance) > SETTINGS.outcomes.z


if __name__ == "__main__":
    main()
