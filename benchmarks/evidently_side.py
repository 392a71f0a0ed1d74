"""Do the distances of monitoring say what evidently's say, on the same two tables?

python benchmarks/evidently_side.py [--rows 20000] [--seed 0]

It makes a reference and a current table with numbers, categories and missing values, some of them
shifted. Evidently does not run with this project's packages, so it gets an environment of its own
in a temporary folder. Exit code 1: figures of equal definition differ by more than TOLERANCE.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from lockstep.config.monitoring import DriftSettings
from lockstep.console import aligned
from lockstep.monitoring.bins import bins_of, counted
from lockstep.monitoring.distances import (
    chi_squared,
    kolmogorov_smirnov,
    stability_index,
    total_variation,
)
from lockstep.monitoring.drift import feature_drift
from lockstep.monitoring.reference import MONTHS, Feature
from lockstep.problems.schema import Column

PACKAGES = ("evidently==0.7.*", "pandas<3")
TOLERANCE = {
    "psi": (1e-9, 0.0),
    "total variation": (1e-9, 0.0),
    "ks gap": (0.01, 0.0),
    "wasserstein": (0.01, 0.15),
}
"""By figure: an absolute part, and a share of evidently's. Ours of numbers come from about 50 bins.

What lies beyond the outermost bins counts as their mean: if a distribution widens, ours is smaller.
"""
NEVER_SMALLER = "ours: of the gap between bins, which is never larger"
OWN_BINS = "ours: ten bins of equal counts, one of missing values, without chance"
EMPTY = "an empty bin counts as half a row in ours, as a share of 0.0001 or less in evidently's"
ONE_SAMPLE = "evidently takes the reference as exact; ours are two samples"
NO_CHANCE = "ours: without chance, missing values are a bin"
LEAST_P = 0.005
"""Ours is the limit for many rows."""
Pair = tuple[pd.DataFrame, pd.DataFrame]


@dataclass(frozen=True)
class Line:
    """One figure of both; ``differs`` says why the definitions are not equal."""

    feature: str
    figure: str
    ours: float
    theirs: float
    differs: str = ""

    @property
    def gap(self) -> float:
        """By how much they differ."""
        return abs(self.ours - self.theirs)

    @property
    def fails(self) -> bool:
        """Whether figures of equal definition differ, or a p value is smaller than evidently's."""
        if self.differs == NEVER_SMALLER:
            return not self.ours >= self.theirs - LEAST_P
        if self.differs:
            return False
        absolute, relative = TOLERANCE[self.figure]
        return not self.gap <= absolute + relative * abs(self.theirs)


def main() -> int:
    """Compare, print a table; return 1 if figures of equal definition differ."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    sides = tables(options.rows, options.seed)
    theirs = figures_of_evidently(*sides)
    found = [line for name in sides[0] for line in lines(name, *sides, theirs["figures"][name])]
    print(f"evidently {theirs['version']}, {options.rows:,} rows a side\n")
    print(aligned([shown(line) for line in found]))
    changed = {name: verdicts(name, *sides, theirs["figures"][name]) for name in sides[0]}
    for number, whose in enumerate(("ours", "evidently's defaults")):
        print(f"\nchanged by {whose}: {', '.join(n for n, v in changed.items() if v[number])}")
    failed = [line for line in found if line.fails]
    equal = sum(line.differs in ("", NEVER_SMALLER) for line in found)
    print(f"\n{equal - len(failed)} of {equal} figures that can be compared agree")
    return 1 if failed else 0


def shown(line: Line) -> dict[str, str]:
    """Return a line of the table."""
    verdict = "DIFFERS" if line.fails else line.differs or "equal"
    return {
        "feature": line.feature,
        "figure": line.figure,
        "ours": f"{line.ours:.4f}",
        "evidently": f"{line.theirs:.4f}",
        "difference": f"{line.gap:.4f}",
        "definition": verdict,
    }


# ---------------------------------------------------------------- the tables


def tables(rows: int, seed: int) -> Pair:
    """Return a reference and a current table; names say what changes between them."""
    rng = np.random.default_rng(seed)
    return table(rng, rows, 0.0), table(rng, rows, 1.0)


def table(rng: np.random.Generator, rows: int, shift: float) -> pd.DataFrame:
    """Return one side; ``shift`` is 0 for the reference and 1 for the current one."""

    def hidden(values: np.ndarray, part: float) -> np.ndarray:
        return np.where(rng.random(rows) < part, np.nan, values)

    def words(shares: list[float], values: str = "abcdefgh") -> pd.Series:
        part = np.array(shares) / np.sum(shares)
        return pd.Series(rng.choice(list(values[: len(shares)]), rows, p=part), dtype="str")

    some = words([4, 3, 2, 1])
    return pd.DataFrame(
        {
            "steady": rng.normal(0, 1, rows),
            "shifted": rng.normal(0.3 * shift, 1, rows),
            "wider": rng.normal(0, 1 + 0.5 * shift, rows),
            "amount, slightly more": np.exp(rng.normal(8 + 0.1 * shift, 1, rows)),
            "more missing": hidden(rng.normal(0, 1, rows), 0.05 + 0.1 * shift),
            "mostly zero": np.where(rng.random(rows) < 0.6, 0, rng.gamma(2, 500, rows)),
            "few values": np.minimum(rng.poisson(1.2 + 0.2 * shift, rows), 6).astype(float),
            "flag": (rng.random(rows) < 0.2 + 0.03 * shift).astype(float),
            "steady words": words([4, 3, 2, 1]),
            "shifted words": words([4, 3, 2, 1 + shift]),
            "a new word": words([4, 3, 2, 1, *([0.5] if shift else [])]),
            "missing words": some.where(rng.random(rows) > 0.05 + 0.1 * shift),
        }
    )


def figures_of_evidently(reference: pd.DataFrame, current: pd.DataFrame) -> dict:
    """Return evidently's figures, from an environment made for it in a temporary folder."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        reference.to_parquet(folder / "reference.parquet")
        current.to_parquet(folder / "current.parquet")
        python = folder / "venv" / "bin" / "python"
        subprocess.run(["uv", "venv", "-q", "-p", sys.executable, folder / "venv"], check=True)
        subprocess.run(["uv", "pip", "install", "-q", "-p", python, *PACKAGES], check=True)
        done = subprocess.run(
            [python, Path(__file__).with_name("evidently_figures.py"), folder],
            env={**os.environ, "DO_NOT_TRACK": "1", "PYTHONPATH": ""},
            check=True,
            stdout=subprocess.PIPE,
        )
    return json.loads(done.stdout)


# ---------------------------------------------------------------- our figures


def lines(name: str, reference: pd.DataFrame, current: pd.DataFrame, theirs: dict) -> list[Line]:
    """Return the figures of one column, by both."""
    feature, counts = counts_of(name, reference, current)
    there, here = feature.total[:-1], counts[:-1]  # evidently drops missing values
    found = feature_drift(feature, counts, set(), DriftSettings(), {})
    empty = EMPTY if ((there > 0) != (here > 0)).any() else ""
    plain = Line(name, "psi", stability_index(there, here), theirs["psi"], empty)
    reported = Line(name, "index as reported", found.index, theirs["psi"], NO_CHANCE)
    if feature.bins.values is not None:
        p_value = chi_squared(there, here)[1]
        return [
            plain,
            reported,
            Line(name, "total variation", total_variation(there, here), theirs["total variation"]),
            Line(name, "chi-squared p value", p_value, theirs["chi-squared p value"], ONE_SAMPLE),
        ]
    gap, p_value = kolmogorov_smirnov(there, here)
    by_value = reference[name].nunique() == len(there) <= 20  # as evidently does then
    return [
        plain if by_value else Line(name, "psi", found.index, theirs["psi"], OWN_BINS),
        *([reported] if by_value else []),
        Line(name, "ks gap", gap, theirs["ks gap"]),
        Line(name, "ks p value", p_value, theirs["ks p value"], NEVER_SMALLER),
        Line(name, "wasserstein", found.moved, theirs["wasserstein"]),
    ]


def counts_of(
    name: str, reference: pd.DataFrame, current: pd.DataFrame
) -> tuple[Feature, np.ndarray]:
    """Return a column's reference, all rows without a date, and the current counts (bins,)."""
    kind = "numeric" if reference[name].dtype.kind == "f" else "categorical"
    column = Column(name=name, kind=kind, missing=True)
    bins = bins_of(column, reference[name], np.arange(len(reference)))
    counts = np.zeros((MONTHS, bins.size), dtype=np.int64)
    counts[0] = counted(bins.places(reference[name]), bins.size)
    return Feature(name, bins, counts), counted(bins.places(current[name]), bins.size)


def verdicts(
    name: str, reference: pd.DataFrame, current: pd.DataFrame, theirs: dict
) -> tuple[bool, bool]:
    """Return whether a column changed by our rule, and by evidently's defaults."""
    feature, counts = counts_of(name, reference, current)
    found = feature_drift(feature, counts, set(), DriftSettings(), {})
    return found.warns, bool(theirs["default"])


if __name__ == "__main__":
    sys.exit(main())
